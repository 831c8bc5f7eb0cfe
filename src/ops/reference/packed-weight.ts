/** Weight matrices as the reference keeps them: row-major in their storage type; q8 and q4 in their panels. */

import { IsaacError } from "../../errors"
import type { NumberType, SourceType, StoredType, Weight } from "../backend"
import { checkWeightShape } from "../op-shapes"
import { PACKED, type PackedType, packedBytes, packedTypeOf } from "../packed-layout"
import { Q8_GROUP, Q8_PANEL } from "../q8-layout"
import { decodeFloats, decodeToBf16 } from "./float-formats"
import { checkPanels, packPanels, unpackColumn } from "./quantisation"

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

/** [out, in] in panels, see q8-layout.ts and q4-layout.ts. */
export interface QuantisedWeight extends Weight {
  readonly stored: PackedType
  readonly data: Uint8Array
}

/** What depends on the storage type switches on `stored`. */
export type PackedWeight = F32Weight | Bf16Weight | QuantisedWeight

/** The storage types there are. */
export const STORED: readonly PackedWeight["stored"][] = ["f32", "bf16", "q8", "q4"]

/** See Backend.createWeight. */
export function createWeight(op: string, size: readonly [number, number], stored: StoredType): PackedWeight {
  checkWeightShape(op, size)
  if (!STORED.includes(stored)) {
    throw new IsaacError(
      "unsupported",
      `${op}: the reference backend does not keep weights as ${stored}; it has ${STORED.join(", ")}`,
    )
  }
  const shape = [size[0], size[1]] as const
  const bytes = packedBytes(shape, stored)
  switch (stored) {
    case "f32":
      return { shape, stored, data: new Float32Array(bytes / 4), bytes }
    case "bf16":
      return { shape, stored, data: new Uint16Array(bytes / 2), bytes }
    default:
      return { shape, stored, data: new Uint8Array(bytes), bytes }
  }
}

/** See Backend.writeWeight; what is given was checked. */
export function writeWeight(w: PackedWeight, firstRow: number, bytes: Uint8Array, source: SourceType): void {
  const inner = w.shape[1]
  if (w.stored === "q8" || w.stored === "q4") {
    const start = (firstRow / Q8_PANEL) * PACKED[w.stored].panelBytes(inner)
    if (packedTypeOf(source) !== undefined) {
      checkPanels(w.stored, bytes, inner)
      w.data.set(bytes, start)
    } else {
      packPanels(w.stored, bytes, source as NumberType, inner, w.data.subarray(start))
    }
  } else if (w.stored === "f32") {
    w.data.set(decodeFloats(bytes, source as NumberType), firstRow * inner)
  } else {
    w.data.set(decodeToBf16(bytes, source as NumberType), firstRow * inner)
  }
}

/** Write `count` rows of the weight, from row `first` on, to the head of `out`: [count, in], exact. */
export function unpackRows(w: PackedWeight, first: number, count: number, out: Float32Array): void {
  const inner = w.shape[1]
  const start = first * inner
  const length = count * inner
  switch (w.stored) {
    case "f32":
      out.set(w.data.subarray(start, start + length))
      return
    case "bf16": {
      // bfloat16 is the upper half of a float32.
      const { data } = w
      const bits = new Uint32Array(out.buffer, out.byteOffset, length)
      for (let i = 0; i < length; i++) bits[i] = data[start + i] << 16
      return
    }
    case "q8":
    case "q4": {
      const numbers = new Int8Array(inner)
      const scales = new Float32Array(Math.ceil(inner / Q8_GROUP))
      for (let row = 0; row < count; row++) {
        unpackColumn(w.stored, w.data, first + row, inner, numbers, scales)
        for (let i = 0; i < inner; i++) out[row * inner + i] = scales[Math.floor(i / Q8_GROUP)] * numbers[i]
      }
    }
  }
}
