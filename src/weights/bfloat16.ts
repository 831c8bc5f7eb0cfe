/** Numbers of a checkpoint → bfloat16, the upper half of a float32. */

import { type SafetensorsType, toFloat32 } from "./safetensors"

/** F32 and F16 are rounded once, to nearest, ties to even; BF16 stays bit for bit. Numbers must be finite. */
export function toBfloat16(bytes: Uint8Array, dtype: SafetensorsType): Uint8Array {
  if (dtype === "BF16") return bytes
  const { buffer, byteOffset, length } = toFloat32(bytes, dtype)
  const bits = new Uint32Array(buffer, byteOffset, length)
  const out = new Uint16Array(length)
  for (let i = 0; i < length; i++) out[i] = (bits[i] + 0x7fff + ((bits[i] >>> 16) & 1)) >>> 16
  return new Uint8Array(out.buffer)
}
