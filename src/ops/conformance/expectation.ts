/**
 * What an operation must return and how far a float32 result may lie from it.
 *
 * `want` is computed in double. `slack` is derived, for each number, from the sizes that went into it, with u = 2⁻²⁴,
 * the rounding error of one float32 operation:
 *
 * - A sum of n products may be off by (2√n + 8)·u·Σ|products|. Rounding errors of a sum behave like a random walk: the
 *   order of summation is the backend's choice, and for same-signed terms added one after another √n·u·Σ is about three
 *   standard deviations (Higham & Mary, "A new approach to probabilistic rounding error analysis", 2019). The certain
 *   bound, n·u·Σ, would let a forgotten product pass: that is Σ/n.
 * - A function evaluated in float32 (exp, tanh) may be off by a few u of its value.
 */

import { expect } from "vitest"
import type { Activation } from "../backend"

/** Rounding error of one float32 operation, relative to its result. */
export const U = 2 ** -24
/** What exp and what is built on it may be off by, relative to its value. */
const EXP = 16 * U
/** Below this nothing is compared: results may underflow to zero. */
const TINY = 1e-30

export interface Expectation {
  readonly want: Float64Array
  readonly slack: Float64Array
}

export function expectation(size: number): Expectation {
  return { want: new Float64Array(size), slack: new Float64Array(size) }
}

/** Relative to Σ|products|. */
export function sumSlack(n: number): number {
  return (2 * Math.sqrt(n) + 8) * U
}

/** Each number within its slack; where NaN or an infinity is wanted, exactly that. */
export function expectWithin(got: Float32Array, { want, slack }: Expectation, what: string): void {
  expect(got.length, `${what}: how many numbers`).toBe(want.length)
  for (let i = 0; i < want.length; i++) {
    const ok = Number.isFinite(want[i])
      ? Math.abs(got[i] - want[i]) <= slack[i] + Math.abs(want[i]) * U + TINY
      : Object.is(got[i], want[i])
    if (!ok) expect.fail(`${what}: number ${i} is ${got[i]}, ${want[i]} ± ${slack[i]} is right`)
  }
}

/** The same numbers; NaN equals NaN, 0 equals −0. */
export function expectExact(got: Float32Array, want: ArrayLike<number>, what: string): void {
  expect(got.length, `${what}: how many numbers`).toBe(want.length)
  for (let i = 0; i < want.length; i++) {
    if (got[i] !== want[i] && !(Number.isNaN(got[i]) && Number.isNaN(want[i]))) {
      expect.fail(`${what}: number ${i} is ${got[i]}, ${want[i]} is right`)
    }
  }
}

/** One activation: value and slack of the function itself. */
export function activationOf(activation: Activation, x: number): { y: number; slack: number } {
  if (activation === "silu") {
    const y = x / (1 + Math.exp(-x))
    return { y, slack: EXP * Math.abs(y) }
  }
  // 1 + tanh cancels for negative x: what is left is an error relative to x, not to the result.
  const y = 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))
  return { y, slack: 4 * U * Math.abs(x) + EXP * Math.abs(y) }
}

/** activation(x·Wᵀ + bias) + residual; w as it is stored. */
export function expectedLinear(
  x: Float32Array,
  w: Float32Array,
  [T, K, N]: readonly [number, number, number],
  options: { bias?: Float32Array; activation?: Activation; residual?: Float32Array } = {},
): Expectation {
  const out = expectation(T * N)
  for (let t = 0; t < T; t++) {
    for (let n = 0; n < N; n++) {
      let sum = options.bias ? options.bias[n] : 0
      let size = Math.abs(sum)
      for (let k = 0; k < K; k++) {
        const product = x[t * K + k] * w[n * K + k]
        sum += product
        size += Math.abs(product)
      }
      let slack = sumSlack(K) * size
      if (options.activation) {
        // Neither activation is steeper than 1.13.
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

/** (x − mean) / √(var + eps) · weight + bias in groups of weight.length. */
export function expectedLayerNorm(x: Float32Array, weight: Float32Array, bias: Float32Array, eps: number): Expectation {
  const D = weight.length
  const out = expectation(x.length)
  for (let at = 0; at < x.length; at += D) {
    const row = Array.from(x.subarray(at, at + D))
    const mean = row.reduce((a, b) => a + b, 0) / D
    const size = row.reduce((a, b) => a + Math.abs(b), 0) / D
    const scale = 1 / Math.sqrt(row.reduce((a, b) => a + (b - mean) ** 2, 0) / D + eps)
    for (let i = 0; i < D; i++) {
      out.want[at + i] = (row[i] - mean) * scale * weight[i] + bias[i]
      // The subtraction magnifies the rounding of the mean, which is relative to the numbers before it.
      const off = Math.abs(row[i] - mean) + size
      out.slack[at + i] = sumSlack(D) * (off * scale * Math.abs(weight[i]) + Math.abs(bias[i]))
    }
  }
  return out
}

/** x / √(mean(x²) + eps) · weight in groups of weight.length. */
export function expectedRmsNorm(x: Float32Array, weight: Float32Array, eps: number): Expectation {
  const D = weight.length
  const out = expectation(x.length)
  for (let at = 0; at < x.length; at += D) {
    let squares = 0
    for (let i = 0; i < D; i++) squares += x[at + i] ** 2
    const scale = 1 / Math.sqrt(squares / D + eps)
    for (let i = 0; i < D; i++) {
      out.want[at + i] = x[at + i] * scale * weight[i]
      out.slack[at + i] = sumSlack(D) * Math.abs(out.want[at + i])
    }
  }
  return out
}

/** Write softmax(query·keysᵀ·scale)·values to `out` from `at` on. */
export function expectAttention(
  out: Expectation,
  at: number,
  query: Float32Array,
  keys: readonly Float32Array[],
  values: readonly Float32Array[],
  scale: number,
): void {
  const n = keys.length
  const d = query.length
  const scores = new Float64Array(n)
  const sizes = new Float64Array(n)
  for (let j = 0; j < n; j++) {
    const key = keys[j]
    for (let i = 0; i < d; i++) {
      scores[j] += query[i] * key[i] * scale
      sizes[j] += Math.abs(query[i] * key[i] * scale)
    }
  }
  const largest = scores.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY)
  const total = scores.reduce((a, b) => a + Math.exp(b - largest), 0)
  const p = scores.map((s) => Math.exp(s - largest) / total)
  // A score's absolute error is its weight's relative error: e.
  const e = scores.map((s, j) => Math.expm1(sumSlack(d) * sizes[j] + 2 * U * (Math.abs(s) + Math.abs(largest))) + EXP)
  const mean = p.reduce((sum, pj, j) => sum + pj * e[j], 0)
  for (let i = 0; i < d; i++) {
    let want = 0
    let size = 0
    let shift = 0
    for (let j = 0; j < n; j++) {
      const v = p[j] * values[j][i]
      want += v
      size += Math.abs(v)
      shift += Math.abs(v) * (e[j] + mean)
    }
    out.want[at + i] = want
    out.slack[at + i] = shift + sumSlack(n) * size
  }
}
