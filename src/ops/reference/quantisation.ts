/**
 * The arithmetic of q8, step by step. Every number below is a float32 and every step is rounded to float32 once, so that
 * all backends find the same whole numbers; none of them may fuse a product with a sum here.
 *
 * A group of weights (one output, Q8_GROUP inputs) or of activations (one row, the same inputs):
 *
 *     largest = the largest magnitude            weights                         activations
 *     scale                                      bfloat16(largest / 63)          largest / 127
 *     v                                          weight / scale                  x · (127 / largest)
 *     number = v clamped to ±63 or ±127, to the nearest whole number, halves away from zero
 *
 * If `largest` is below Q8_TINY, all numbers and the scale are 0; if it is no finite number, all numbers are 0 and the
 * scale is NaN: whatever meets the group is NaN.
 */

import type { NumberType } from "../backend"
import { damagedPanels } from "../op-shapes"
import {
  Q8_GROUP,
  Q8_GROUP_BYTES,
  Q8_LARGEST,
  Q8_OFFSET,
  Q8_PANEL,
  Q8_SCALE_BYTES,
  Q8_TINY,
  q8PanelBytes,
} from "../q8-layout"
import { decodeFloats, fromBf16, toBf16 } from "./float-formats"

const { abs, floor, fround, max, min } = Math
const ACTIVATION_LARGEST = 127

/** The largest magnitude of x[start … end-1]; NaN if one of them is NaN. */
function largestOf(x: Float32Array, start: number, end: number): number {
  let largest = 0
  for (let i = start; i < end; i++) largest = max(largest, abs(x[i]))
  return largest
}

/** To the nearest whole number of at most `most`, halves away from zero. */
function roundTo(v: number, most: number): number {
  const size = floor(min(abs(v), most) + 0.5)
  return v < 0 ? -size : size
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
      const largest = largestOf(x, start, end)
      if (largest < Q8_TINY) continue
      if (!Number.isFinite(largest)) {
        scales[row * groups + group] = Number.NaN
        continue
      }
      scales[row * groups + group] = largest / ACTIVATION_LARGEST
      const factor = fround(ACTIVATION_LARGEST / largest)
      for (let i = start; i < end; i++) numbers[i] = roundTo(fround(x[i] * factor), ACTIVATION_LARGEST)
    }
  }
  return { numbers, scales }
}

/** Pack rows [rows, inner] into the panels of `out`, from its first one on; the last panel is filled up with zeros. */
export function packPanels(bytes: Uint8Array, source: NumberType, inner: number, out: Uint8Array): void {
  const rowBytes = inner * (source === "F32" ? 4 : 2)
  const rows = inner === 0 ? 0 : bytes.length / rowBytes
  const panelBytes = q8PanelBytes(inner)
  const panels = Math.ceil(rows / Q8_PANEL)
  for (let panel = 0; panel < panels; panel++) {
    const target = out.subarray(panel * panelBytes, (panel + 1) * panelBytes)
    for (let column = 0; column < Q8_PANEL; column++) {
      const row = panel * Q8_PANEL + column
      const numbers =
        row < rows
          ? decodeFloats(bytes.subarray(row * rowBytes, (row + 1) * rowBytes), source)
          : new Float32Array(inner)
      packColumn(numbers, column, target)
    }
  }
}

/** One row of a matrix becomes one column of a panel. */
function packColumn(row: Float32Array, column: number, panel: Uint8Array): void {
  for (let start = 0, at = 0; start < row.length; start += Q8_GROUP, at += Q8_GROUP_BYTES) {
    const end = min(start + Q8_GROUP, row.length)
    const largest = largestOf(row, start, end)
    const isZero = largest < Q8_TINY
    const bits = isZero ? 0 : Number.isFinite(largest) ? toBf16(fround(largest / Q8_LARGEST)) : 0x7fc0
    panel[at + 2 * column] = bits & 255
    panel[at + 2 * column + 1] = bits >> 8
    const scale = fromBf16(bits)
    const padded = start + 4 * Math.ceil((end - start) / 4)
    for (let i = start; i < padded; i++) {
      const number = i < end && scale > 0 ? roundTo(fround(row[i] / scale), Q8_LARGEST) : 0
      panel[placeOf(i - start, column, at)] = number + Q8_OFFSET
    }
  }
}

/** Where the number of input k of a group lies; `group` is where the group begins. */
function placeOf(k: number, column: number, group: number): number {
  return group + Q8_SCALE_BYTES + (k >> 2) * (4 * Q8_PANEL) + 4 * column + (k & 3)
}

/** The whole numbers of output n, −63 … 63, to `numbers` [inner], and the scales of its groups to `scales` [groups]. */
export function unpackColumn(
  packed: Uint8Array,
  n: number,
  inner: number,
  numbers: Int8Array | Float64Array,
  scales: Float32Array | Float64Array,
): void {
  const column = n % Q8_PANEL
  const panel = ((n - column) / Q8_PANEL) * q8PanelBytes(inner)
  for (let start = 0, group = 0; start < inner; start += Q8_GROUP, group++) {
    const at = panel + group * Q8_GROUP_BYTES
    scales[group] = fromBf16(packed[at + 2 * column] | (packed[at + 2 * column + 1] << 8))
    const end = min(start + Q8_GROUP, inner)
    for (let i = start; i < end; i++) numbers[i] = packed[placeOf(i - start, column, at)] - Q8_OFFSET
  }
}

/** Whole panels from a file: numbers are 7 bits, scales finite. Throws bad_input, not_finite. */
export function checkPanels(panels: Uint8Array, inner: number): void {
  const panelBytes = q8PanelBytes(inner)
  for (let panel = 0; panel < panels.length; panel += panelBytes) {
    for (let group = panel; group < panel + panelBytes; group += Q8_GROUP_BYTES) {
      const end = min(group + Q8_GROUP_BYTES, panel + panelBytes)
      for (let i = group; i < group + Q8_SCALE_BYTES; i += 2) {
        if ((panels[i + 1] & 0x7f) === 0x7f && panels[i] & 0x80) throw damagedPanels("not_finite")
      }
      for (let i = group + Q8_SCALE_BYTES; i < end; i++) if (panels[i] > 127) throw damagedPanels("bad_input")
    }
  }
}
