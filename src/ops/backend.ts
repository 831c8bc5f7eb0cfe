/**
 * The one seam between the model and the machine.
 *
 * The model speaks only this interface; a backend (plain loops, WebAssembly, native, later WebGPU) implements it.
 * Operations are synchronous, return handles and never numbers; `read` is the only wait. Activations are float32,
 * dense and row-major. "[T, D]" in a comment is a shape: T tokens of D numbers.
 *
 * `ops/reference/` is the definition of every operation; `conformance.ts` holds every other backend to it.
 */

import type { PackedSource } from "./packed-layout"

export {
  isPacked,
  isPackedSource,
  PACKED,
  type PackedSource,
  type PackedType,
  packedBytes,
  packedTypeOf,
} from "./packed-layout"
export { Q4_ARITHMETIC } from "./q4-layout"
export { Q8_ARITHMETIC, Q8_BITS, Q8_GROUP, Q8_PANEL } from "./q8-layout"

/** A dense float32 activation on a backend: a handle, its numbers are reached by `Backend.read` only. */
export interface Tensor {
  readonly shape: readonly number[]
}

/** How a weight matrix is kept. Activations are f32 whatever it is. */
export type StoredType = "f32" | "bf16" | "q8" | "q4"

/** Where bytes begin in a file of this machine, and how long that is. */
export interface FilePlace {
  readonly path: string
  readonly fileBytes: number
  readonly offset: number
}

/** A linear layer's weight, [out, in], in whatever layout the backend packed it; only this backend can use it. */
export interface Weight {
  readonly shape: readonly [out: number, in_: number]
  readonly stored: StoredType
  /** Bytes the packed weight takes on the backend. */
  readonly bytes: number
}

/** Checkpoint dtypes of plain numbers, row-major. */
export type NumberType = "F32" | "F16" | "BF16"

/** What a weight can be loaded from: plain numbers, or the panels of a weight packed as in q8-layout.ts or q4-layout.ts. */
export type SourceType = NumberType | PackedSource

export type Activation = "silu" | "gelu_tanh"

export interface LinearOptions {
  /** [out], added before the activation. */
  readonly bias?: Tensor
  readonly activation?: Activation
  /** Same shape as the result, added last: result = activation(x·Wᵀ + bias) + residual. May be any live tensor. */
  readonly residual?: Tensor
}

/** Keys and values of several sequences ("slots"), all layers, in fixed blocks behind a block table. */
export interface KvCache {
  readonly options: Readonly<Required<KvOptions>>
  /** Bytes of the blocks in use. */
  readonly bytes: number
}

/**
 * How keys and values are kept. int8: the key and the value of a token and head are whole numbers −127 … 127 with a
 * float32 scale each, rounded as activations of q8 are, see reference/quantisation.ts.
 */
export type KvType = "f32" | "bf16" | "int8"

export interface KvOptions {
  readonly layers: number
  readonly kvHeads: number
  readonly headDim: number
  /** Default "f32". */
  readonly stored?: KvType
  /**
   * Most tokens that all slots together may hold, those of a pass that is not committed yet included (a block shared
   * by slots counts once); asking for more throws out_of_memory.
   */
  readonly maxTokens: number
}

/** Keys and values outside of a backend, [2, length, kvHeads, headDim]: float32, the bits of bfloat16, or int8. */
export type KvNumbers = Float32Array | Uint16Array | KvInt8

/** Keys and values are scale · number. */
export interface KvInt8 {
  /** [2, length, kvHeads, headDim], −127 … 127 */
  readonly numbers: Int8Array
  /** [2, length, kvHeads], finite, none below 0 */
  readonly scales: Float32Array
}

/** `length` new tokens of one slot, which go to cache positions start … start+length-1. */
export interface KvSequence {
  readonly slot: number
  readonly start: number
  readonly length: number
}

export interface CausalAttentionOptions {
  readonly kv: KvCache
  readonly layer: number
  /** In the order of their rows in q, k, v. Σ length = T. */
  readonly sequences: readonly KvSequence[]
  readonly scale: number
}

export interface VarlenAttentionOptions {
  /**
   * "bf16": q, k, v and the softmax weights may be rounded to bfloat16 before they are multiplied, where that is faster.
   * Sums stay float32. Default "f32".
   */
  readonly factors?: "f32" | "bf16"
}

