import { describe, expect, it } from "vitest"
import { f1Of, matchBoxes, matchScores } from "./box-matches"
import { type Box, boxIou } from "./boxes"

const object = (box: Box, more = {}) => ({ image: "a", category: "cat", box, ...more })

describe("boxIou", () => {
  it("is the shared area over the covered one", () => {
    expect(boxIou([0, 0, 10, 10], [5, 0, 10, 10])).toBeCloseTo(1 / 3, 12)
    expect(boxIou([0, 0, 10, 10], [0, 0, 10, 10])).toBe(1)
    expect(boxIou([0, 0, 10, 10], [10, 0, 10, 10])).toBe(0)
    expect(boxIou([0, 0, 0, 0], [0, 0, 0, 0])).toBe(0)
  })

  it("over a crowd is the part that lies in it", () => {
    expect(boxIou([0, 0, 10, 10], [5, 0, 100, 100], true)).toBe(0.5)
  })
})

describe("matchBoxes", () => {
  it("matches the best pair first, whatever the order", () => {
    const truths = [object([0, 0, 10, 10]), object([2, 0, 10, 10])]
    // The first found box overlaps both by 9/11, the second one the first by 0.9.
    const found = [object([1, 0, 10, 10]), object([0, 0, 10, 9])]
    for (const boxes of [found, [...found].reverse()]) {
      const matches = matchBoxes(truths, boxes)
      expect(matchScores(matches)).toEqual({
        ...{ matched: 2, found: 2, objects: 2, precision: 1, recall: 1, f1: 1 },
        meanIou: expect.closeTo((0.9 + 9 / 11) / 2, 12),
      })
    }
  })

  it("counts what is too much, too far off, of another category and in another image", () => {
    const truths = [object([0, 0, 10, 10]), object([50, 50, 10, 10])]
    const found = [
      object([0, 0, 10, 10]),
      object([0, 0, 10, 10]),
      object([56, 50, 10, 10]),
      object([50, 50, 10, 10], { category: "dog" }),
      object([50, 50, 10, 10], { image: "b" }),
    ]
    const matches = matchBoxes(truths, found)
    expect(matchScores(matches)).toMatchObject({ matched: 1, found: 5, objects: 2, precision: 0.2, recall: 0.5 })
    expect(matchScores(matches).f1).toBeCloseTo(2 / 7, 12)
    expect(matches.images.get("a")).toEqual({ matched: 1, found: 4, objects: 2 })
    expect(matches.images.get("b")).toEqual({ matched: 0, found: 1, objects: 0 })
  })

  it("leaves out what lies in a crowd", () => {
    const truths = [object([0, 0, 10, 10]), object([50, 0, 50, 50], { crowd: true })]
    const found = [object([0, 0, 10, 10]), object([55, 5, 5, 5]), object([47, 5, 8, 5]), object([44, 5, 8, 5])]
    // 5 of the 8 columns of the third are in the crowd, 2 of the last.
    expect(matchBoxes(truths, found)).toMatchObject({ matched: 1, found: 2, objects: 1 })
  })

  it("has no precision without found boxes and no recall without true ones", () => {
    expect(matchScores(matchBoxes([object([0, 0, 1, 1])], []))).toMatchObject({ precision: null, recall: 0, f1: 0 })
    expect(matchScores(matchBoxes([], [object([0, 0, 1, 1])]))).toMatchObject({ precision: 0, recall: null, f1: 0 })
    expect(f1Of({ matched: 0, found: 0, objects: 0 })).toBeNull()
  })
})
