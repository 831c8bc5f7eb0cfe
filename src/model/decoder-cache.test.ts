import { beforeEach, describe, expect, it } from "vitest"
import { createReferenceBackend } from "../ops/reference"
import { DecoderCache } from "./decoder-cache"

const config = {
  hiddenSize: 8,
  layers: 1,
  heads: 1,
  kvHeads: 1,
  headDim: 8,
  intermediateSize: 8,
  vocabSize: 8,
  rmsEps: 1e-6,
  ropeTheta: 500,
  tied: undefined,
}

describe("decoder cache", () => {
  let cache: DecoderCache
  /** Write n tokens to the slot as a layer does, then commit. */
  let write: (slot: number, positions: number[]) => void

  beforeEach(() => {
    const backend = createReferenceBackend()
    cache = new DecoderCache(backend, config, { maxTokens: 64 })
    write = (slot, positions) => {
      const length = positions.length / 3
      const x = backend.upload(new Float32Array(8 * length), [length, 8])
      const sequences = [{ slot, start: cache.length(slot), length }]
      backend.causalAttention(x, x, x, { kv: cache.kv, layer: 0, sequences, scale: 1 })
      cache.commit(slot, Int32Array.from(positions))
    }
  })

  it("goes on after the largest position on any axis, not after the token count", () => {
    expect([cache.length(), cache.ropeDelta(), cache.nextPosition()]).toEqual([0, 0, 0])
    write(0, [0, 0, 0, 1, 0, 0, 1, 0, 1, 1, 0, 2, 1, 0, 3]) // a text token, an image of one row and four columns
    expect([cache.length(), cache.nextPosition(), cache.ropeDelta()]).toEqual([5, 4, -1])
    write(0, [4, 4, 4])
    expect([cache.length(), cache.nextPosition()]).toEqual([6, 5])
  })

  it("restores the position when tokens are dropped", () => {
    write(0, [0, 0, 0, 1, 0, 0, 1, 0, 7, 2, 0, 0])
    expect(cache.nextPosition()).toBe(8)
    cache.truncate(2)
    expect([cache.length(), cache.nextPosition()]).toEqual([2, 2])
    write(0, [2, 0, 0])
    expect(cache.nextPosition()).toBe(3)
    cache.truncate(0)
    expect([cache.length(), cache.nextPosition()]).toEqual([0, 0])
  })

  it("keeps slots apart, and copies a prefix with its positions", () => {
    write(0, [0, 0, 0, 0, 0, 5, 1, 0, 0])
    write(3, [0, 0, 0])
    cache.copy(0, 1, 2)
    expect([cache.length(1), cache.nextPosition(1)]).toEqual([2, 6])
    write(1, [6, 6, 6])
    expect([cache.nextPosition(0), cache.nextPosition(1), cache.nextPosition(3)]).toEqual([6, 7, 1])
  })
})
