/**
 * The arithmetic and the layout of q8 once more, by other means than the backends': rounding by comparison, bfloat16 by
 * arithmetic, bytes found one by one. What the backends pack and compute must be this.
 */

import { Q8_GROUP, Q8_PANEL } from "../backend"
import { activationOf, type Expectation, expectation, sumSlack, U } from "./expectation"
import { bf16 } from "./rig"

const { fround } = Math

/** Rows [rows, K] as whole numbers, each group of a row with its scale. */
export interface Quantised {
  readonly numbers: readonly (readonly number[])[]
  readonly scales: readonly (readonly number[])[]
}

interface Kind {
  /** Numbers are at most this. */
  readonly most: number
  scale(largest: number): number
  /** A number in steps of the scale, not yet rounded. */
  steps(x: number, largest: number): number
}

const WEIGHTS: Kind = {
  most: 63,
  scale: (largest) => bf16(fround(largest / 63)),
  steps: (x, largest) => fround(x / bf16(fround(largest / 63))),
}

const ACTIVATIONS: Kind = {
  most: 127,
  scale: (largest) => fround(largest / 127),
  steps: (x, largest) => fround(x * fround(127 / largest)),
}

/** The whole number within ±most that is nearest; of two, the one farther from zero. */
function nearest(x: number, most: number): number {
  const about = Math.min(Math.floor(Math.abs(x)), most)
  let best = 0
  for (let n = Math.max(0, about - 1); n <= Math.min(most, about + 2); n++) {
    const candidate = x < 0 ? -n : n
    if (Math.abs(candidate - x) <= Math.abs(best - x)) best = candidate
  }
  return best
}

function quantise(x: Float32Array, K: number, { most, scale, steps }: Kind): Quantised {
  const numbers: number[][] = []
  const scales: number[][] = []
  for (let row = 0; row < (K === 0 ? 0 : x.length / K); row++) {
    numbers.push([])
    scales.push([])
    for (let start = 0; start < K; start += Q8_GROUP) {
      const group = Array.from(x.subarray(row * K + start, row * K + Math.min(start + Q8_GROUP, K)))
      const magnitudes = group.map(Math.abs).sort((a, b) => a - b)
      const largest = magnitudes[magnitudes.length - 1]
      const broken = group.some((v) => !Number.isFinite(v))
      const nothing = broken || largest < 2 ** -100
      scales[row].push(broken ? Number.NaN : nothing ? 0 : scale(largest))
      for (const v of group) numbers[row].push(nothing ? 0 : nearest(steps(v, largest), most))
    }
  }
  return { numbers, scales }
}

export function quantiseWeights(w: Float32Array, K: number): Quantised {
  return quantise(w, K, WEIGHTS)
}

export function quantiseActivations(x: Float32Array, K: number): Quantised {
  return quantise(x, K, ACTIVATIONS)
}

/** The packed bytes of a weight [N, K]. */
export function packedQ8(w: Float32Array, [N, K]: readonly [number, number]): Uint8Array {
  const { numbers, scales } = quantiseWeights(w, K)
  const bytes: number[] = []
  for (let panel = 0; panel < N; panel += Q8_PANEL) {
    for (let start = 0, group = 0; start < K; start += Q8_GROUP, group++) {
      for (let n = panel; n < panel + Q8_PANEL; n++) bytes.push(...bf16Bytes(n < N ? scales[n][group] : 0))
      for (let k = start; k < Math.min(start + Q8_GROUP, K); k += 4) {
        for (let n = panel; n < panel + Q8_PANEL; n++) {
          for (let i = k; i < k + 4; i++) bytes.push(64 + (n < N && i < K ? numbers[n][i] : 0))
        }
      }
    }
  }
  return Uint8Array.from(bytes)
}

function bf16Bytes(x: number): [number, number] {
  const bits = Number.isNaN(x) ? 0x7fc0 : new Uint32Array(Float32Array.of(x).buffer)[0] >>> 16
  return [bits & 255, bits >> 8]
}

/** The numbers that a q8 weight stands for. */
export function valuesOf(w: Float32Array, K: number): Float32Array {
  const { numbers, scales } = quantiseWeights(w, K)
  return Float32Array.from(
    numbers.flatMap((row, n) => row.map((number, k) => scales[n][Math.floor(k / Q8_GROUP)] * number)),
  )
}

/** activation(x·Wᵀ + bias) + residual: whole numbers' products are summed exactly, groups with the rounding of float32. */
export function expectedQ8(
  x: Float32Array,
  w: Float32Array,
  [T, K, N]: readonly [number, number, number],
  options: { bias?: Float32Array; activation?: "silu" | "gelu_tanh"; residual?: Float32Array } = {},
): Expectation {
  const rows = quantiseActivations(x, K)
  const columns = quantiseWeights(w, K)
  const groups = Math.ceil(K / Q8_GROUP)
  const out = expectation(T * N)
  for (let t = 0; t < T; t++) {
    for (let n = 0; n < N; n++) {
      let sum = options.bias ? options.bias[n] : 0
      let size = Math.abs(sum)
      for (let group = 0; group < groups; group++) {
        let dot = 0
        for (let k = group * Q8_GROUP; k < Math.min((group + 1) * Q8_GROUP, K); k++) {
          dot += rows.numbers[t][k] * columns.numbers[n][k]
        }
        const term = dot * rows.scales[t][group] * columns.scales[n][group]
        sum += term
        size += Math.abs(term)
      }
      let slack = sumSlack(groups) * size
      if (options.activation) {
        const { y, slack: own } = activationOf(options.activation, sum)
        sum = y
        slack = 1.13 * slack + own
      }
      if (options.residual) {
        slack += U * Math.abs(sum)
        sum += options.residual[t * N + n]
      }
      out.want[t * N + n] = sum
      out.slack[t * N + n] = slack
    }
  }
  return out
}
