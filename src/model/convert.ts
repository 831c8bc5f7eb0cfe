/** Checkpoint → the weight file of a checkpoint whose matrices are kept in another type. */

import { IsaacError } from "../errors"
import { type Backend, isPacked, type NumberType, type PackedType, packedBytes, Q8_PANEL } from "../ops/backend"
import { toBfloat16 } from "../weights/bfloat16"
import { type Checkpoint, packedTypeOfTensors } from "../weights/checkpoint"
import { type ConvertedType, conversionMetadata, type PackedMatrix } from "../weights/conversion"
import type { SafetensorsType } from "../weights/safetensors"
import {
  layoutSafetensors,
  type PlannedTensor,
  type SafetensorsLayout,
  writeSafetensors,
} from "../weights/safetensors-writer"
import type { ByteSink } from "../weights/sink"
import type { IsaacConfig } from "./config"
import { type LoadProgress, sharesEmbedding } from "./load-weights"
import { keptAs } from "./memory-plan"
import { checkParameters, EMBEDDING, LM_HEAD } from "./parameters"
import { type RowBlock, rowBlocks } from "./row-blocks"

export interface ConversionPlan {
  readonly stored: ConvertedType
  readonly layout: SafetensorsLayout
  /** The tensors that change their type. */
  readonly matrices: ReadonlySet<string>
}

/**
 * What the converted weight file will hold: from the headers alone, and from comparing a stored lm_head with the
 * embedding. Only matrices change; norms, biases, the position table and the patch embedding stay as they are.
 *
 * Throws bad_checkpoint or bad_config as loading does, unsupported for a checkpoint that is packed already.
 *
 * @param source fingerprint of the weights, to be kept in the file
 */
export async function planConversion(
  checkpoint: Checkpoint,
  config: IsaacConfig,
  stored: ConvertedType,
  source?: string,
): Promise<ConversionPlan> {
  const table = checkParameters(checkpoint, config)
  const already = packedTypeOfTensors(checkpoint.tensors)
  if (already !== undefined) {
    throw new IsaacError(
      "unsupported",
      `${checkpoint.name} is stored as ${already} already; convert the original checkpoint`,
    )
  }
  const matrices = new Set<string>()
  const packed = new Map<string, PackedMatrix>()
  const same = new Map<string, string>()
  const planned: PlannedTensor[] = []
  for (const [name, { kind }] of table) {
    const tensor = checkpoint.tensors.get(name)
    if (!tensor) continue // an lm_head that is tied
    if (name === LM_HEAD && isPacked(stored) && (await sharesEmbedding(checkpoint, config))) {
      same.set(LM_HEAD, EMBEDDING)
      continue
    }
    const { dtype, shape } = tensor
    if (kind !== "matrix") planned.push({ name, dtype: dtype as SafetensorsType, shape })
    else {
      matrices.add(name)
      const [out, inner] = shape
      const type = keptAs(name, kind, dtype as NumberType, stored)
      if (!isPacked(type)) planned.push({ name, dtype: "BF16", shape })
      else {
        packed.set(name, { shape: [out, inner], stored: type })
        planned.push({ name, dtype: "U8", shape: [packedBytes([out, inner], type)] })
      }
    }
  }
  return { stored, layout: layoutSafetensors(planned, conversionMetadata({ stored, packed, same, source })), matrices }
}

export interface ConvertOptions {
  readonly onProgress?: (progress: LoadProgress) => void
  readonly signal?: AbortSignal
}

/**
 * Write the planned file, a block of rows at a time.
 *
 * Throws not_finite naming the tensor, aborted, and what the source and the sink throw.
 */
export async function convertWeights(
  checkpoint: Checkpoint,
  { stored, layout, matrices }: ConversionPlan,
  backend: Backend,
  sink: ByteSink,
  { onProgress, signal }: ConvertOptions = {},
): Promise<void> {
  const total = layout.order.reduce((sum, { name }) => sum + checkpoint.tensors.get(name)!.bytes, 0)
  let loaded = 0
  async function* pieces(name: string): AsyncGenerator<Uint8Array, void> {
    const { dtype, shape } = checkpoint.tensors.get(name)!
    const source = dtype as NumberType
    for await (const block of rowBlocks(checkpoint, name, Q8_PANEL, signal)) {
      if (!matrices.has(name)) yield block.bytes
      else {
        const type = keptAs(name, "matrix", source, stored)
        if (isPacked(type)) yield await packBlock(backend, block, source, shape[1], type)
        else yield toBfloat16(block.bytes, source)
      }
      loaded += block.bytes.byteLength
      onProgress?.({ tensor: name, loaded, total })
    }
  }
  await writeSafetensors(sink, layout, pieces)
}

/** A block of rows, packed: the packed bytes of a matrix are those of its blocks, one after the other. */
async function packBlock(
  backend: Backend,
  { rows, bytes }: RowBlock,
  source: NumberType,
  inner: number,
  stored: PackedType,
): Promise<Uint8Array> {
  const weight = backend.createWeight([rows, inner], stored)
  try {
    backend.writeWeight(weight, 0, bytes, source)
    return await backend.readWeight(weight)
  } finally {
    backend.free(weight)
  }
}
