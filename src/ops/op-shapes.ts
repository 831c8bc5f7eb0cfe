/**
 * The shape rules of every operation in one place: each function checks an operation's arguments and returns the sizes
 * its loops need. Whatever is wrong throws bad_input with the operation and the shapes.
 */

import { IsaacError } from "../errors"
import type {
  CausalAttentionOptions,
  KvCache,
  KvInt8,
  KvNumbers,
  KvOptions,
  KvSequence,
  KvType,
  LinearOptions,
  NumberType,
  SourceType,
  StoredType,
  Tensor,
  Weight,
} from "./backend"
import { isPacked, PACKED, type PackedType, packedBytes, packedTypeOf } from "./packed-layout"
import { Q8_PANEL } from "./q8-layout"

/** Product of the sizes: how many numbers a shape holds. */
export function sizeOf(shape: readonly number[]): number {
  let size = 1
  for (const n of shape) size *= n
  return size
}

export function formatShape(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`
}

function bad(op: string, what: string): IsaacError {
  return new IsaacError("bad_input", `${op}: ${what}`)
}

function isCount(n: number): boolean {
  return Number.isSafeInteger(n) && n >= 0
}

/** Indexes come as Int32Array: a plain array (or BigInt64Array) has no bytes that could be copied. */
function ints(op: string, name: string, values: Int32Array): void {
  if (!(values instanceof Int32Array)) throw bad(op, `${name} must be an Int32Array`)
}

/** Sizes must be whole and not negative. */
export function checkShape(op: string, shape: readonly number[]): void {
  if (!shape.every(isCount)) throw bad(op, `${formatShape(shape)} is no shape; sizes are whole numbers ≥ 0`)
}

/** A matrix [rows, columns]. */
function matrix(op: string, name: string, t: Tensor): readonly [rows: number, columns: number] {
  if (t.shape.length !== 2) throw bad(op, `${name} is ${formatShape(t.shape)}, a matrix of two axes is needed`)
  return [t.shape[0], t.shape[1]]
}

function same(op: string, name: string, t: Tensor, shape: readonly number[], why: string): void {
  if (t.shape.length !== shape.length || t.shape.some((n, i) => n !== shape[i])) {
    throw bad(op, `${name} is ${formatShape(t.shape)}, ${formatShape(shape)} is needed ${why}`)
  }
}

function lastAxis(op: string, name: string, t: Tensor): number {
  if (t.shape.length === 0) throw bad(op, `${name} is a single number, at least one axis is needed`)
  return t.shape[t.shape.length - 1]
}

// ── Memory ──────────────────────────────────────────────────────────────────────────────────────────────────────────

export function checkUpload(data: Float32Array, shape: readonly number[]): void {
  checkShape("upload", shape)
  if (data.length !== sizeOf(shape)) {
    throw bad("upload", `${data.length} numbers were given for the shape ${formatShape(shape)} of ${sizeOf(shape)}`)
  }
}

export function checkReshape(t: Tensor, shape: readonly number[]): void {
  checkShape("reshape", shape)
  if (sizeOf(t.shape) !== sizeOf(shape)) {
    throw bad(
      "reshape",
      `${formatShape(t.shape)} has ${sizeOf(t.shape)} numbers, ${formatShape(shape)} ${sizeOf(shape)}`,
    )
  }
}

/** The shape of rows start … end-1 and how many numbers a row has. */
export function checkRows(t: Tensor, start: number, end: number): { shape: number[]; rowSize: number } {
  if (t.shape.length === 0) throw bad("rows", "a single number has no rows")
  if (!isCount(start) || !isCount(end) || start > end || end > t.shape[0]) {
    throw bad("rows", `${start} … ${end} is no range of the ${t.shape[0]} rows of ${formatShape(t.shape)}`)
  }
  const row = t.shape.slice(1)
  return { shape: [end - start, ...row], rowSize: sizeOf(row) }
}

// ── Weights ─────────────────────────────────────────────────────────────────────────────────────────────────────────

export const SOURCE_BYTES: Readonly<Record<NumberType, number>> = { F32: 4, F16: 2, BF16: 2 }

export function checkWeightShape(op: string, shape: readonly [number, number]): void {
  if (shape.length !== 2) throw bad(op, `${formatShape(shape)} is no matrix [out, in]`)
  checkShape(op, shape)
}

function checkSource(op: string, source: SourceType, stored: StoredType): void {
  const packed = packedTypeOf(source)
  if (packed !== undefined) {
    if (stored === packed) return
    const what = `packed ${packed} bytes make a ${packed} weight`
    throw new IsaacError("unsupported", `${op}: ${what}, not one that is kept as ${stored}`)
  }
  if (!Object.hasOwn(SOURCE_BYTES, source)) throw bad(op, `${source} is none of F32, F16, BF16, Q8, Q4`)
}

/** All bytes of a matrix at once. */
export function checkWeight(
  bytes: Uint8Array,
  source: SourceType,
  shape: readonly [number, number],
  stored: StoredType,
): void {
  checkWeightShape("loadWeight", shape)
  checkSource("loadWeight", source, stored)
  const packed = packedTypeOf(source)
  const expected = packed ? packedBytes(shape, packed) : sizeOf(shape) * SOURCE_BYTES[source as NumberType]
  if (bytes.byteLength !== expected) {
    throw bad(
      "loadWeight",
      `${formatShape(shape)} of ${source} takes ${expected} bytes, ${bytes.byteLength} were given`,
    )
  }
}

export function checkWriteWeight(w: Weight, firstRow: number, bytes: Uint8Array, source: SourceType): void {
  const [out, inner] = w.shape
  const matrix = `the weight ${formatShape(w.shape)}`
  checkSource("writeWeight", source, w.stored)
  if (!isCount(firstRow) || firstRow % Q8_PANEL !== 0) {
    throw bad("writeWeight", `${firstRow} is no first row for ${matrix}: multiples of ${Q8_PANEL} are`)
  }
  const packed = packedTypeOf(source)
  const unitBytes = packed ? PACKED[packed].panelBytes(inner) : inner * SOURCE_BYTES[source as NumberType]
  const units = unitBytes === 0 ? bytes.byteLength : bytes.byteLength / unitBytes
  if (!isCount(units) || (unitBytes === 0 && units > 0)) {
    const what = packed ? `panels of ${Q8_PANEL} rows` : "rows"
    throw bad("writeWeight", `${bytes.byteLength} bytes of ${source} are no whole ${what} of ${matrix}`)
  }
  const end = firstRow + units * (packed ? Q8_PANEL : 1)
  if (end > (packed ? Math.ceil(out / Q8_PANEL) * Q8_PANEL : out)) {
    throw bad("writeWeight", `rows ${firstRow} … ${end - 1} are not all in ${matrix}`)
  }
  if (end < out && end % Q8_PANEL !== 0) {
    throw bad("writeWeight", `rows ${firstRow} … ${end - 1} of ${matrix} end inside a panel of ${Q8_PANEL} rows`)
  }
}

/** `readWeight` is for files, which hold packed panels or the checkpoint's own numbers. Returns the weight's type. */
export function checkReadWeight({ stored }: Weight): PackedType {
  if (isPacked(stored)) return stored
  const which = Object.keys(PACKED).join(" and ")
  throw new IsaacError(
    "unsupported",
    `readWeight: only ${which} weights can be read back, this one is kept as ${stored}`,
  )
}

/** The error for packed bytes that no packing has made. */
export function damagedPanels(stored: PackedType, code: "bad_input" | "not_finite"): IsaacError {
  const what = code === "not_finite" ? "a scale that is no finite number" : "a number of more than 7 bits"
  return new IsaacError(
    code,
    `writeWeight: these packed ${stored} bytes hold ${what}. They are damaged: convert the original checkpoint again`,
  )
}

export function checkEmbed(ids: Int32Array, w: Weight): void {
  ints("embed", "ids", ids)
  for (let i = 0; i < ids.length; i++) {
    if (ids[i] < 0 || ids[i] >= w.shape[0]) {
      throw bad("embed", `id ${ids[i]} at position ${i} is outside the table of ${w.shape[0]} rows`)
    }
  }
}

export function checkLinear(x: Tensor, w: Weight, options: LinearOptions): { T: number; K: number; N: number } {
  const [T, K] = matrix("linear", "x", x)
  const [N, inner] = w.shape
  if (K !== inner) {
    throw bad(
      "linear",
      `x is ${formatShape(x.shape)}, the weight ${formatShape(w.shape)} needs rows of ${inner} numbers`,
    )
  }
  const { bias, activation, residual } = options
  if (bias) same("linear", "bias", bias, [N], `for the weight ${formatShape(w.shape)}`)
  if (residual) same("linear", "residual", residual, [T, N], "as the result's shape")
  if (activation !== undefined && activation !== "silu" && activation !== "gelu_tanh") {
    throw bad("linear", `"${activation}" is no activation; silu and gelu_tanh are`)
  }
  return { T, K, N }
}

// ── Norms, rotary embedding, elementwise ────────────────────────────────────────────────────────────────────────────

export function checkLayerNorm(x: Tensor, weight: Tensor, bias: Tensor): { D: number; groups: number } {
  const D = lastAxis("layerNorm", "x", x)
  if (D === 0) throw bad("layerNorm", `x is ${formatShape(x.shape)}: an empty last axis has no mean`)
  same("layerNorm", "weight", weight, [D], `for x ${formatShape(x.shape)}`)
  same("layerNorm", "bias", bias, [D], `for x ${formatShape(x.shape)}`)
  return { D, groups: sizeOf(x.shape) / D }
}

/** Groups of `weight.length` numbers: a whole number of them makes the last axis. */
export function checkRmsNorm(x: Tensor, weight: Tensor): { D: number; groups: number } {
  const last = lastAxis("rmsNorm", "x", x)
  if (weight.shape.length !== 1) throw bad("rmsNorm", `weight is ${formatShape(weight.shape)}, one axis is needed`)
  const D = weight.shape[0]
  if (D === 0 || last % D !== 0) {
    throw bad("rmsNorm", `the last axis of x ${formatShape(x.shape)} is no multiple of the weight's ${D} numbers`)
  }
  return { D, groups: sizeOf(x.shape) / D }
}

