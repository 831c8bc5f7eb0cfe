/** Linear layers and the embedding table. */

import type { Activation } from "../backend"
import { Q8_GROUP } from "../q8-layout"
import { activate } from "./elementwise"
import { type PackedWeight, type QuantisedWeight, unpackRows } from "./packed-weight"
import { quantiseRows, unpackColumn } from "./quantisation"

/** Weight rows unpacked at a time: each is read once for all of x, and their sums are independent of each other. */
const PANEL = 4

/**
 * out [T, N] = activation(x [T, K] · Wᵀ + bias [N]) + residual [T, N], rounded to float32 once, at the end.
 *
 * `out` may be `residual`: each number is read before it is written.
 */
export function linear(
  x: Float32Array,
  w: PackedWeight,
  bias: Float32Array | undefined,
  activation: Activation | undefined,
  residual: Float32Array | undefined,
  out: Float32Array,
): void {
  const [N, K] = w.shape
  const T = N === 0 ? 0 : out.length / N
  if (T === 0) return
  const finish = (t: number, n: number, sum: number) => {
    let y = sum
    if (bias) y += bias[n]
    if (activation) y = activate(activation, y)
    if (residual) y += residual[t * N + n]
    out[t * N + n] = y
  }
  if (w.stored === "q8" || w.stored === "q4") {
    multiplyQuantised(x, T, w, finish)
    return
  }
  const wide = new Float64Array(x)
  const panel = new Float32Array(PANEL * K)
  const sums = new Float64Array(PANEL)
  for (let n = 0; n < N; n += PANEL) {
    const count = Math.min(PANEL, N - n)
    unpackRows(w, n, count, panel)
    for (let t = 0; t < T; t++) {
      dotPanel(wide, t * K, panel, K, sums)
      for (let j = 0; j < count; j++) finish(t, n + j, sums[j])
    }
  }
}

/** sums[j] = x[at … at+K-1] · panel[j], four rows side by side (rows past the matrix' end hold leftovers). */
function dotPanel(x: Float64Array, at: number, panel: Float32Array, K: number, sums: Float64Array): void {
  let s0 = 0
  let s1 = 0
  let s2 = 0
  let s3 = 0
  for (let k = 0; k < K; k++) {
    const a = x[at + k]
    s0 += a * panel[k]
    s1 += a * panel[K + k]
    s2 += a * panel[2 * K + k]
    s3 += a * panel[3 * K + k]
  }
  sums[0] = s0
  sums[1] = s1
  sums[2] = s2
  sums[3] = s3
}

/**
 * Σ over groups of (x's scale · weight's scale) · (Σ over the group of whole numbers' products), for each row t of x and
 * each output n. The inner sums are exact whatever the order.
 */
function multiplyQuantised(
  x: Float32Array,
  T: number,
  w: QuantisedWeight,
  finish: (t: number, n: number, sum: number) => void,
): void {
  const [N, K] = w.shape
  const groups = Math.ceil(K / Q8_GROUP)
  const rows = quantiseRows(x, K)
  const column = new Int8Array(K)
  const scales = new Float32Array(groups)
  for (let n = 0; n < N; n++) {
    unpackColumn(w.stored, w.data, n, K, column, scales)
    for (let t = 0; t < T; t++) {
      let sum = 0
      for (let group = 0; group < groups; group++) {
        const start = group * Q8_GROUP
        const length = Math.min(Q8_GROUP, K - start)
        const scale = rows.scales[t * groups + group] * scales[group]
        sum += scale * dotWhole(rows.numbers, t * K + start, column, start, length)
      }
      finish(t, n, sum)
    }
  }
}

function dotWhole(a: Int8Array, aAt: number, b: Int8Array, bAt: number, length: number): number {
  let sum = 0
  for (let i = 0; i < length; i++) sum = (sum + a[aAt + i] * b[bAt + i]) | 0
  return sum
}

/** out [n, D] = the rows `ids` of the table [V, D]. */
export function embed(ids: Int32Array, table: PackedWeight, out: Float32Array): void {
  const D = table.shape[1]
  for (let i = 0; i < ids.length; i++) unpackRows(table, ids[i], 1, out.subarray(i * D, (i + 1) * D))
}
