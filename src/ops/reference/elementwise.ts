/** Activations and sums: one number in, one number out. */

import type { Activation } from "../backend"

/** x · sigmoid(x). */
export function siluOf(x: number): number {
  return x / (1 + Math.exp(-x))
}

/** The tanh form of GELU: 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))). */
export function geluOf(x: number): number {
  return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)))
}

export function activate(activation: Activation, x: number): number {
  return activation === "silu" ? siluOf(x) : geluOf(x)
}

export function silu(x: Float32Array, out: Float32Array): void {
  for (let i = 0; i < out.length; i++) out[i] = siluOf(x[i])
}

export function gelu(x: Float32Array, out: Float32Array): void {
  for (let i = 0; i < out.length; i++) out[i] = geluOf(x[i])
}

/** silu(gate) · up, the middle of a SwiGLU block. */
export function swiglu(gate: Float32Array, up: Float32Array, out: Float32Array): void {
  for (let i = 0; i < out.length; i++) out[i] = siluOf(gate[i]) * up[i]
}

export function add(a: Float32Array, b: Float32Array, out: Float32Array): void {
  for (let i = 0; i < out.length; i++) out[i] = a[i] + b[i]
}