export function checkRope(x: Tensor, cos: Tensor, sin: Tensor): { T: number; heads: number; headDim: number } {
  const [T, width] = matrix("rope", "x", x)
  const [, headDim] = matrix("rope", "cos", cos)
  if (headDim === 0 || headDim % 2 !== 0 || width % headDim !== 0) {
    throw bad(
      "rope",
      `x ${formatShape(x.shape)} and cos ${formatShape(cos.shape)}: the head size must be even and divide x's rows`,
    )
  }
  same("rope", "cos", cos, [T, headDim], `for x ${formatShape(x.shape)}`)
  same("rope", "sin", sin, [T, headDim], "as cos has it")
  return { T, heads: width / headDim, headDim }
}

/** Two tensors of one shape; returns how many numbers each has. */
export function checkSame(op: string, a: Tensor, b: Tensor): number {
  same(op, "the second tensor", b, a.shape, "as the first has it")
  return sizeOf(a.shape)
}

// ── Rows ────────────────────────────────────────────────────────────────────────────────────────────────────────────

export function checkConcatRows(parts: readonly Tensor[]): number[] {
  if (parts.length === 0) throw bad("concatRows", "no tensors were given, the result's shape is unknown")
  const [first] = parts
  if (first.shape.length === 0) throw bad("concatRows", "a single number has no rows")
  const row = first.shape.slice(1)
  let rows = 0
  for (const part of parts) {
    same("concatRows", "a part", part, [part.shape[0] ?? 0, ...row], `to stack on ${formatShape(first.shape)}`)
    rows += part.shape[0]
  }
  return [rows, ...row]
}

