/**
 * The arithmetic of q8 and q4, step by step. Every number below is a float32 and every step is rounded to float32 once, so
 * that all backends find the same whole numbers; none of them may fuse a product with a sum here.
 *
 * A group of weights (one output, Q8_GROUP inputs) or of activations (one row, the same inputs). The key or the value of
 * one token and head, kept as int8, is a group of activations, whatever its size.
 *
 *     farthest = the number that lies farthest from zero, the first of several
 *
 *                 weights as q8                 weights as q4             activations
 *     scale       bfloat16(|farthest| / 63)     bfloat16(−farthest / 8)   |farthest| / 127
 *     v           weight / scale                weight / scale            x · (127 / |farthest|)
 *     number      v clamped to −63 … 63         −8 … 7                    −127 … 127
 *
 * then to the nearest whole number, halves away from zero. The scale of q4 has the sign that makes the farthest weight −8,
 * so that all sixteen numbers are used.
 *
 * If |farthest| is below Q8_TINY, all numbers and the scale are 0; if a number is not finite, all numbers are 0 and the
 * scale is NaN: whatever meets the group is NaN.
 */

import type { NumberType } from "../backend"
import { damagedPanels } from "../op-shapes"
import { PACKED, type PackedType } from "../packed-layout"
import { Q4_GROUP_BYTES, Q4_LEAST, Q4_MOST, Q4_OFFSET, Q4_STEP } from "../q4-layout"
import { Q8_GROUP, Q8_GROUP_BYTES, Q8_LARGEST, Q8_OFFSET, Q8_PANEL, Q8_SCALE_BYTES, Q8_TINY } from "../q8-layout"
import { decodeFloats, fromBf16, toBf16 } from "./float-formats"

const { abs, floor, fround, max, min } = Math
const ACTIVATION_LARGEST = 127

/** The one of x[start … end-1] that lies farthest from zero, the first of several; not finite if one of them is not. */
function farthestOf(x: Float32Array, start: number, end: number): number {
  let farthest = 0
  for (let i = start; i < end; i++) {
    if (!Number.isFinite(x[i])) return x[i]
    if (abs(x[i]) > abs(farthest)) farthest = x[i]
  }
  return farthest
}

/** To the nearest whole number of least … most, halves away from zero. */
function roundTo(v: number, least: number, most: number): number {
  const clamped = max(least, min(v, most))
  const size = floor(abs(clamped) + 0.5)
  return clamped < 0 ? -size : size
}

/** Activations [T, K] as whole numbers, each group of a row with its scale. */
export interface QuantisedRows {
  /** [T, K], −127 … 127. */
  readonly numbers: Int8Array
  /** [T, groups] */
  readonly scales: Float32Array
}

export function quantiseRows(x: Float32Array, K: number): QuantisedRows {
  const rows = K === 0 ? 0 : x.length / K
  const groups = Math.ceil(K / Q8_GROUP)
  const numbers = new Int8Array(rows * K)
  const scales = new Float32Array(rows * groups)
  for (let row = 0; row < rows; row++) {
    for (let group = 0; group < groups; group++) {
      const start = row * K + group * Q8_GROUP
      const end = min(start + Q8_GROUP, (row + 1) * K)
      scales[row * groups + group] = quantiseGroup(x.subarray(start, end), numbers, start)
    }
  }
  return { numbers, scales }
}

/** Activations that share a scale, which is returned; their whole numbers go to `numbers`, from place `at` on. */
export function quantiseGroup(x: Float32Array, numbers: Int8Array, at: number): number {
  const largest = abs(farthestOf(x, 0, x.length))
  if (largest < Q8_TINY || !Number.isFinite(largest)) {
    numbers.fill(0, at, at + x.length)
    return largest < Q8_TINY ? 0 : Number.NaN
  }
  const factor = fround(ACTIVATION_LARGEST / largest)
  for (let i = 0; i < x.length; i++) {
    numbers[at + i] = roundTo(fround(x[i] * factor), -ACTIVATION_LARGEST, ACTIVATION_LARGEST)
  }
  return fround(largest / ACTIVATION_LARGEST)
}

/** How a type keeps the weights of a panel. */
interface Scheme {
  /** The scale of a group, before it is rounded to bfloat16. */
  scale(farthest: number): number
  readonly least: number
  readonly most: number
  readonly offset: number
  /** Groups are filled up to a multiple of so many inputs. */
  readonly step: number
  readonly groupBytes: number
  /** Of the number of input k of a group in a column: its byte behind the scales, and how far it is shifted there. */
  place(k: number, column: number): { readonly at: number; readonly shift: number }
  /** A number's bits, before it is shifted. */
  readonly mask: number
}

