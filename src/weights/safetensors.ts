/**
 * The safetensors container: u64 little-endian header length, a JSON header, raw little-endian data.
 * https://github.com/huggingface/safetensors#format. The header comes from strangers: every number is checked.
 */

import { IsaacError, isIsaacError, plainText, shown } from "../errors"
import type { ByteSource } from "./source"

/** Bytes of one number. */
export const ELEMENT_BYTES = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
} as const

export type SafetensorsType = keyof typeof ELEMENT_BYTES

export interface TensorInfo {
  readonly name: string
  readonly dtype: SafetensorsType
  readonly shape: readonly number[]
  /** Absolute byte offset in the file. */
  readonly offset: number
  readonly bytes: number
}

export interface SafetensorsHeader {
  readonly tensors: ReadonlyMap<string, TensorInfo>
  readonly metadata: Readonly<Record<string, string>>
}

/** Largest header we read, in bytes; the published checkpoints have about 100 KB. Parsed, it takes some ten times that. */
const MAX_HEADER = 16 << 20

/** Most axes of a tensor; weights have two, three at most. */
const MAX_AXES = 16

/** How a file begins that a clone without Git LFS has in place of the weights ("version https://git-lfs…"). */
const LFS_POINTER = "version "

/**
 * Read and check the header: the data must be what the tensors cover, each byte once, as the format asks.
 *
 * Memory is taken for no more than the header that the file really has. Throws bad_checkpoint with the offending
 * numbers, and what the source throws.
 */
export async function readSafetensorsHeader(source: ByteSource): Promise<SafetensorsHeader> {
  const bad = (what: string) =>
    new IsaacError("bad_checkpoint", `${source.name} is not a valid safetensors file: ${what}. Download it again.`)

  // 1. The length of the header.
  if (source.size < 8) throw bad(`it has ${source.size} bytes, a header needs at least 8`)
  const first = await source.read(0, 8)
  if (new TextDecoder().decode(first) === LFS_POINTER) {
    throw new IsaacError(
      "bad_checkpoint",
      `${source.name} is a Git LFS pointer, not the weights. Run "git lfs pull" in its folder, or download the file.`,
    )
  }
  const length = Number(new DataView(first.buffer, first.byteOffset, 8).getBigUint64(0, true))
  const data = 8 + length
  if (data > source.size) throw bad(`its header claims ${length} bytes, the file has ${source.size}`)
  if (length > MAX_HEADER) throw bad(`its header claims ${length} bytes; at most ${MAX_HEADER} are read`)

  // 2. Its text.
  let text: string
  let json: unknown
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(await source.read(8, length))
    json = JSON.parse(text)
  } catch (cause) {
    if (isIsaacError(cause)) throw cause // of the source
    throw bad(`the header is not JSON (${plainText((cause as Error).message)})`)
  }
  if (json === null || typeof json !== "object" || Array.isArray(json)) throw bad("the header is not a JSON object")

  // 3. Its entries.
  const tensors = new Map<string, TensorInfo>()
  let metadata: Record<string, string> = {}
  let keys = 0
  for (const [name, raw] of Object.entries(json)) {
    if (raw === null || typeof raw !== "object") throw bad(`entry ${shown(name)} is not an object`)
    keys += 1 + Object.keys(raw).length
    if (name === "__metadata__") metadata = readMetadata(raw, bad)
    else tensors.set(name, readEntry(name, raw, data, source.size, bad))
  }
  if (countKeys(text) !== keys) throw bad("a name stands twice in its header")

  // 4. What they cover together.
  const spans = [...tensors.values()].filter((t) => t.bytes > 0).sort((a, b) => a.offset - b.offset)
  let end = data
  let last = ""
  for (const { name, offset, bytes } of spans) {
    if (offset < end) throw bad(`${shown(last)} and ${shown(name)} overlap`)
    if (offset > end) throw bad(`no tensor has the ${offset - end} bytes before ${shown(name)}`)
    end = offset + bytes
    last = name
  }
  if (end < source.size) throw bad(`${source.size - end} bytes follow that no tensor has`)
  return { tensors, metadata }
}

type Bad = (what: string) => IsaacError

function readMetadata(raw: object, bad: Bad): Record<string, string> {
  const wrong = Object.entries(raw).find(([, value]) => typeof value !== "string")
  if (wrong) throw bad(`__metadata__ has ${shown(wrong[1])} for ${shown(wrong[0])}, which is no text`)
  return raw as Record<string, string>
}