export function checkGatherRows(x: Tensor, index: Int32Array): { shape: number[]; rowSize: number } {
  if (x.shape.length === 0) throw bad("gatherRows", "a single number has no rows")
  ints("gatherRows", "index", index)
  const [N, ...row] = x.shape
  for (let i = 0; i < index.length; i++) {
    if (index[i] < 0 || index[i] >= N) {
      throw bad("gatherRows", `index ${index[i]} at ${i} is outside the ${N} rows of ${formatShape(x.shape)}`)
    }
  }
  return { shape: [index.length, ...row], rowSize: sizeOf(row) }
}

// ── Attention ───────────────────────────────────────────────────────────────────────────────────────────────────────

export function checkVarlenAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  cuSeqlens: Int32Array,
  heads: number,
  scale: number,
): { T: number; headDim: number } {
  const op = "varlenAttention"
  const [T, width] = matrix(op, "q", q)
  same(op, "k", k, q.shape, "as q has it")
  same(op, "v", v, q.shape, "as q has it")
  if (!Number.isSafeInteger(heads) || heads < 1 || width === 0 || width % heads !== 0) {
    throw bad(op, `rows of ${width} numbers do not split into ${heads} heads`)
  }
  checkScale(op, scale)
  ints(op, "cuSeqlens", cuSeqlens)
  let rising = cuSeqlens.length > 0 && cuSeqlens[0] === 0 && cuSeqlens[cuSeqlens.length - 1] === T
  for (let i = 1; i < cuSeqlens.length; i++) rising &&= cuSeqlens[i] >= cuSeqlens[i - 1]
  if (!rising) {
    throw bad(op, `cuSeqlens [${describe(cuSeqlens)}] must rise from 0 to the ${T} rows of q`)
  }
  return { T, headDim: width / heads }
}

