/** Weight matrices as the reference keeps them: row-major, in their storage type. */

import { IsaacError } from "../../errors"
import type { SourceType, StoredType, Weight } from "../backend"
import { checkWeight } from "../op-shapes"
import { decodeFloats, decodeToBf16 } from "./float-formats"

/** [out, in] float32. */
export interface F32Weight extends Weight {
  readonly stored: "f32"
  readonly data: Float32Array
}

/** [out, in] bfloat16. */
export interface Bf16Weight extends Weight {
  readonly stored: "bf16"
  readonly data: Uint16Array
}

/** One member for each storage type; what depends on the type switches on `stored`. */
export type PackedWeight = F32Weight | Bf16Weight

/** The storage types there are. */
export const STORED: readonly PackedWeight["stored"][] = ["f32", "bf16"]

/** See Backend.loadWeight. */
export function packWeight(
  bytes: Uint8Array,
  source: SourceType,
  shape: readonly [number, number],
  stored: StoredType,
): PackedWeight {
  checkWeight(bytes, source, shape)
  const [out, inner] = shape
  switch (stored) {
    case "f32": {
      const data = decodeFloats(bytes, source)
      return { shape: [out, inner], stored, data, bytes: data.byteLength }
    }
    case "bf16": {
      const data = decodeToBf16(bytes, source)
      return { shape: [out, inner], stored, data, bytes: data.byteLength }
    }
    default:
      throw new IsaacError(
        "unsupported",
        `loadWeight: the reference backend does not keep weights as ${stored}; it has ${STORED.join(", ")}`,
      )
  }
}

/** Write `count` rows of the weight, from row `first` on, to the head of `out`: [count, in], exact. */
export function unpackRows(w: PackedWeight, first: number, count: number, out: Float32Array): void {
  const start = first * w.shape[1]
  const length = count * w.shape[1]
  switch (w.stored) {
    case "f32":
      out.set(w.data.subarray(start, start + length))
      return
    case "bf16": {
      // bfloat16 is the upper half of a float32.
      const { data } = w
      const bits = new Uint32Array(out.buffer, out.byteOffset, length)
      for (let i = 0; i < length; i++) bits[i] = data[start + i] << 16
    }
  }
}
