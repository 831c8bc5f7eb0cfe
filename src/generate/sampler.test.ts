import { describe, expect, it } from "vitest"
import { LogDistribution } from "./logprobs"
import { Random } from "./random"
import { Sampler, type SamplingOptions } from "./sampler"

const row = (...logits: number[]) => Float32Array.from(logits)

/** How often each id came out of `n` draws. */
function histogram(logits: Float32Array, size: number, options: SamplingOptions, n = 20_000): number[] {
  const sampler = new Sampler(size, options)
  const counts = new Array<number>(size).fill(0)
  for (let i = 0; i < n; i++) {
    counts[sampler.next(logits)]++
  }
  return counts.map((count) => count / n)
}

describe("Sampler", () => {
  it("takes the largest logit, the first one on a tie, when greedy", () => {
    expect(new Sampler(4).next(row(1, 3, 3, 2))).toBe(1)
    expect(new Sampler(3, { temperature: 2, topK: 1 }).next(row(0, 1, 5))).toBe(2)
  })

  it("never picks a row of the embedding that the tokenizer has no id for", () => {
    const logits = row(0, 1, 0.5, 99, 98)
    expect(new Sampler(3).next(logits)).toBe(1)
    expect(histogram(logits, 3, { temperature: 50, seed: 1 }).reduce((a, b) => a + b)).toBeCloseTo(1)
    expect(new LogDistribution(logits, 3).of(1)).toBeCloseTo(1 - Math.log(1 + Math.E + Math.exp(0.5)), 6)
  })

  it("draws in proportion to softmax(logits / temperature)", () => {
    const logits = row(Math.log(0.5), Math.log(0.3), Math.log(0.2))
    const at1 = histogram(logits, 3, { temperature: 1, seed: 7 })
    for (const [id, p] of [0.5, 0.3, 0.2].entries()) {
      expect(Math.abs(at1[id] - p)).toBeLessThan(0.015)
    }
    const at2 = histogram(logits, 3, { temperature: 2, seed: 7 })
    const roots = [0.5, 0.3, 0.2].map(Math.sqrt)
    const sum = roots.reduce((a, b) => a + b)
    for (const [id, p] of roots.entries()) {
      expect(Math.abs(at2[id] - p / sum)).toBeLessThan(0.015)
    }
  })

  it("keeps the k likeliest, the lower id on a tie", () => {
    const counts = histogram(row(2, 1, 2, 1, 0), 5, { temperature: 1, topK: 3, seed: 3 })
    expect(counts[0]).toBeGreaterThan(0)
    expect(counts[1]).toBeGreaterThan(0)
    expect(counts[2]).toBeGreaterThan(0)
    expect(counts[3] + counts[4]).toBe(0)
  })

  it("keeps the fewest tokens whose probabilities reach topP", () => {
    const logits = row(Math.log(0.2), Math.log(0.5), Math.log(0.3))
    const kept = (topP: number) =>
      histogram(logits, 3, { temperature: 1, topP, seed: 5 }).map((share) => (share > 0 ? 1 : 0))
    expect(kept(0)).toEqual([0, 1, 0])
    expect(kept(0.45)).toEqual([0, 1, 0])
    expect(kept(0.55)).toEqual([0, 1, 1])
    expect(kept(0.85)).toEqual([1, 1, 1])
  })

  it("measures topP on what topK left, as the published samplers do", () => {
    const logits = row(Math.log(0.4), Math.log(0.3), Math.log(0.3))
    // Of the two left by topK the first holds 0.57: alone below 0.6, so both stay; over all three it would be 0.4.
    const counts = histogram(logits, 3, { temperature: 1, topK: 2, topP: 0.55, seed: 5 })
    expect(counts).toEqual([1, 0, 0])
  })

  it("finds the same candidates as sorting everything, whatever the row", () => {
    const random = new Random(11)
    for (let round = 0; round < 50; round++) {
      const size = 2 + Math.floor(random.next() * 200)
      const logits = Float32Array.from({ length: size }, () => Math.round((random.next() - 0.5) * 20) / 2)
      const topK = Math.floor(random.next() * size)
      const topP = random.next() < 0.5 ? 1 : random.next()
      const order = [...logits.keys()].sort((a, b) => logits[b] - logits[a] || a - b)
      const head = topK > 0 ? order.slice(0, topK) : order
      const total = head.reduce((sum, id) => sum + Math.exp(logits[id]), 0)
      const allowed = new Set<number>()
      let sum = 0
      for (const id of head) {
        if (allowed.size > 0 && topP < 1 && sum >= topP * total * (1 + 1e-12)) break
        allowed.add(id)
        sum += Math.exp(logits[id])
      }
      const sampler = new Sampler(size, { temperature: 1, topK, topP, seed: round })
      for (let i = 0; i < 200; i++) {
        expect(allowed.has(sampler.next(logits))).toBe(true)
      }
    }
  })

  it("repeats itself for a seed and not for another", () => {
    const logits = Float32Array.from({ length: 100 }, (_, i) => Math.sin(i))
    const run = (seed: number) => {
      const sampler = new Sampler(100, { temperature: 1, seed })
      return Array.from({ length: 20 }, () => sampler.next(logits))
    }
    expect(run(42)).toEqual(run(42))
    expect(run(42)).not.toEqual(run(43))
    expect(run(42)).not.toEqual(run(42 + 2 ** 32))
    const drawn = new Sampler(100, { temperature: 1 })
    const again = new Sampler(100, { temperature: 1, seed: drawn.seed })
    expect(drawn.next(logits)).toBe(again.next(logits))
  })

  it("pins the sequence of a seed: it must not change between versions", () => {
    const random = new Random(42)
    expect(Array.from({ length: 4 }, () => Math.floor(random.next() * 2 ** 32))).toEqual([
      660444221, 3652823732, 77672526, 910233633,
    ])
  })

  it.each([
    [{ temperature: -1 }, /temperature is -1/],
    [{ temperature: Number.NaN }, /temperature is NaN/],
    [{ topK: 1.5 }, /topK is 1.5; it must be an integer/],
    [{ topP: 1.01 }, /topP is 1.01; it must be a number from 0 to 1/],
    [{ seed: -3 }, /seed is -3/],
  ])("refuses %j", (options, message) => {
    expect(() => new Sampler(10, options)).toThrow(message)
  })

  it("refuses logits that are not numbers", () => {
    expect(() => new Sampler(3).next(row(0, Number.NaN, 1))).toThrow(/token 1 is NaN/)
    expect(() => new Sampler(2).next(row(Number.POSITIVE_INFINITY, 1))).toThrow(/Infinity/)
    expect(() => new Sampler(3, { temperature: 1 }).next(row(1, 2))).toThrow(/2 logits for a tokenizer of 3/)
    expect(new Sampler(2).next(row(Number.NEGATIVE_INFINITY, 1))).toBe(1)
  })
})