const SCHEMES: Readonly<Record<PackedType, Scheme>> = {
  q8: {
    scale: (farthest) => abs(farthest) / Q8_LARGEST,
    least: -Q8_LARGEST,
    most: Q8_LARGEST,
    offset: Q8_OFFSET,
    step: 4,
    groupBytes: Q8_GROUP_BYTES,
    place: (k, column) => ({ at: (k >> 2) * (4 * Q8_PANEL) + 4 * column + (k & 3), shift: 0 }),
    mask: 255,
  },
  q4: {
    scale: (farthest) => farthest / Q4_LEAST,
    least: Q4_LEAST,
    most: Q4_MOST,
    offset: Q4_OFFSET,
    step: Q4_STEP,
    groupBytes: Q4_GROUP_BYTES,
    place: (k, column) => ({ at: (k >> 3) * (4 * Q8_PANEL) + 4 * column + (k & 3), shift: k & 4 }),
    mask: 15,
  },
}

/** Pack rows [rows, inner] into the panels of `out`, from its first one on; the last panel is filled up with zeros. */
export function packPanels(
  stored: PackedType,
  bytes: Uint8Array,
  source: NumberType,
  inner: number,
  out: Uint8Array,
): void {
  const rowBytes = inner * (source === "F32" ? 4 : 2)
  const rows = inner === 0 ? 0 : bytes.length / rowBytes
  const panelBytes = PACKED[stored].panelBytes(inner)
  const panels = Math.ceil(rows / Q8_PANEL)
  for (let panel = 0; panel < panels; panel++) {
    const target = out.subarray(panel * panelBytes, (panel + 1) * panelBytes)
    for (let column = 0; column < Q8_PANEL; column++) {
      const row = panel * Q8_PANEL + column
      const numbers =
        row < rows
          ? decodeFloats(bytes.subarray(row * rowBytes, (row + 1) * rowBytes), source)
          : new Float32Array(inner)
      packColumn(SCHEMES[stored], numbers, column, target)
    }
  }
}

/** One row of a matrix becomes one column of a panel. */
function packColumn(scheme: Scheme, row: Float32Array, column: number, panel: Uint8Array): void {
  const { least, most, offset, step, groupBytes, mask } = scheme
  for (let start = 0, group = 0; start < row.length; start += Q8_GROUP, group += groupBytes) {
    const end = min(start + Q8_GROUP, row.length)
    const farthest = farthestOf(row, start, end)
    const isZero = abs(farthest) < Q8_TINY
    const bits = isZero ? 0 : Number.isFinite(farthest) ? toBf16(fround(scheme.scale(farthest))) : 0x7fc0
    panel[group + 2 * column] = bits & 255
    panel[group + 2 * column + 1] = bits >> 8
    const scale = fromBf16(bits)
    const isNumber = !isZero && Number.isFinite(scale)
    const padded = start + step * Math.ceil((end - start) / step)
    for (let i = start; i < padded; i++) {
      const number = i < end && isNumber ? roundTo(fround(row[i] / scale), least, most) : 0
      const { at, shift } = scheme.place(i - start, column)
      const byte = group + Q8_SCALE_BYTES + at
      panel[byte] = (panel[byte] & ~(mask << shift)) | ((number + offset) << shift)
    }
  }
}

/** The whole numbers of output n to `numbers` [inner], and the scales of its groups to `scales` [groups]. */
export function unpackColumn(
  stored: PackedType,
  packed: Uint8Array,
  n: number,
  inner: number,
  numbers: Int8Array | Float64Array,
  scales: Float32Array | Float64Array,
): void {
  const { offset, groupBytes, mask, place } = SCHEMES[stored]
  const column = n % Q8_PANEL
  const panel = ((n - column) / Q8_PANEL) * PACKED[stored].panelBytes(inner)
  for (let start = 0, group = 0; start < inner; start += Q8_GROUP, group++) {
    const head = panel + group * groupBytes
    scales[group] = fromBf16(packed[head + 2 * column] | (packed[head + 2 * column + 1] << 8))
    const end = min(start + Q8_GROUP, inner)
    for (let i = start; i < end; i++) {
      const { at, shift } = place(i - start, column)
      numbers[i] = ((packed[head + Q8_SCALE_BYTES + at] >> shift) & mask) - offset
    }
  }
}

/** Whole panels from a file: numbers of q8 are 7 bits, scales finite. Throws bad_input, not_finite. */
export function checkPanels(stored: PackedType, panels: Uint8Array, inner: number): void {
  const { groupBytes } = SCHEMES[stored]
  const panelBytes = PACKED[stored].panelBytes(inner)
  for (let panel = 0; panel < panels.length; panel += panelBytes) {
    for (let group = panel; group < panel + panelBytes; group += groupBytes) {
      const end = min(group + groupBytes, panel + panelBytes)
      for (let i = group; i < group + Q8_SCALE_BYTES; i += 2) {
        if ((panels[i + 1] & 0x7f) === 0x7f && panels[i] & 0x80) throw damagedPanels(stored, "not_finite")
      }
      if (stored === "q4") continue
      for (let i = group + Q8_SCALE_BYTES; i < end; i++) if (panels[i] > 127) throw damagedPanels(stored, "bad_input")
    }
  }
}
