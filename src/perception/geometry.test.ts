import { describe, expect, it } from "vitest"
import { fromPixels, toPixels } from "./geometry"
import type { Leaf } from "./pointing"

const common = { mention: "cat", t: 1.5 }
const size = { width: 640, height: 321 }

describe("toPixels", () => {
  it("scales each axis by its own side", () => {
    expect(toPixels({ type: "point", x: 250, y: 500, ...common }, size)).toEqual({
      ...{ type: "point", x: 160, y: 160.5, ...common },
      image: 0,
    })
    expect(toPixels({ type: "box", x1: 0, y1: 1000, x2: 1000, y2: 0, ...common }, size, 2)).toEqual({
      ...{ type: "box", x1: 0, y1: 321, x2: 640, y2: 0, ...common },
      image: 2,
    })
    const triangle: Leaf = {
      type: "polygon",
      points: [
        [1, 1],
        [500, 1],
        [1, 500],
      ],
      mention: null,
      t: null,
    }
    expect(toPixels(triangle, { width: 1000, height: 2000 }, 1)).toEqual({
      type: "polygon",
      points: [
        [1, 2],
        [500, 2],
        [1, 1000],
      ],
      mention: null,
      t: null,
      image: 1,
    })
  })

  it("clamps to the picture", () => {
    expect(toPixels({ type: "box", x1: -5, y1: 1001, x2: 99999, y2: 3, ...common }, size)).toMatchObject({
      ...{ x1: 0, y1: 321, x2: 640 },
      y2: 0.963,
    })
  })

  it("refuses a picture without pixels", () => {
    for (const width of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      const convert = () => toPixels({ type: "point", x: 1, y: 1, ...common }, { width, height: 5 })
      expect(convert).toThrow(expect.objectContaining({ code: "bad_input" }))
    }
  })
})

describe("fromPixels", () => {
  it("undoes toPixels and clamps", () => {
    for (let v = 0; v <= 1000; v += 7) {
      const leaf: Leaf = { type: "box", x1: v, y1: 1000 - v, x2: 1000 - v, y2: v, ...common }
      const { image, ...pixels } = toPixels(leaf, size)
      expect(image).toBe(0)
      expect(fromPixels(pixels, size)).toEqual(leaf)
    }
    expect(fromPixels({ type: "point", x: 641, y: -1, ...common }, size)).toMatchObject({ x: 1000, y: 0 })
  })
})
