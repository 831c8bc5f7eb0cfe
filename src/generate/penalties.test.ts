import { describe, expect, it } from "vitest"
import { Penalties, type PenaltyOptions } from "./penalties"
import { Random } from "./random"
import { Sampler } from "./sampler"

const row = (...logits: number[]) => Float32Array.from(logits)
/** What becomes of a row when the prompt has `prompt` and the answer `answer`. */
function adjusted(logits: number[], options: PenaltyOptions, prompt: number[] = [], answer: number[] = []): number[] {
  const penalties = new Penalties(logits.length, options, () => prompt)
  for (const id of answer) penalties.add(id)
  return [...penalties.adjust(row(...logits))]
}

describe("Penalties", () => {
  it("repetition divides positive and multiplies negative logits of the prompt and the answer, once", () => {
    // Tokens 0 and 1 are in the prompt, 1 and 2 in the answer (2 twice), 3 and 4 nowhere.
    expect(adjusted([3, -1, 2, 3, -1], { repetitionPenalty: 2 }, [0, 1, 0], [1, 2, 2])).toEqual([1.5, -2, 1, 3, -1])
    expect(adjusted([3, -1, 0], { repetitionPenalty: 0.5 }, [0, 1, 2])).toEqual([6, -0.5, 0])
  })

  it("frequency counts the answer's tokens, presence only whether there are any; the prompt does not matter", () => {
    expect(adjusted([1, 1, 1], { frequencyPenalty: 0.5 }, [0, 0], [1, 1, 1, 2])).toEqual([1, -0.5, 0.5])
    expect(adjusted([1, 1, 1], { presencePenalty: 0.75 }, [0, 0], [1, 1, 1, 2])).toEqual([1, 0.25, 0.25])
    expect(adjusted([1, -4], { frequencyPenalty: -2, presencePenalty: 1 }, [], [1, 1])).toEqual([1, -1])
  })

  it("come after the bias: bias, repetition, frequency, presence", () => {
    const all = { logitBias: { 0: 4, 1: -3 }, repetitionPenalty: 2, frequencyPenalty: 0.5, presencePenalty: 0.25 }
    // (2 + 4) / 2 − 2·0.5 − 0.25 and (1 − 3) · 2 − 0.5 − 0.25
    expect(adjusted([2, 1, 8], all, [2], [0, 0, 1])).toEqual([1.75, -4.75, 4])
  })

  it("bans by −100 and −Infinity; anything else is added", () => {
    const bias = { 0: -100, 1: Number.NEGATIVE_INFINITY, 2: -99.5, 3: 100 }
    expect(adjusted([500, 500, 500, 1, 1], { logitBias: bias })).toEqual([-Infinity, -Infinity, 400.5, 101, 1])
  })

  it("finds tokens by their text, and by numbers and texts of a Map", () => {
    const idsOf = (text: string) => (text === " red" ? [2] : text === "7" ? [1] : [...text].map(() => 0))
    const adjust = (logitBias: PenaltyOptions["logitBias"]) => [
      ...new Penalties(3, { logitBias }, () => [], idsOf).adjust(row(0, 0, 0)),
    ]
    expect(adjust({ " red": 1, 0: 2 })).toEqual([2, 0, 1])
    const map = new Map<string | number, number>([["7", 3]])
    expect(adjust(map.set(2, 4))).toEqual([0, 3, 4])
    expect(() => adjust({ crimson: 1 })).toThrow(/"crimson": that is 7 tokens, not one; give ids/)
    expect(() => adjust({ "": 1 })).toThrow(/"": that is 0 tokens/)
    expect(() => adjust({ 2: 1, " red": 1 })).toThrow(/token 2 twice/)
    expect(() => new Penalties(3, { logitBias: { a: 1 } }, () => [])).toThrow(/ids only/)
  })

  it("give the very same row when they are off", () => {
    const logits = row(1, 2, 3)
    const off = { repetitionPenalty: 1, frequencyPenalty: 0, presencePenalty: 0, logitBias: {} }
    const penalties = new Penalties(3, off, () => [0, 1])
    penalties.add(2)
    expect(penalties.adjust(logits)).toBe(logits)
  })

  it("ask for the prompt only when it matters", () => {
    let asked = 0
    const prompt = () => {
      asked++
      return [0]
    }
    new Penalties(3, { frequencyPenalty: 1 }, prompt)
    expect(asked).toBe(0)
    new Penalties(3, { repetitionPenalty: 1.1 }, prompt)
    expect(asked).toBe(1)
  })

  it.each<[object, RegExp]>([
    [{ repetitionPenalty: 0 }, /repetitionPenalty is 0; it must be a number above 0 and at most 100/],
    [{ repetitionPenalty: "2" }, /repetitionPenalty is 2/],
    [{ frequencyPenalty: 2.1 }, /frequencyPenalty is 2.1; it must be a number from -2 to 2/],
    [{ presencePenalty: Number.NaN }, /presencePenalty is NaN/],
    [{ logitBias: [1] }, /logitBias is 1; it must be an object or a Map/],
    [{ logitBias: 4 }, /logitBias is 4/],
    [{ logitBias: null }, /logitBias is null/],
    [{ logitBias: { 3: 1 } }, /token 3; ids go from 0 to 2/],
    [{ logitBias: { 0: 101 } }, /logitBias of token 0 is 101; it must be a number from -100 to 100/],
    [{ logitBias: { 0: "x" } }, /logitBias of token 0 is x/],
    [{ logitBias: new Map([[{}, 1]]) }, /token \[object Object\]/],
    [{ logitBias: { 0: -100, 1: -100, 2: -100 } }, /bans all 3 tokens/],
  ])("refuse %j", (options, message) => {
    expect(() => new Penalties(3, options as PenaltyOptions, () => [])).toThrow(message)
  })
})

