/**
 * What each operation has to do at least: its multiply-adds, and the bytes it must read and write once. From the shapes
 * alone, so that it is the same for every backend; how fast a backend does it is for `profiled-backend.ts` to find out.
 */

import type { Backend, KvSequence, Tensor } from "./backend"
import { sizeOf } from "./op-shapes"

export type OperationKind =
  | "linear"
  | "attention"
  | "norm"
  | "rope"
  | "activation"
  /** Rows to other places, and numbers in and out. */
  | "copy"
  | "kv"
  | "logits"

export interface OpWork {
  readonly kind: OperationKind
  /** What tells it from others of its kind: shapes and storage type, or the operation's name. */
  readonly detail: string
  /** Of products with a weight or with keys and values; roughly, for what is done number by number. */
  readonly multiplyAdds: number
  /** What must be read and written, once, were nothing in a cache. */
  readonly bytes: number
  /** What is multiplied; bf16 where the operation may round to it. */
  readonly factors: "f32" | "bf16" | "int8"
}

/** What only keeps the books: views, scopes, memory. Its time is told with that of the model's own code. */
type Bookkeeping =
  | "info"
  | "reshape"
  | "rows"
  | "scope"
  | "free"
  | "memory"
  | "dispose"
  | "loadWeight"
  | "mapWeight"
  | "createWeight"
  | "writeWeight"
  | "readWeight"
  | "createKv"
  | "kvLength"
  | "mapWeight"
  | "kvGrowth"

export type Operation = Exclude<keyof Backend, Bookkeeping>

/** An exponential and what is around it, in multiply-adds. */
const EXP = 12
const FLOAT = 4
/** Bytes of a key or a value of one head; int8 has a scale beside its numbers. */
const KV_BYTES: Readonly<Record<string, (headDim: number) => number>> = {
  f32: (headDim) => 4 * headDim,
  bf16: (headDim) => 2 * headDim,
  int8: (headDim) => headDim + 4,
}

const bytesOf = (...tensors: readonly (Tensor | undefined)[]) =>
  tensors.reduce((sum, t) => sum + (t ? sizeOf(t.shape) * FLOAT : 0), 0)

/** `perNumber` multiply-adds for each number of x, which is read, as `others` are, and written in the same size. */
function elementwise(kind: OperationKind, detail: string, perNumber: number, x: Tensor, ...others: Tensor[]): OpWork {
  const multiplyAdds = perNumber * sizeOf(x.shape)
  return { kind, detail, multiplyAdds, bytes: bytesOf(x, ...others) + bytesOf(x), factors: "f32" }
}

function copy(detail: string, bytes: number, kind: OperationKind = "copy"): OpWork {
  return { kind, detail, multiplyAdds: 0, bytes, factors: "f32" }
}

/** Pairs of a query and a key that it sees. */
function causalScores(sequences: readonly KvSequence[]): number {
  return sequences.reduce((sum, { start, length }) => sum + length * start + (length * (length + 1)) / 2, 0)
}

/** By operation, what a call with these arguments is. */
export const OP_WORK: { readonly [K in Operation]: (...args: Parameters<Backend[K]>) => OpWork } = {
  upload: (data) => copy("upload", 2 * data.byteLength),
  read: (t) => copy("read", 2 * bytesOf(t)),
  embed: (ids, { shape: [rows, width], stored, bytes }) =>
    copy(`embed ${stored}`, ids.length * (4 + width * FLOAT + (rows === 0 ? 0 : bytes / rows))),
  linear: (x, { shape: [out, inner], stored, bytes }, { bias, residual } = {}) => {
    const rows = x.shape[0]
    return {
      kind: "linear",
      detail: `${inner}→${out} ${stored}`,
      multiplyAdds: rows * inner * out,
      bytes: bytes + bytesOf(x, bias, residual) + rows * out * FLOAT,
      factors: stored === "q8" || stored === "q4" ? "int8" : "f32",
    }
  },
  layerNorm: (x, weight, bias) => elementwise("norm", `layerNorm ${weight.shape[0]}`, 4, x, weight, bias),
  rmsNorm: (x, weight) => elementwise("norm", `rmsNorm ${weight.shape[0]}`, 3, x, weight),
  rope: (x, cos, sin) => elementwise("rope", "rope", 2, x, cos, sin),
  swiglu: (gate, up) => elementwise("activation", "swiglu", EXP + 1, gate, up),
  silu: (x) => elementwise("activation", "silu", EXP, x),
  gelu: (x) => elementwise("activation", "gelu", EXP + 3, x),
  add: (a, b) => elementwise("activation", "add", 1, a, b),
  concatRows: (parts) => copy("concatRows", 2 * bytesOf(...parts)),
  gatherRows: (x, index) => {
    const row = x.shape[0] === 0 ? 0 : bytesOf(x) / x.shape[0]
    return copy("gatherRows", index.length * (4 + 2 * row))
  },
  varlenAttention: (q, k, v, cuSeqlens, heads, _scale, { factors = "f32" } = {}) => {
    let scores = 0
    for (let i = 1; i < cuSeqlens.length; i++) scores += (cuSeqlens[i] - cuSeqlens[i - 1]) ** 2
    const width = q.shape[1]
    return {
      kind: "attention",
      detail: `in each picture, ${heads} heads of ${width / heads}`,
      multiplyAdds: 2 * scores * width,
      bytes: bytesOf(q, k, v) + bytesOf(q),
      factors,
    }
  },
  causalAttention: (q, k, v, { kv, sequences }) => {
    const { kvHeads, headDim, stored } = kv.options
    const width = q.shape[1]
    const tokenBytes = 2 * kvHeads * KV_BYTES[stored](headDim)
    const cached = sequences.reduce((sum, { start, length }) => sum + start + length, 0)
    return {
      kind: "attention",
      detail: `causal, ${width / headDim}/${kvHeads} heads of ${headDim}, ${stored}`,
      multiplyAdds: 2 * causalScores(sequences) * width,
      bytes: bytesOf(q, k, v) + bytesOf(q) + cached * tokenBytes,
      factors: "f32",
    }
  },
  kvCommit: () => copy("kvCommit", 0, "kv"),
  kvCopy: () => copy("kvCopy", 0, "kv"),
  kvExport: () => copy("kvExport", 0, "kv"),
  kvImport: () => copy("kvImport", 0, "kv"),
  argmax: (x) => copy("argmax", bytesOf(x), "logits"),
  topK: (x) => copy("topK", bytesOf(x), "logits"),
  logSoftmax: (x) => elementwise("logits", "logSoftmax", EXP, x),
}
