/**
 * The arithmetic and the layout of q8 and q4 once more, by other means than the backends': rounding by comparison, bfloat16 by
 * arithmetic, bytes found one by one. What the backends pack and compute must be this.
 */

import { type PackedType, Q8_GROUP, Q8_PANEL } from "../backend"
import { activationOf, type Expectation, expectation, sumSlack, U } from "./expectation"
import { bf16 } from "./rig"

const { fround } = Math

/** Rows [rows, K] as whole numbers, each group of a row with its scale. */
export interface Quantised {
  readonly numbers: readonly (readonly number[])[]
  readonly scales: readonly (readonly number[])[]
}

interface Kind {
  /** Numbers are at least and at most this. */
  readonly least: number
  readonly most: number
  /** `farthest` is the number of the group that lies farthest from zero, the first of several. */
  scale(farthest: number): number
  /** A number in steps of the scale, not yet rounded. */
  steps(x: number, farthest: number): number
}

interface WeightKind extends Kind {
  readonly offset: number
  /** Inputs whose numbers share a place in a panel. */
  readonly step: number
  /** The bytes of a step of a column: numbers with their offset. */
  bytes(numbers: readonly number[]): readonly number[]
}

const WEIGHTS: Readonly<Record<PackedType, WeightKind>> = {
  q8: {
    least: -63,
    most: 63,
    scale: (farthest) => bf16(fround(Math.abs(farthest) / 63)),
    steps: (x, farthest) => fround(x / bf16(fround(Math.abs(farthest) / 63))),
    offset: 64,
    step: 4,
    bytes: (numbers) => numbers,
  },
  q4: {
    least: -8,
    most: 7,
    scale: (farthest) => bf16(farthest / -8),
    steps: (x, farthest) => fround(x / bf16(farthest / -8)),
    offset: 8,
    step: 8,
    bytes: ([a, b, c, d, e, f, g, h]) => [a + 16 * e, b + 16 * f, c + 16 * g, d + 16 * h],
  },
}

const ACTIVATIONS: Kind = {
  least: -127,
  most: 127,
  scale: (farthest) => fround(Math.abs(farthest) / 127),
  steps: (x, farthest) => fround(x * fround(127 / Math.abs(farthest))),
}

/** The whole number within least … most that is nearest; of two, the one farther from zero. */
function nearest(x: number, least: number, most: number): number {
  const clamped = Math.max(least, Math.min(x, most))
  const about = Math.floor(Math.abs(clamped))
  const [near, far] = [about, about + 1].map((n) => (clamped < 0 ? -n : n))
  return Math.abs(far - clamped) <= Math.abs(near - clamped) ? far : near
}

function quantise(x: Float32Array, K: number, { least, most, scale, steps }: Kind, size = Q8_GROUP): Quantised {
  const numbers: number[][] = []
  const scales: number[][] = []
  for (let row = 0; row < (K === 0 ? 0 : x.length / K); row++) {
    numbers.push([])
    scales.push([])
    for (let start = 0; start < K; start += size) {
      const group = Array.from(x.subarray(row * K + start, row * K + Math.min(start + size, K)))
      const magnitudes = group.map(Math.abs).sort((a, b) => a - b)
      const largest = magnitudes[magnitudes.length - 1]
      const farthest = group.find((v) => Math.abs(v) === largest) ?? Number.NaN
      const broken = group.some((v) => !Number.isFinite(v))
      const nothing = broken || largest < 2 ** -100
      scales[row].push(broken ? Number.NaN : nothing ? 0 : scale(farthest))
      for (const v of group) numbers[row].push(nothing ? 0 : nearest(steps(v, farthest), least, most))
    }
  }
  return { numbers, scales }
}

export function quantiseWeights(stored: PackedType, w: Float32Array, K: number): Quantised {
  return quantise(w, K, WEIGHTS[stored])
}

export function quantiseActivations(x: Float32Array, K: number): Quantised {
  return quantise(x, K, ACTIVATIONS)
}

/** Keys or values of a token, [kvHeads, headDim], as int8: a row and one scale for each head. */
export function quantiseHeads(x: Float32Array, headDim: number): Quantised {
  return quantise(x, headDim, ACTIVATIONS, headDim)
}

/** The packed bytes of a weight [N, K]. */
export function packedWeight(stored: PackedType, w: Float32Array, [N, K]: readonly [number, number]): Uint8Array {
  const { offset, step, bytes: bytesOfStep } = WEIGHTS[stored]
  const { numbers, scales } = quantiseWeights(stored, w, K)
  const bytes: number[] = []
  for (let panel = 0; panel < N; panel += Q8_PANEL) {
    for (let start = 0, group = 0; start < K; start += Q8_GROUP, group++) {
      for (let n = panel; n < panel + Q8_PANEL; n++) bytes.push(...bf16Bytes(n < N ? scales[n][group] : 0))
      for (let k = start; k < Math.min(start + Q8_GROUP, K); k += step) {
        for (let n = panel; n < panel + Q8_PANEL; n++) {
          const places = Array.from({ length: step }, (_, i) => k + i)
          bytes.push(...bytesOfStep(places.map((i) => offset + (n < N && i < K ? numbers[n][i] : 0))))
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

/** The numbers that a packed weight stands for. */
export function valuesOf(stored: PackedType, w: Float32Array, K: number): Float32Array {
  const { numbers, scales } = quantiseWeights(stored, w, K)
  return Float32Array.from(
    numbers.flatMap((row, n) => row.map((number, k) => scales[n][Math.floor(k / Q8_GROUP)] * number)),
  )
}

/** activation(x·Wᵀ + bias) + residual: whole numbers' products are summed exactly, groups with the rounding of float32. */
export function expectedProduct(
  stored: PackedType,
  x: Float32Array,
  w: Float32Array,
  [T, K, N]: readonly [number, number, number],
  options: { bias?: Float32Array; activation?: "silu" | "gelu_tanh"; residual?: Float32Array } = {},
): Expectation {
  const rows = quantiseActivations(x, K)
  const columns = quantiseWeights(stored, w, K)
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
