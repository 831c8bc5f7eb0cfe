/** How much memory a model will take, known before a byte of weights is read. */

import { IsaacError } from "../errors"
import type { KvType, SourceType, StoredType } from "../ops/backend"
import { packedBytes, packedTypeOf } from "../ops/backend"
import type { IsaacConfig } from "./config"
import { LM_HEAD, type Parameter, parameterTable, VISION } from "./parameters"
import { BLOCK_BYTES } from "./row-blocks"
import { packLimit } from "./vision-tower"

/** All in bytes. */
export interface MemoryPlan {
  /** Weights as the backend keeps them. */
  readonly weights: number
  /** Of these, by storage type; f32 includes norms, biases and the patch embedding. */
  readonly weightsByType: Readonly<Partial<Record<StoredType, number>>>
  /** Keys and values of `maxContext` tokens. */
  readonly kv: number
  readonly kvStored: KvType
  /** The largest set of activations alive at once. */
  readonly activations: number
  /** weights + kv + activations. */
  readonly total: number
  /** The largest block of a tensor that is held beside the rest while it is being packed. */
  readonly loading: number
  readonly maxContext: number
}

export interface MemoryPlanOptions {
  /** "auto" keeps each tensor as the checkpoint has it. Default "auto". */
  readonly stored?: StoredType | "auto"
  /** Tokens of context to have room for. Default: the config's maximum sequence length. */
  readonly maxContext?: number
  /** Most tokens of one forward pass. Default: maxContext (a prompt in one piece). */
  readonly prefillTokens?: number
  readonly kvStored?: KvType
  /** How the checkpoint stores its tensors, by canonical name (a `Checkpoint`'s `tensors`). Default: all BF16. */
  readonly tensors?: ReadonlyMap<string, { readonly dtype: string }>
  /** Whether lm_head is the embedding matrix. Default: what the config says, or that the checkpoint has none. */
  readonly tied?: boolean
}

/** What "auto" keeps a checkpoint's matrix in: its own type; F16 is widened, its digits do not fit into bf16's. */
export function storedAs(source: SourceType): StoredType {
  return packedTypeOf(source) ?? (source === "BF16" ? "bf16" : "f32")
}

/**
 * How a parameter is kept. As q4 the vision tower and the projector are kept as q8: a fifth of the weights, which would make
 * more than half of what q4 costs in accuracy, and are no slower so, since pictures are read by many rows at a time.
 */
export function keptAs(
  name: string,
  kind: Parameter["kind"],
  source: SourceType,
  stored: StoredType | "auto",
): StoredType {
  if (kind !== "matrix") return "f32"
  if (stored === "auto") return storedAs(source)
  return stored === "q4" && name.startsWith(VISION) ? "q8" : stored
}

/** Add up what loading and running the model will take. */
export function planMemory(config: IsaacConfig, options: MemoryPlanOptions = {}): MemoryPlan {
  const { stored = "auto", maxContext = config.maxSequenceLength, kvStored = "f32", tensors } = options
  const { prefillTokens = maxContext } = options
  const tied = options.tied ?? (config.text.tied === true || (tensors !== undefined && !tensors.has(LM_HEAD)))

  // 1. Weights.
  const weightsByType: Partial<Record<StoredType, number>> = {}
  let loading = 0
  for (const [name, parameter] of parameterTable(config)) {
    if (name === LM_HEAD && tied) continue
    const source = (tensors?.get(name)?.dtype ?? "BF16") as SourceType
    const type = keptAs(name, parameter.kind, source, stored)
    const [rows, columns] = sizes(parameter)
    weightsByType[type] = (weightsByType[type] ?? 0) + packedBytes([rows, columns], type)
    loading = Math.max(loading, Math.min(BLOCK_BYTES, rows * columns * (source === "F32" ? 4 : 2)))
  }
  const weights = Object.values(weightsByType).reduce((a, b) => a + b, 0)

  // 2. Keys and values.
  const { layers, kvHeads, headDim } = config.text
  const kv = 2 * layers * kvHeads * maxContext * kvHeadBytes(headDim, kvStored)

  // 3. Activations: the tower and the decoder never run at the same time.
  const activations = Math.max(visionActivations(config), decoderActivations(config, prefillTokens))
  return { weights, weightsByType, kv, kvStored, activations, total: weights + kv + activations, loading, maxContext }
}

/** Bytes of the key, or the value, of a token and head. */
function kvHeadBytes(headDim: number, stored: KvType): number {
  switch (stored) {
    case "f32":
      return headDim * 4
    case "bf16":
      return headDim * 2
    case "int8":
      return headDim + 4 // and its scale
  }
}

function sizes({ axes }: Parameter): readonly [rows: number, columns: number] {
  return axes.length === 1 ? [1, axes[0][1]] : [axes[0][1], axes[1][1]]
}

/** One pass of packed images: the encoder's MLP or attention, or the projector's wide layer. */
function visionActivations({ text, vision }: IsaacConfig): number {
  const patches = packLimit(vision)
  const width = vision.hiddenSize
  const tokens = patches / vision.pixelShuffle ** 2
  const shuffled = width * vision.pixelShuffle ** 2
  const embedding = patches * (3 * vision.patchSize ** 2 + 2 * width)
  const attention = patches * width * 7 // stream, norm, q, k, v, mixed, result
  const mlp = patches * (width * 4 + vision.intermediateSize) // stream, attended, norm, result, wide
  const projector = patches * width + tokens * (shuffled * 5 + text.hiddenSize) // encoded, shuffled, wide, result
  return 4 * Math.max(embedding, attention, mlp, projector)
}

/** One pass of `tokens` tokens through a decoder layer, and one row of logits. */
function decoderActivations({ text }: IsaacConfig, tokens: number): number {
  const { hiddenSize, heads, kvHeads, headDim, intermediateSize, vocabSize } = text
  const shared = tokens * (2 * hiddenSize + 2 * headDim) // embedded input, stream, cos and sin
  const attention = tokens * (2 * hiddenSize + 3 * heads * headDim + 3 * kvHeads * headDim)
  const mlp = tokens * (3 * hiddenSize + 3 * intermediateSize)
  return 4 * (shared + Math.max(attention, mlp) + vocabSize)
}

/** Throws out_of_memory with the plan's numbers when it is over `limit` bytes. */
export function checkMemory(plan: MemoryPlan, limit: number): void {
  if (plan.total <= limit) return
  throw new IsaacError(
    "out_of_memory",
    `the model needs ${describePlan(plan)}, but ${megabytes(limit)} are allowed. ` +
      "Choose a smaller dtype or a smaller maxContext.",
  )
}

/** "2345 MB: 1800 MB of weights (bf16), 450 MB for 4096 tokens of context (f32), 95 MB of activations" */
export function describePlan(plan: MemoryPlan): string {
  const { total, weights, weightsByType, kv, kvStored, activations, maxContext } = plan
  return (
    `${megabytes(total)}: ${megabytes(weights)} of weights (${Object.keys(weightsByType).sort().join(", ")}), ` +
    `${megabytes(kv)} for ${maxContext} tokens of context (${kvStored}), ${megabytes(activations)} of activations`
  )
}

export function megabytes(bytes: number): string {
  return `${Math.ceil(bytes / 1e6)} MB`
}
