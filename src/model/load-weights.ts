/** Checkpoint → weights on a backend, one tensor at a time. */

import { IsaacError } from "../errors"
import {
  type Backend,
  isPackedSource,
  type NumberType,
  Q8_PANEL,
  type SourceType,
  type StoredType,
  type Tensor,
  type Weight,
} from "../ops/backend"
import { type Checkpoint, packedTypeOfTensors } from "../weights/checkpoint"
import type { IsaacConfig } from "./config"
import type { DecoderLayerWeights } from "./decoder"
import { keptAs } from "./memory-plan"
import { checkParameters, EMBEDDING, LM_HEAD } from "./parameters"
import { requireFinite, rowBlocks } from "./row-blocks"
import type { LayerNorm, Linear, VisionLayerWeights } from "./vision-encoder"
import type { VisionTowerWeights } from "./vision-tower"

export interface IsaacWeights {
  /** [V, D] */
  readonly embedding: Weight
  readonly vision: VisionTowerWeights
  readonly layers: readonly DecoderLayerWeights[]
  /** [D] */
  readonly norm: Tensor
  /** [V, D]; the embedding itself when they are tied or equal. */
  readonly lmHead: Weight
}

export interface LoadProgress {
  /** Canonical name of the tensor that was loaded last. */
  readonly tensor: string
  /** Bytes of the checkpoint, so far and in all. */
  readonly loaded: number
  readonly total: number
}

export interface LoadWeightsOptions {
  /** How matrices are kept; "auto" as the checkpoint stores them (F16 as f32). Default "auto". */
  readonly stored?: StoredType | "auto"
  readonly onProgress?: (progress: LoadProgress) => void
  readonly signal?: AbortSignal
}

/** How often loading lets others run. */
const PAUSE_MS = 50

/** Throws unsupported when the backend cannot keep matrices so, or the checkpoint's cannot be brought to it. */
export function checkStored({ info }: Backend, { name, tensors }: Checkpoint, stored: StoredType | "auto"): void {
  const packed = packedTypeOfTensors(tensors)
  if (packed !== undefined && stored !== "auto" && stored !== packed) {
    throw new IsaacError(
      "unsupported",
      `${name} is stored as ${packed}, and rounding cannot be undone: load it as ${packed} or auto, or the original ` +
        `checkpoint as ${stored}`,
    )
  }
  const wanted = stored === "auto" ? (packed ?? stored) : stored
  if (wanted !== "auto" && !info.stored.includes(wanted)) {
    throw new IsaacError(
      "unsupported",
      `the ${info.name} backend keeps weights as ${info.stored.join(", ")}, not as ${wanted}`,
    )
  }
}

/**
 * Load all weights. Norms, biases, the position table and the patch embedding are f32 whatever `stored` is. Matrices are
 * read and packed in blocks of rows; when anything fails, all that was loaded is freed.
 *
 * Throws bad_checkpoint or bad_config (see `checkParameters`), not_finite naming the tensor, aborted.
 */
export async function loadWeights(
  checkpoint: Checkpoint,
  config: IsaacConfig,
  backend: Backend,
  { stored = "auto", onProgress, signal }: LoadWeightsOptions = {},
): Promise<IsaacWeights> {
  const table = checkParameters(checkpoint, config)
  const shared = await sharesEmbedding(checkpoint, config)
  const matrices = new Map<string, Weight>()
  const vectors = new Map<string, Tensor>()
  let positions: Float32Array | undefined
  try {
    const names = [...table.keys()].filter((name) => !(name === LM_HEAD && shared))
    const total = names.reduce((sum, name) => sum + checkpoint.tensors.get(name)!.bytes, 0)
    let loaded = 0
    let paused = performance.now()
    const report = (tensor: string, bytes: number) => {
      loaded += bytes
      onProgress?.({ tensor, loaded, total })
    }
    for (const name of names) {
      if (signal?.aborted) {
        throw new IsaacError("aborted", `loading ${checkpoint.name} was stopped after ${loaded} of ${total} bytes`, {
          cause: signal.reason,
        })
      }
      const { kind } = table.get(name)!
      if (kind === "vector" || kind === "table") {
        const { bytes, dtype, shape, float32 } = await checkpoint.read(name)
        requireFinite(checkpoint.name, name, bytes, dtype as NumberType)
        if (kind === "table") positions = float32()
        else vectors.set(name, backend.upload(float32(), shape))
        report(name, bytes.byteLength)
      } else {
        const { dtype, shape } = checkpoint.tensors.get(name)!
        const source = dtype as SourceType
        const keep = keptAs(name, kind, source, stored)
        const mapped = mapWeight(backend, checkpoint, name)
        if (mapped) {
          matrices.set(name, mapped)
          report(name, mapped.bytes)
          // Nothing else waits here: an abort would not be seen before all is loaded.
          if (performance.now() - paused > PAUSE_MS) {
            await new Promise((resolve) => setTimeout(resolve))
            paused = performance.now()
          }
          continue
        }
        const weight = backend.createWeight([shape[0], shape[1]], keep)
        matrices.set(name, weight)
        for await (const { first, bytes } of rowBlocks(checkpoint, name, Q8_PANEL, signal)) {
          backend.writeWeight(weight, first, bytes, source)
          report(name, bytes.byteLength)
        }
      }
    }
    return assemble(config, matrices, vectors, positions!)
  } catch (error) {
    backend.free(...matrices.values(), ...vectors.values())
    throw error
  }
}

