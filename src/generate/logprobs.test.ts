import { describe, expect, it } from "vitest"
import { checkLogprobs, describeToken, LogDistribution } from "./logprobs"
import { Random } from "./random"

describe("LogDistribution", () => {
  it("is log softmax over the ids that can be sampled", () => {
    const logits = Float32Array.of(Math.log(2), Math.log(5), Math.log(3), 50)
    const distribution = new LogDistribution(logits, 3)
    for (const [id, p] of [0.2, 0.5, 0.3].entries()) expect(distribution.of(id)).toBeCloseTo(Math.log(p), 6)
    expect(distribution.top(2)).toEqual([1, 2])
  })

  it("does not overflow, and knows impossible tokens", () => {
    const distribution = new LogDistribution(Float32Array.of(3000, 2999, Number.NEGATIVE_INFINITY), 3)
    expect(distribution.of(0)).toBeCloseTo(-Math.log(1 + Math.exp(-1)), 6)
    expect(distribution.of(2)).toBe(Number.NEGATIVE_INFINITY)
  })

  it("has the same top as sorting everything, the lower id first on a tie", () => {
    const random = new Random(2)
    for (let round = 0; round < 100; round++) {
      const logits = Float32Array.from({ length: 60 }, () => Math.floor(random.next() * 20))
      const sorted = [...logits.keys()].sort((a, b) => logits[b] - logits[a] || a - b)
      const distribution = new LogDistribution(logits, 60)
      for (const count of [0, 1, 7, 20]) expect(distribution.top(count)).toEqual(sorted.slice(0, count))
    }
    expect(new LogDistribution(Float32Array.of(1, 2), 2).top(20)).toEqual([1, 0])
  })
})

it("describes half a character by its bytes, which are its own", () => {
  const known = Uint8Array.of(0xe8, 0xaa)
  const vocabulary = { size: 1, tokenBytes: () => known, isSpecial: () => false }
  const token = describeToken(0, -1, vocabulary)
  expect(token).toEqual({ id: 0, text: "\ufffd", bytes: known, logprob: -1 })
  token.bytes[0] = 0
  expect(known[0]).toBe(0xe8)
})

it("checkLogprobs takes a switch or a number of alternatives up to 20", () => {
  expect([undefined, false, true, 0, 20].map(checkLogprobs)).toEqual([undefined, undefined, 0, 0, 20])
  for (const wrong of [21, -1, 1.5, "3", null]) expect(() => checkLogprobs(wrong)).toThrow(/logprobs is/)
})