export function checkCausalAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: CausalAttentionOptions,
): { T: number; heads: number } {
  const op = "causalAttention"
  const { kv, layer, sequences, scale } = options
  const { kvHeads, headDim } = kv.options
  const [T, width] = matrix(op, "q", q)
  const heads = width / headDim
  if (!Number.isInteger(heads) || heads === 0 || heads % kvHeads !== 0) {
    throw bad(
      op,
      `q is ${formatShape(q.shape)}: its rows must hold a multiple of the cache's ${kvHeads} heads of ${headDim}`,
    )
  }
  same(op, "k", k, [T, kvHeads * headDim], "for this cache and q")
  same(op, "v", v, [T, kvHeads * headDim], "for this cache and q")
  checkKvLayer(op, kv, layer)
  checkScale(op, scale)
  let total = 0
  for (const { length } of sequences) total += length
  if (total !== T) {
    throw bad(op, `the sequences [${describe(sequences.map(lengthOf))}] have ${total} tokens, q has ${T}`)
  }
  return { T, heads }
}

/** What keys and values are outside of a backend. */
const KV_ARRAY: Readonly<Record<KvType, string>> = {
  f32: "Float32Array",
  bf16: "Uint16Array",
  int8: "{ numbers: Int8Array, scales: Float32Array }",
}

export function checkKvOptions(options: KvOptions): void {
  for (const name of ["layers", "kvHeads", "headDim"] as const) {
    if (!isCount(options[name]) || options[name] === 0) {
      throw bad("createKv", `${name} is ${options[name]}; a whole number of at least 1 is needed`)
    }
  }
  if (options.stored !== undefined && !Object.hasOwn(KV_ARRAY, options.stored)) {
    throw bad("createKv", `"${options.stored}" is no way to keep keys and values; f32, bf16 and int8 are`)
  }
}

/** `held` is how many tokens the slot has. */
export function checkKvExport(kv: KvCache, slot: number, layer: number, length: number, held: number): void {
  checkKvLayer("kvExport", kv, layer)
  if (!isCount(length) || length > held) {
    throw bad("kvExport", `${length} tokens are asked for, slot ${slot} holds ${held}`)
  }
}