/** A packed matrix left in its file, where the backend can and the file is one of this machine. */
function mapWeight(backend: Backend, checkpoint: Checkpoint, name: string): Weight | undefined {
  const { dtype, shape } = checkpoint.tensors.get(name)!
  if (!backend.mapWeight || !isPackedSource(dtype)) return undefined
  const place = checkpoint.place(name)
  // Files of other writers may begin anywhere.
  if (!place || place.offset % 64 !== 0) return undefined
  return backend.mapWeight(place, dtype, [shape[0], shape[1]])
}

/** Free what `loadWeights` made. */
export function freeWeights(backend: Backend, weights: IsaacWeights): void {
  const visit = (value: unknown): void => {
    if (value === null || typeof value !== "object" || ArrayBuffer.isView(value)) return
    if ("shape" in value) backend.free(value as Weight | Tensor)
    else for (const part of Object.values(value)) visit(part)
  }
  visit(weights)
}

/** Whether lm_head need not be loaded: the config ties it, it is not there, or it holds the embedding's numbers. */
export async function sharesEmbedding(checkpoint: Checkpoint, { text }: IsaacConfig): Promise<boolean> {
  if (!checkpoint.tensors.has(LM_HEAD)) return true
  const same = await checkpoint.sameTensor(LM_HEAD, EMBEDDING)
  if (!same && text.tied === true) {
    const { storedName } = checkpoint.tensors.get(LM_HEAD)!
    throw new IsaacError(
      "bad_config",
      `${checkpoint.name}: config.json says tie_word_embeddings true, but ${storedName} differs from ${EMBEDDING}`,
    )
  }
  return same
}

/** The tree of weights out of the flat names. */
function assemble(
  { text, vision }: IsaacConfig,
  matrices: ReadonlyMap<string, Weight>,
  vectors: ReadonlyMap<string, Tensor>,
  positions: Float32Array,
): IsaacWeights {
  const matrix = (name: string): Weight => matrices.get(`${name}.weight`)!
  const vector = (name: string): Tensor => vectors.get(name)!
  const linear = (name: string): Linear => ({ weight: matrix(name), bias: vector(`${name}.bias`) })
  const layerNorm = (name: string): LayerNorm => ({ weight: vector(`${name}.weight`), bias: vector(`${name}.bias`) })

  const tower = "model.vision_embedding.0"
  const visionLayers = Array.from({ length: vision.layers }, (_, i): VisionLayerWeights => {
    const layer = `${tower}.encoder.layers.${i}`
    return {
      norm1: layerNorm(`${layer}.layer_norm1`),
      query: linear(`${layer}.self_attn.q_proj`),
      key: linear(`${layer}.self_attn.k_proj`),
      value: linear(`${layer}.self_attn.v_proj`),
      out: linear(`${layer}.self_attn.out_proj`),
      norm2: layerNorm(`${layer}.layer_norm2`),
      fc1: linear(`${layer}.mlp.fc1`),
      fc2: linear(`${layer}.mlp.fc2`),
    }
  })
  const layers = Array.from({ length: text.layers }, (_, i): DecoderLayerWeights => {
    const layer = `model.layers.${i}`
    return {
      inputNorm: vector(`${layer}.input_layernorm.weight`),
      query: matrix(`${layer}.self_attn.q_proj`),
      key: matrix(`${layer}.self_attn.k_proj`),
      value: matrix(`${layer}.self_attn.v_proj`),
      out: matrix(`${layer}.self_attn.o_proj`),
      queryNorm: vector(`${layer}.self_attn.q_norm.weight`),
      keyNorm: vector(`${layer}.self_attn.k_norm.weight`),
      postNorm: vector(`${layer}.post_attention_layernorm.weight`),
      gate: matrix(`${layer}.mlp.gate_proj`),
      up: matrix(`${layer}.mlp.up_proj`),
      down: matrix(`${layer}.mlp.down_proj`),
    }
  })
  const embedding = matrices.get(EMBEDDING)!
  return {
    embedding,
    vision: {
      embeddings: {
        patch: matrix(`${tower}.embeddings.patch_embedding`),
        patchBias: vector(`${tower}.embeddings.patch_embedding.bias`),
        positions,
      },
      encoder: { layers: visionLayers, postNorm: layerNorm(`${tower}.post_layernorm`) },
      projector: { up: matrix("model.vision_embedding.1"), down: matrix("model.vision_embedding.3") },
    },
    layers,
    norm: vector("model.norm.weight"),
    lmHead: matrices.get(LM_HEAD) ?? embedding,
  }
}
