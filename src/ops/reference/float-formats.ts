/** The float formats of checkpoints and caches: float32, bfloat16 (its upper half) and IEEE half precision. */

import type { SourceType } from "../backend"

const bits = new Uint32Array(1)
const value = new Float32Array(bits.buffer)

/** float32 → bfloat16, to nearest, ties to even. A NaN stays a (quiet) NaN. */
export function toBf16(x: number): number {
  value[0] = x
  const b = bits[0]
  if (Number.isNaN(x)) return (b >>> 16) | 0x0040
  return (b + 0x7fff + ((b >>> 16) & 1)) >>> 16
}

/** bfloat16 → float32, exact. */
export function fromBf16(h: number): number {
  bits[0] = h << 16
  return value[0]
}

/** IEEE half precision → float32, exact. */
export function fromF16(h: number): number {
  const sign = h & 0x8000 ? -1 : 1
  const exponent = (h >>> 10) & 31
  const fraction = h & 1023
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}

/** Little-endian numbers → float32. Always a copy; `bytes` may lie at any offset. */
export function decodeFloats(bytes: Uint8Array, source: SourceType): Float32Array {
  const { buffer } = bytes.slice()
  if (source === "F32") return new Float32Array(buffer)
  return Float32Array.from(new Uint16Array(buffer), source === "F16" ? fromF16 : fromBf16)
}

/** Little-endian numbers → bfloat16; exact for BF16, rounded once from F32 and F16. */
export function decodeToBf16(bytes: Uint8Array, source: SourceType): Uint16Array {
  if (source === "BF16") return new Uint16Array(bytes.slice().buffer)
  return Uint16Array.from(decodeFloats(bytes, source), toBf16)
}