describe("a sampler with penalties", () => {
  const logits = row(2, 1.5, 1, -1)

  it("is greedy on the changed logits, and sees what it picked", () => {
    const sampler = new Sampler(4, { frequencyPenalty: 0.4 })
    // 2 → 1.6 → (1.5) → 1.2; 1.5 → 1.1 → …
    expect(Array.from({ length: 6 }, () => sampler.next(logits))).toEqual([0, 0, 1, 0, 1, 2])
    const banned = new Sampler(4, { logitBias: { 0: -100 } })
    expect(banned.next(logits)).toBe(1)
    const repeated = new Sampler(4, { repetitionPenalty: 1.5 }, { prompt: () => [0] })
    expect(Array.from({ length: 3 }, () => repeated.next(logits))).toEqual([1, 0, 0])
  })

  it("draws in proportion to softmax of the changed logits", () => {
    // A sampler for each draw, since what was drawn counts as seen.
    const drawn = Array.from({ length: 20_000 }, (_, seed) =>
      new Sampler(4, { temperature: 1, seed, repetitionPenalty: 2 }, { prompt: () => [0, 3] }).next(logits),
    )
    const counts = [0, 0, 0, 0]
    for (const id of drawn) counts[id]++
    const weights = [1, 1.5, 1, -2].map(Math.exp)
    const total = weights.reduce((a, b) => a + b)
    for (const [id, weight] of weights.entries()) {
      expect(Math.abs(counts[id] / 20_000 - weight / total)).toBeLessThan(0.015)
    }
  })

  it("off is bit for bit the one without", () => {
    const off = { repetitionPenalty: 1, frequencyPenalty: 0, presencePenalty: 0, minP: 0, logitBias: {} }
    const random = new Random(3)
    const plain = new Sampler(50, { temperature: 1.3, topP: 0.9, seed: 8 })
    const same = new Sampler(50, { temperature: 1.3, topP: 0.9, seed: 8, ...off }, { prompt: () => [1, 2, 3] })
    for (let i = 0; i < 300; i++) {
      const next = Float32Array.from({ length: 50 }, () => random.next() * 8 - 4)
      expect(same.next(next)).toBe(plain.next(next))
    }
  })
})

describe("minP", () => {
  it("keeps what is at least so likely as a fraction of the likeliest, after the temperature", () => {
    const logits = row(Math.log(0.6), Math.log(0.29), Math.log(0.11))
    const kept = (minP: number, temperature = 1, more = {}) => {
      const sampler = new Sampler(3, { temperature, minP, seed: 2, ...more })
      return [...new Set(Array.from({ length: 2000 }, () => sampler.next(logits)))].sort()
    }
    expect(kept(0)).toEqual([0, 1, 2])
    expect(kept(0.18)).toEqual([0, 1, 2]) // 0.11 / 0.6 = 0.183
    expect(kept(0.19)).toEqual([0, 1])
    expect(kept(0.49)).toEqual([0]) // 0.29 / 0.6 = 0.483
    expect(kept(0.49, 2)).toEqual([0, 1]) // √0.483 = 0.695, √0.183 = 0.428
    expect(kept(1)).toEqual([0])
    expect(kept(0.19, 1, { topK: 2 })).toEqual([0, 1])
    expect(kept(0.49, 1, { topK: 2 })).toEqual([0])
    // topP is measured before minP: 0.6 of all is below 0.65, of the two that minP leaves it would not be.
    expect(kept(0.19, 1, { topP: 0.65 })).toEqual([0, 1])
  })

  it("of 1 is greedy, whatever the temperature", () => {
    const random = new Random(9)
    const sampler = new Sampler(80, { temperature: 5, minP: 1, seed: 1 })
    for (let i = 0; i < 200; i++) {
      const logits = Float32Array.from({ length: 80 }, () => random.next() * 6)
      expect(sampler.next(logits)).toBe(new Sampler(80).next(logits))
    }
  })

  it.each([-0.1, 1.1, "0.5"])("refuses %j", (minP) => {
    expect(() => new Sampler(3, { minP: minP as number })).toThrow(/minP is/)
  })
})