/** What a backend says of itself: shown by `isaac doctor`. */
export interface BackendInfo {
  readonly name: "reference" | "wasm" | "native"
  /** Instruction set in use, e.g. "plain JavaScript", "simd128", "simd128 + relaxed-simd", "avx2". */
  readonly isa: string
  readonly threads: number
  /** Storage types that `loadWeight` takes. */
  readonly stored: readonly StoredType[]
  /** Most bytes that weights, caches and activations may take together; undefined where only the machine limits them. */
  readonly memoryLimit?: number
}

export interface Backend {
  readonly info: BackendInfo

  // ── Memory ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Copy numbers in. `data.length` must be the product of `shape`. */
  upload(data: Float32Array, shape: readonly number[]): Tensor
  /** Copy numbers out, once everything that produces them has run. A `free` after the call does not touch the result. */
  read(t: Tensor): Promise<Float32Array>
  /** The same numbers under another shape (a view: no copy, freed with its source). */
  reshape(t: Tensor, shape: readonly number[]): Tensor
  /** Rows start … end-1 of the first axis (a view: no copy, freed with its source). */
  rows(t: Tensor, start: number, end: number): Tensor
  /**
   * Run `fn` and free every tensor made inside it that it does not return (found in arrays and plain objects too).
   * Nested scopes hand what they return to the scope around them. Tensors made outside any scope live until `free`.
   * A view that is returned without its source becomes the owner of the numbers. An async `fn` throws bad_input.
   */
  scope<T>(fn: () => T): T
  /** Free tensors, weights or caches at once. Freeing twice, or a view, does nothing. */
  free(...handles: readonly (Tensor | Weight | KvCache)[]): void
  /** Bytes in use for weights, caches and activations, now and at most. */
  memory(): { readonly used: number; readonly peak: number }
  /** Release everything, threads included. The backend is dead afterwards. */
  dispose(): Promise<void>

  // ── Weights ───────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Pack a checkpoint matrix [out, in] (little-endian, row-major) for `linear` and `embed`: createWeight and writeWeight
   * in one. As q8 and q4, numbers are quantised (see reference/quantisation.ts); "Q8" bytes become a q8 weight only, "Q4"
   * bytes a q4 weight.
   */
  loadWeight(bytes: Uint8Array, source: SourceType, shape: readonly [number, number], stored: StoredType): Weight
  /** A weight of zeros, to be filled by `writeWeight` in blocks: one that is too large to be in memory twice. */
  createWeight(shape: readonly [number, number], stored: StoredType): Weight
  /**
   * Fill rows of a weight, from `firstRow` on, a multiple of Q8_PANEL. `bytes` holds whole rows [rows, in], a multiple of
   * Q8_PANEL of them unless they end with the weight's last one; from "Q8" or "Q4" the panels of these rows (weights of
   * that type only), whose numbers and scales are checked: not_finite, bad_input.
   */
  writeWeight(w: Weight, firstRow: number, bytes: Uint8Array, source: SourceType): void
  /**
   * A weight whose panels lie in a file, as `writeWeight` takes them: mapped into memory, where they are read when they
   * are first needed, instead of copied. Only where a backend can. They are checked; the file must not be changed by
   * others as long as the weight lives. Throws io, and what writeWeight throws for damaged panels.
   */
  mapWeight?(place: FilePlace, source: PackedSource, shape: readonly [number, number]): Weight
  /**
   * The panels of a q8 or q4 weight, `packedBytes` in all: the same bytes on every backend. `loadWeight` takes them back
   * as "Q8" or "Q4". Throws unsupported for other storage types.
   */
  readWeight(w: Weight): Promise<Uint8Array>

  // ── Operations ────────────────────────────────────────────────────────────────────────────────────────────────

