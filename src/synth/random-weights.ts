/** Random weights of about unit gain, so that activations neither vanish nor explode over many layers. */

import { type IsaacConfig, parameterTable } from "../model"
import type { PlannedTensor } from "../weights/safetensors-writer"

export type SynthDtype = "f32" | "bf16"

/** Numbers made at a time: a block stays in a core's second cache. */
const BLOCK = 1 << 16

/** A tensor's name, shape and the distribution its numbers are drawn from. */
interface RandomTensor {
  readonly name: string
  readonly shape: readonly number[]
  /** Numbers are uniform in centre ± spread. */
  readonly centre: number
  readonly spread: number
}

export class RandomWeights {
  readonly tensors: readonly PlannedTensor[]
  readonly parameters: number
  readonly #dtype: SynthDtype
  readonly #seed: number
  readonly #byName = new Map<string, RandomTensor & { readonly index: number }>()

  /** The same numbers for the same config, dtype and seed, whatever the order they are asked for in. */
  constructor(config: IsaacConfig, dtype: SynthDtype, seed: number) {
    this.#dtype = dtype
    this.#seed = seed
    let parameters = 0
    for (const [name, { axes }] of parameterTable(config)) {
      const shape = axes.map(([, size]) => size)
      this.#byName.set(name, { name, shape, ...distribution(name, shape), index: this.#byName.size })
      parameters += product(shape)
    }
    this.parameters = parameters
    this.tensors = Array.from(this.#byName.values(), ({ name, shape }) => {
      return { name, shape, dtype: dtype === "f32" ? "F32" : "BF16" }
    })
  }

  /** The bytes of a tensor in order, little-endian; a piece is reused for the next. */
  async *pieces(name: string): AsyncGenerator<Uint8Array, void> {
    const { shape, centre, spread, index } = this.#byName.get(name)!
    const next = uniform(this.#seed, index)
    const floats = new Float32Array(BLOCK)
    const bits = new Uint32Array(floats.buffer)
    const halves = new Uint16Array(BLOCK)
    let left = product(shape)
    while (left > 0) {
      const count = Math.min(BLOCK, left)
      for (let i = 0; i < count; i++) floats[i] = centre + spread * next()
      if (this.#dtype === "f32") yield new Uint8Array(floats.buffer, 0, 4 * count)
      else {
        // To the nearest bfloat16; halves away from zero, which random numbers do not mind.
        for (let i = 0; i < count; i++) halves[i] = (bits[i] + 0x8000) >>> 16
        yield new Uint8Array(halves.buffer, 0, 2 * count)
      }
      left -= count
    }
  }
}

function distribution(name: string, shape: readonly number[]): { readonly centre: number; readonly spread: number } {
  if (shape.length === 1) return name.endsWith(".weight") ? { centre: 1, spread: 0.3 } : { centre: 0, spread: 0.2 }
  if (/(?:embed_tokens|position_embedding)\.weight$/.test(name)) return { centre: 0, spread: 1 }
  // Uniform in ±√(3/n) has variance 1/n: a sum over n inputs keeps their variance.
  return { centre: 0, spread: Math.sqrt(3 / shape[1]) }
}

/** Numbers in [-1, 1) (mulberry32), another sequence for each tensor. */
function uniform(seed: number, index: number): () => number {
  let state = (Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b)) | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let x = Math.imul(state ^ (state >>> 15), state | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 31 - 1
  }
}

function product(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1)
}
