import { describe, expect, it } from "vitest"
import { insidePolygon, maskOf, runsOf } from "./mask"

describe("runs of pixels", () => {
  // github.com/cocodataset/cocoapi common/maskApi.h: M=[0 0 1 1 1 0 1] has the counts [2 3 1 1], M=[1 1 1 1 1 1 0] [0 6 1].
  it.each([
    [[2, 3, 1, 1], "0011101"],
    [[0, 6, 1], "1111110"],
  ])("%j is %s down a column", (counts, pixels) => {
    const inside = maskOf({ size: [7, 1], counts })
    expect([...pixels].map((_, row) => Number(inside(0.5, row + 0.5))).join("")).toBe(pixels)
  })

  // Compressed by pycocotools, as its users quote it (the same pair is in many issues and tests).
  it.each([
    ["61X13mN000`0", [9, 10], [6, 1, 40, 4, 5, 4, 5, 4, 21]],
    ["e75S10000000ST1", [40, 40], [245, 5, 35, 5, 35, 5, 35, 5, 35, 5, 1190]],
    ["52203", [4, 4], [5, 2, 2, 2, 5]],
  ] as const)("%s is decompressed", (counts, size, runs) => {
    expect(runsOf({ size, counts })).toEqual(runs)
  })

  it("columns come first; the far edges belong to the last pixels", () => {
    // 2 high, 3 wide: only the lower pixel of the middle column.
    const inside = maskOf({ size: [2, 3], counts: [3, 1, 2] })
    const picture = [0, 1].map((row) => [0, 1, 2].map((column) => Number(inside(column + 0.5, row + 0.5))))
    expect(picture).toEqual([
      [0, 0, 0],
      [0, 1, 0],
    ])
    expect([inside(1.5, 2), inside(1.5, 2.1), inside(-0.1, 1), inside(2, 1.5)]).toEqual([true, false, false, false])
    expect(maskOf({ size: [1, 1], counts: [0, 1] })(1, 1)).toBe(true)
  })

  it.each([
    [[3, 1], "add up to 4"],
    [[4, -1, 3], "no counts"],
    [[1.5, 4.5], "no counts"],
    ["6 1", "damaged at character 2"],
    ["oooooooooooooo", "damaged at character 8"],
  ])("refuses %j: %s", (counts, message) => {
    expect(() => maskOf({ size: [2, 3], counts })).toThrowError(
      expect.objectContaining({ code: "bad_input", message: expect.stringContaining(message) }),
    )
  })
})

describe("polygons", () => {
  const arrow = [0, 0, 10, 0, 10, 10, 5, 5, 0, 10]

  it("cover what is inside and their border", () => {
    const inside = maskOf([arrow])
    expect([inside(5, 2), inside(2, 6), inside(8, 7)]).toEqual([true, true, true])
    expect([inside(5, 6), inside(11, 5), inside(-1, 0)]).toEqual([false, false, false])
    expect([inside(0, 0), inside(5, 0), inside(10, 5), inside(5, 5), inside(0, 10)]).toEqual(Array(5).fill(true))
  })

  it("may be several", () => {
    const inside = maskOf([
      [0, 0, 4, 0, 4, 4, 0, 4],
      [10, 0, 14, 0, 14, 4, 10, 4],
    ])
    expect([inside(2, 2), inside(7, 2), inside(12, 2)]).toEqual([true, false, true])
    expect(insidePolygon([], 0, 0)).toBe(false)
  })
})
