import { expect, it } from "vitest"
import { derivedSeed } from "./random"

it("derives seeds: the first is the seed itself, all differ, and they are pinned", () => {
  expect(derivedSeed(2 ** 40 + 1, 0)).toBe(2 ** 40 + 1)
  const seeds = [0, 1, 2, 2 ** 32 + 1].flatMap((seed) => Array.from({ length: 64 }, (_, i) => derivedSeed(seed, i)))
  expect(new Set(seeds).size).toBe(4 * 64)
  expect(Array.from({ length: 4 }, (_, i) => derivedSeed(42, i))).toEqual([42, 997276833, 3730951957, 2103698840])
})