  /** Rows of the table: ids [n] → [n, in]. An id outside [0, out) throws bad_input. */
  embed(ids: Int32Array, w: Weight): Tensor
  /** x [T, in] · Wᵀ → [T, out], see LinearOptions. */
  linear(x: Tensor, w: Weight, options?: LinearOptions): Tensor
  /** (x − mean) / √(var + eps) · weight + bias over the last axis; weight, bias [D]. Variance is the biased one. */
  layerNorm(x: Tensor, weight: Tensor, bias: Tensor, eps: number): Tensor
  /**
   * x / √(mean(x²) + eps) · weight, over every run of weight.length numbers: with weight [D] the last axis of [T, D],
   * with weight [headDim] every head of [T, heads·headDim].
   */
  rmsNorm(x: Tensor, weight: Tensor, eps: number): Tensor
  /**
   * Rotate-half rotary embedding IN PLACE: x [T, heads·headDim], cos and sin [T, headDim], of which both halves are
   * read. Returns x.
   */
  rope(x: Tensor, cos: Tensor, sin: Tensor): Tensor
  /** silu(gate) · up, elementwise. */
  swiglu(gate: Tensor, up: Tensor): Tensor
  silu(x: Tensor): Tensor
  /** The tanh form: 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))). */
  gelu(x: Tensor): Tensor
  add(a: Tensor, b: Tensor): Tensor
  /** Stack along the first axis: [n1, D], [n2, D] … → [Σ n, D]. */
  concatRows(parts: readonly Tensor[]): Tensor
  /** out[i] = x[index[i]]: x [N, D], index [n] → [n, D]. Pixel shuffle and stream reconstruction are this. */
  gatherRows(x: Tensor, index: Int32Array): Tensor
  /**
   * Bidirectional attention inside each packed segment and none across: q, k, v [T, heads·headDim], segments
   * cuSeqlens[i] … cuSeqlens[i+1]-1 (cuSeqlens[0] = 0, last = T). softmax(q·kᵀ·scale)·v → [T, heads·headDim].
   */
  varlenAttention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cuSeqlens: Int32Array,
    heads: number,
    scale: number,
    options?: VarlenAttentionOptions,
  ): Tensor

  // ── KV cache ──────────────────────────────────────────────────────────────────────────────────────────────────

  createKv(options: KvOptions): KvCache
  /**
   * Write k, v [T, kvHeads·headDim] of `layer` at their cache positions, then attend: row i of a sequence sees cache
   * positions 0 … start+i of its slot, itself included, as they are stored. q [T, heads·headDim], heads a multiple of
   * kvHeads, query head h reads kv head ⌊h / (heads/kvHeads)⌋. → [T, heads·headDim]. Prefill, chunked prefill, decode and batched decode are one call.
   * `start` may not exceed the slot's committed length (what lies behind it is overwritten); the length itself changes
   * only by `kvCommit`, so a pass that was broken off between layers leaves the slot as it was.
   */
  causalAttention(q: Tensor, k: Tensor, v: Tensor, options: CausalAttentionOptions): Tensor
  /** Set the slot's length after all layers were written (grow), or drop tokens from its end (shrink, frees blocks). */
  kvCommit(kv: KvCache, slot: number, length: number): void
  /** Committed tokens of the slot; 0 for one never used. */
  kvLength(kv: KvCache, slot: number): number
  /** Make slot `to` the first `length` tokens of slot `from`, sharing whole blocks (copied when written). */
  kvCopy(kv: KvCache, from: number, to: number, length: number): void
  /**
   * Bytes of blocks that `causalAttention` of these sequences would take beyond those in use: new ones, and copies of
   * shared ones. Changes nothing.
   */
  kvGrowth(kv: KvCache, sequences: readonly KvSequence[]): number
  /**
   * Copy out `layer` of the slot's positions 0 … length-1, as it is stored: keys, then values,
   * [2, length, kvHeads, headDim]. What is written to the slot after the call does not touch the result.
   */
  kvExport(kv: KvCache, slot: number, layer: number, length: number): Promise<KvNumbers>
  /**
   * The reverse: write them to positions 0 … of the slot, whose length changes only by `kvCommit`, once all layers are
   * in. Throws bad_input for numbers of another type, another count or out of range, not_finite for a NaN or an infinity,
   * and out_of_memory.
   */
  kvImport(kv: KvCache, slot: number, layer: number, numbers: KvNumbers): void

  // ── Logits ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Index of the largest of each row, the first one on a tie, NaN as −∞: [T, V] → [T] (exact in f32 up to 2²⁴). */
  argmax(x: Tensor): Tensor
  /** The k largest of each row, descending, ties by lower index, NaN as −∞: values and indices [T, k]. */
  topK(x: Tensor, k: number): { readonly values: Tensor; readonly indices: Tensor }
  /** x − log Σ exp(x) over the last axis. */
  logSoftmax(x: Tensor): Tensor
}