/** Returns of how many tokens the numbers are. */
export function checkKvImport(kv: KvCache, layer: number, numbers: KvNumbers): number {
  const op = "kvImport"
  checkKvLayer(op, kv, layer)
  const { kvHeads, headDim, stored } = kv.options
  const isOfType =
    stored === "int8"
      ? isKvInt8(numbers)
      : stored === "f32"
        ? numbers instanceof Float32Array
        : numbers instanceof Uint16Array
  if (!isOfType) throw bad(op, `the cache keeps ${stored}, which comes as ${KV_ARRAY[stored]}`)
  const { length } = isKvInt8(numbers) ? numbers.numbers : numbers
  const tokens = length / (2 * kvHeads * headDim)
  if (!Number.isInteger(tokens)) {
    throw bad(op, `${length} numbers are no keys and values of ${kvHeads} heads of ${headDim}`)
  }
  if (isKvInt8(numbers)) {
    checkKvInt8(numbers, layer, 2 * tokens * kvHeads)
    return tokens
  }
  const infinite = (n: number) => (stored === "f32" ? !Number.isFinite(n) : (n & 0x7f80) === 0x7f80)
  for (let i = 0; i < length; i++) {
    if (infinite(numbers[i])) {
      throw new IsaacError("not_finite", `${op}: number ${i} of layer ${layer} is not finite`)
    }
  }
  return tokens
}

function isKvInt8(numbers: KvNumbers): numbers is KvInt8 {
  const { numbers: whole, scales } = (numbers ?? {}) as Partial<KvInt8>
  return whole instanceof Int8Array && scales instanceof Float32Array
}

function checkKvInt8({ numbers, scales }: KvInt8, layer: number, scaleCount: number): void {
  const op = "kvImport"
  if (scales.length !== scaleCount) throw bad(op, `${scales.length} scales were given, ${scaleCount} are needed`)
  for (let i = 0; i < scales.length; i++) {
    if (!Number.isFinite(scales[i])) {
      throw new IsaacError("not_finite", `${op}: scale ${i} of layer ${layer} is not finite`)
    }
    if (scales[i] < 0) throw bad(op, `scale ${i} of layer ${layer} is ${scales[i]}; none is below 0`)
  }
  const outside = numbers.indexOf(-128)
  if (outside >= 0) throw bad(op, `number ${outside} of layer ${layer} is -128; they are -127 to 127`)
}

function checkKvLayer(op: string, { options: { layers } }: KvCache, layer: number): void {
  if (!isCount(layer) || layer >= layers) throw bad(op, `layer ${layer} is outside the cache's ${layers} layers`)
}

function lengthOf({ length }: KvSequence): number {
  return length
}

function checkScale(op: string, scale: number): void {
  if (!Number.isFinite(scale)) throw bad(op, `the scale is ${scale}, a finite number is needed`)
}

/** A list for a message, cut short. */
function describe(numbers: ArrayLike<number>): string {
  const shown = Array.from({ length: Math.min(numbers.length, 12) }, (_, i) => numbers[i])
  return shown.join(", ") + (numbers.length > shown.length ? `, … ${numbers.length} in all` : "")
}

// ── Logits ──────────────────────────────────────────────────────────────────────────────────────────────────────────

export function checkArgmax(x: Tensor): { T: number; V: number } {
  const [T, V] = matrix("argmax", "x", x)
  if (V === 0) throw bad("argmax", `x is ${formatShape(x.shape)}: empty rows have no largest number`)
  return { T, V }
}

export function checkTopK(x: Tensor, k: number): { T: number; V: number } {
  const [T, V] = matrix("topK", "x", x)
  if (!Number.isSafeInteger(k) || k < 1 || k > V) throw bad("topK", `k is ${k}; rows of ${V} have 1 … ${V}`)
  return { T, V }
}

export function checkLogSoftmax(x: Tensor): { T: number; V: number } {
  const V = lastAxis("logSoftmax", "x", x)
  return { T: V === 0 ? 0 : sizeOf(x.shape) / V, V }
}
