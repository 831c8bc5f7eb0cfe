import { describe, expect, it } from "vitest"
import type { RgbImage } from "../processor/rgb-image"
import { type ContactTile, contactSheet } from "./contact-sheet"
import type { RgbaImage } from "./draw-canvas"
import type { PixelLeaf } from "./geometry"

const RED = [200, 0, 0, 255]
const WHITE = [255, 255, 255, 255]

function red(width: number, height: number): RgbImage {
  const data = new Uint8Array(width * height * 3)
  for (let at = 0; at < data.length; at += 3) data[at] = 200
  return { width, height, data }
}

function pixel({ width, data }: RgbaImage, x: number, y: number): number[] {
  return [...data.subarray((y * width + x) * 4, (y * width + x) * 4 + 4)]
}

/** The rectangle around every pixel of a colour: left, top, right, bottom (inclusive). */
function extent(image: RgbaImage, colour: readonly number[]): [number, number, number, number] {
  let [left, top, right, bottom] = [image.width, image.height, -1, -1]
  for (let y = 0; y < image.height; y++) {
    for (let x = 0; x < image.width; x++) {
      if (!pixel(image, x, y).every((value, i) => value === colour[i])) continue
      left = Math.min(left, x)
      top = Math.min(top, y)
      right = Math.max(right, x)
      bottom = Math.max(bottom, y)
    }
  }
  return [left, top, right, bottom]
}

const box = (image: number): PixelLeaf => ({
  type: "box",
  ...{ x1: 10, y1: 10, x2: 90, y2: 40, mention: null, t: null, image },
})

describe("contactSheet", () => {
  it("sets one picture, of any shape, in its own proportions", () => {
    const size = 100
    expect(extent(contactSheet([{ picture: red(1, 1), leaves: [] }], { tileSize: size }), RED)).toEqual([
      12, 12, 111, 111,
    ])
    const wide = contactSheet([{ picture: red(2000, 7), leaves: [] }], { tileSize: size })
    expect(extent(wide, RED)).toEqual([12, 12, 111, 12])
    expect([wide.width, wide.height]).toEqual([124, 25])
    expect(extent(contactSheet([{ picture: red(40, 80), leaves: [] }], { tileSize: size }), RED)).toEqual([
      37, 12, 86, 111,
    ])
  })

  it("sets tiles in rows, each as high as its highest picture, and is opaque", () => {
    const tiles = [red(100, 50), red(100, 100), red(100, 20)].map((picture) => ({ picture, leaves: [] }))
    const sheet = contactSheet(tiles, { tileSize: 100, columns: 2, background: { r: 0, g: 0, b: 90 } })
    expect([sheet.width, sheet.height]).toEqual([12 + 2 * 112, 12 + 112 + 32])
    expect(pixel(sheet, 60, 36)).toEqual([0, 0, 90, 255])
    expect(pixel(sheet, 60, 37)).toEqual(RED)
    expect(pixel(sheet, 170, 12)).toEqual(RED)
    expect(pixel(sheet, 60, 124)).toEqual(RED)
    expect(pixel(sheet, 170, 130)).toEqual([0, 0, 90, 255])
  })

  it("draws answers whatever their picture's index, and what was expected", () => {
    const picture = red(100, 50)
    const plain = contactSheet([{ picture, leaves: [] }], { tileSize: 200 })
    const answered = contactSheet([{ picture, leaves: [box(3)] }], { tileSize: 200 })
    const expected = contactSheet([{ picture, leaves: [], expected: [box(7)] }], { tileSize: 200 })
    // The left side, at 20 pixels of the tile.
    expect(pixel(plain, 12 + 20, 12 + 50)).toEqual(RED)
    expect(pixel(answered, 12 + 20, 12 + 50)).not.toEqual(RED)
    const along = (sheet: RgbaImage) => Array.from({ length: 40 }, (_, i) => pixel(sheet, 12 + 20, 12 + 25 + i)[0])
    expect(new Set(along(answered)).size).toBe(1)
    expect(Math.min(...along(expected))).toBeLessThan(40)
    expect(Math.max(...along(expected))).toBeGreaterThan(180)
  })

  it("cuts captions to the width of their tile, and writes a title", () => {
    const picture = red(100, 100)
    const options = { tileSize: 120, columns: 2 }
    const tile = (caption?: string): ContactTile => ({ picture, leaves: [], caption })
    const sheet = contactSheet([tile("x".repeat(200)), tile()], options)
    const inkIn = (from: number, to: number) => {
      let ink = 0
      for (let y = 132; y < sheet.height; y++) for (let x = from; x < to; x++) if (pixel(sheet, x, y)[0] < 100) ink++
      return ink
    }
    expect(inkIn(12, 132)).toBeGreaterThan(100)
    expect(inkIn(132, sheet.width)).toBe(0)
    const titled = contactSheet([tile()], { ...options, title: "A title\nthat is cut, being far wider than the sheet" })
    expect(titled.height).toBeGreaterThan(contactSheet([tile()], options).height)
    expect(extent(titled, [0, 0, 0, 255])[2]).toBeLessThan(12 + 120)
  })

  it("gives the same sheet twice, without touching its pictures", () => {
    const picture = red(64, 48)
    const before = [...picture.data]
    const tiles = [{ picture, leaves: [box(0)], expected: [box(0)], caption: "Żółć" }]
    const first = contactSheet(tiles, { tileSize: 90 })
    expect(Buffer.compare(Buffer.from(first.data), Buffer.from(contactSheet(tiles, { tileSize: 90 }).data))).toBe(0)
    expect([...picture.data]).toEqual(before)
  })

  it("takes 500 pictures, smaller ones when there are many", () => {
    const tiles = Array.from({ length: 500 }, () => ({ picture: red(8, 8), leaves: [] }))
    const sheet = contactSheet(tiles)
    expect(sheet.width * sheet.height).toBeLessThan(20_000_000)
    expect(pixel(sheet, sheet.width - 40, sheet.height - 200)).toEqual(RED)
    // 22 rows of 23 are 506: the last six places stay empty.
    expect(pixel(sheet, sheet.width - 40, sheet.height - 40)).toEqual(WHITE)
  })

  it("says what is wrong with a sheet that cannot be made", () => {
    const tile = { picture: red(8, 8), leaves: [] }
    const refused = (tiles: readonly ContactTile[], options = {}) => {
      try {
        contactSheet(tiles, options)
      } catch (error) {
        return error
      }
      return undefined
    }
    expect(refused([])).toMatchObject({ code: "bad_input", message: expect.stringContaining("no pictures") })
    expect(refused(Array(500).fill(tile), { tileSize: 1000 })).toMatchObject({
      code: "bad_input",
      message: expect.stringMatching(/500 tiles of 1000 pixels is 23288×22276 pixels; at most 60 megapixels/),
    })
    expect(refused([tile], { columns: 0 })).toMatchObject({ code: "bad_input" })
    expect(refused([tile], { tileSize: 1.5 })).toMatchObject({ code: "bad_input" })
    for (const bad of [undefined, [null], [{ leaves: [] }], [{ picture: red(1, 1) }], [{ ...tile, expected: [7] }]]) {
      expect(refused(bad as unknown as ContactTile[])).toMatchObject({ code: "bad_input" })
    }
    const empty = { picture: { width: 0, height: 9, data: new Uint8Array(0) }, leaves: [] }
    expect(refused([empty])).toMatchObject({ code: "bad_image" })
    const short = { picture: { width: 9, height: 9, data: new Uint8Array(9) }, leaves: [] }
    expect(refused([short])).toMatchObject({ code: "bad_image" })
  })
})