function readEntry(name: string, raw: object, data: number, fileSize: number, bad: Bad): TensorInfo {
  const { dtype, shape, data_offsets: span } = raw as Record<string, unknown>
  if (typeof dtype !== "string" || !Object.hasOwn(ELEMENT_BYTES, dtype)) {
    throw bad(`${shown(name)} has the unknown dtype ${shown(dtype)}`)
  }
  if (!isSizes(shape) || shape.length > MAX_AXES) throw bad(`${shown(name)} has the shape ${shown(shape)}`)
  if (!isSizes(span) || span.length !== 2) throw bad(`${shown(name)} has the offsets ${shown(span)}`)
  const [start, end] = span as [number, number]
  const type = dtype as SafetensorsType
  // Beyond 2^53 the product is not exact, but it is still larger than any span.
  const bytes = shape.includes(0) ? 0 : shape.reduce((a, b) => a * b, ELEMENT_BYTES[type])
  if (end - start !== bytes) {
    throw bad(`${shown(name)} spans ${end - start} bytes, its shape [${shape}] of ${dtype} needs ${bytes}`)
  }
  if (data + end > fileSize) {
    throw bad(`${shown(name)} ends at byte ${data + end}, the file has ${fileSize}: it is truncated`)
  }
  return { name, dtype: type, shape, offset: data + start, bytes }
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0)
}

/** How often a key stands in the header or in one of its entries; `JSON.parse` keeps the last of equal ones only. */
function countKeys(json: string): number {
  let keys = 0
  let depth = 0
  let quoted = false
  for (let i = 0; i < json.length; i++) {
    const unit = json.charCodeAt(i)
    if (quoted) {
      if (unit === BACKSLASH) i++
      else if (unit === QUOTE) quoted = false
    } else if (unit === QUOTE) quoted = true
    else if (unit === OPEN_BRACE || unit === OPEN_BRACKET) depth++
    else if (unit === CLOSE_BRACE || unit === CLOSE_BRACKET) depth--
    else if (unit === COLON && depth <= 2) keys++
  }
  return keys
}

const [QUOTE, COLON, BACKSLASH] = [0x22, 0x3a, 0x5c]
const [OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET] = [0x7b, 0x7d, 0x5b, 0x5d]

/** A tensor to write: typed array and shape; BF16 and F16 travel as Uint16Array with an explicit dtype. */
export interface TensorData {
  readonly shape: readonly number[]
  readonly data: Float32Array | Float64Array | Int32Array | BigInt64Array | Uint8Array | Uint16Array
  readonly dtype?: SafetensorsType
}

function typeOf({ data, dtype }: TensorData): SafetensorsType {
  if (dtype !== undefined) return dtype
  if (data instanceof Float32Array) return "F32"
  if (data instanceof Float64Array) return "F64"
  if (data instanceof Int32Array) return "I32"
  if (data instanceof BigInt64Array) return "I64"
  if (data instanceof Uint8Array) return "U8"
  return "U16"
}

/** Encode tensors as one safetensors file; wide types first, so that every tensor is aligned to its element. */
export function encodeSafetensors(
  tensors: Readonly<Record<string, TensorData>>,
  metadata?: Readonly<Record<string, string>>,
): Uint8Array {
  const entries = Object.entries(tensors).sort((a, b) => ELEMENT_BYTES[typeOf(b[1])] - ELEMENT_BYTES[typeOf(a[1])])
  const header: Record<string, unknown> = metadata ? { __metadata__: metadata } : {}
  let end = 0
  for (const [name, tensor] of entries) {
    const start = end
    end += tensor.data.byteLength
    header[name] = { dtype: typeOf(tensor), shape: tensor.shape, data_offsets: [start, end] }
  }
  const text = JSON.stringify(header)
  const json = new TextEncoder().encode(text)
  const length = Math.ceil(json.byteLength / 8) * 8
  const out = new Uint8Array(8 + length + end)
  new DataView(out.buffer).setBigUint64(0, BigInt(length), true)
  out.fill(0x20, 8, 8 + length)
  out.set(json, 8)
  let at = 8 + length
  for (const [, { data }] of entries) {
    out.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at)
    at += data.byteLength
  }
  return out
}

/** Numbers of a float tensor (F32, F64, F16, BF16) widened or rounded to f32; `bytes` may be unaligned. */
export function toFloat32(bytes: Uint8Array, dtype: SafetensorsType): Float32Array {
  const view = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice()
  const { buffer, byteOffset, byteLength } = view
  switch (dtype) {
    case "F32":
      return new Float32Array(buffer, byteOffset, byteLength / 4)
    case "F64":
      return Float32Array.from(new Float64Array(buffer, byteOffset, byteLength / 8))
    case "BF16": {
      const from = new Uint16Array(buffer, byteOffset, byteLength / 2)
      const bits = new Uint32Array(from.length)
      for (let i = 0; i < from.length; i++) bits[i] = from[i] << 16
      return new Float32Array(bits.buffer)
    }
    case "F16": {
      const from = new Uint16Array(buffer, byteOffset, byteLength / 2)
      const out = new Float32Array(from.length)
      for (let i = 0; i < from.length; i++) out[i] = halfToFloat(from[i])
      return out
    }
    default:
      throw new IsaacError("unsupported", `a ${dtype} tensor holds no weights; F32, F16 and BF16 do`)
  }
}

/** IEEE half precision → number. */
export function halfToFloat(h: number): number {
  const sign = h & 0x8000 ? -1 : 1
  const exponent = (h >> 10) & 31
  const fraction = h & 1023
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}
