/** That drawings can be seen: contrasts as WCAG 2 measures them, on every kind of picture. */

import { describe, expect, it } from "vitest"
import type { RgbImage } from "../processor/rgb-image"
import { layoutDrawing } from "./draw-layout"
import { drawOnPixels, drawRaster, type RgbaImage } from "./draw-raster"
import { drawSvg } from "./draw-svg"
import type { PixelLeaf } from "./geometry"
import { labelColour, textColour } from "./label-colour"

type Rgb = readonly [r: number, g: number, b: number]

const SIZE = { width: 240, height: 160 }
const box: PixelLeaf = { type: "box", x1: 40, y1: 60, x2: 200, y2: 140, mention: "a cat", t: null, image: 0 }
const polygon: PixelLeaf = {
  type: "polygon",
  points: [
    [40, 60],
    [200, 60],
    [200, 140],
    [40, 140],
  ],
  ...{ mention: null, t: null, image: 0 },
}
const point: PixelLeaf = { type: "point", x: 120, y: 100, mention: null, t: null, image: 0 }

/** White, black, the label's own colour, mid greys, where neither black nor white is far, and saturated ones. */
const { r, g, b } = labelColour("a cat")
const BACKGROUNDS: readonly Rgb[] = [
  ...[0, 60, 90, 105, 118, 130, 160, 200, 255].map((v): Rgb => [v, v, v]),
  [r, g, b],
  [255, 0, 0],
  [0, 255, 0],
  [0, 0, 255],
  [120, 90, 20],
]

function plain([red, green, blue]: Rgb): RgbImage {
  const data = new Uint8Array(SIZE.width * SIZE.height * 3)
  for (let at = 0; at < data.length; at += 3) data.set([red, green, blue], at)
  return { ...SIZE, data }
}

function noise(): RgbImage {
  const data = new Uint8Array(SIZE.width * SIZE.height * 3)
  let state = 1
  for (let at = 0; at < data.length; at++) {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    data[at] = state >> 16
  }
  return { ...SIZE, data }
}

function luminance([red, green, blue]: Rgb): number {
  const linear = (v: number) => (v <= 10 ? v / 3295 : ((v / 255 + 0.055) / 1.055) ** 2.4)
  return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)
}

function contrast(a: Rgb, other: Rgb): number {
  const [dark, light] = [luminance(a), luminance(other)].sort((x, y) => x - y)
  return (light + 0.05) / (dark + 0.05)
}

function pixel({ width, data }: RgbaImage, x: number, y: number): Rgb {
  const at = (y * width + x) * 4
  return [data[at], data[at + 1], data[at + 2]]
}

/** The strongest contrast with `background` along a row through the left side of a shape. */
function strongest(out: RgbaImage, background: Rgb, [from, to]: readonly [number, number]): number {
  let best = 1
  for (let x = from; x < to; x++) best = Math.max(best, contrast(pixel(out, x, 100), background))
  return best
}

/** `toEqual` takes seconds for so many numbers. */
function same(a: Uint8Array | Uint8ClampedArray, other: Uint8Array | Uint8ClampedArray): boolean {
  return Buffer.compare(Buffer.from(a), Buffer.from(other)) === 0
}

describe("what is drawn", () => {
  it("stands out from every background: a contrast of at least 3 around every line and point", () => {
    const cases: [PixelLeaf[], PixelLeaf[], [number, number]][] = [
      [[box], [], [32, 48]],
      [[polygon], [], [32, 48]],
      [[point], [], [105, 120]],
      [[], [box], [32, 48]],
      [[], [point], [105, 120]],
    ]
    // Lines on the grid of pixels and between its lines.
    const half: PixelLeaf = { ...box, x1: 40.5, mention: "blue" }
    for (const background of BACKGROUNDS) {
      for (const [leaves, expected, span] of [...cases, [[half], [], [32, 48]] as const]) {
        const out = drawRaster(plain(background), leaves, { minSide: 0, expected })
        expect(strongest(out, background, span), `${background} ${JSON.stringify(leaves)}`).toBeGreaterThan(3)
      }
    }
  })

  it("has black and white side by side on noise", () => {
    const out = drawRaster(noise(), [box], { minSide: 0 })
    for (let y = 70; y < 130; y += 7) {
      const row = Array.from({ length: 16 }, (_, i) => luminance(pixel(out, 32 + i, y)))
      const [brightest, line] = [Math.max(...row), luminance(pixel(out, 40, y))]
      expect(brightest).toBeGreaterThan(0.5)
      expect(line).toBeCloseTo(luminance([r, g, b]), 2)
      expect(Math.min(...row)).toBeLessThan(0.1)
    }
  })

  it("has text of a contrast of at least 4.5 with its plate, on every background", () => {
    const [{ plate }] = layoutDrawing([box], SIZE, { minSide: 0 }).shapes
    const { r: ink } = textColour(labelColour("a cat"))
    for (const picture of [...BACKGROUNDS.map(plain), noise()]) {
      const out = drawRaster(picture, [box], { minSide: 0 })
      const colours = new Map<string, number>()
      for (let y = plate!.y; y < plate!.y + plate!.height; y++) {
        for (let x = plate!.x; x < plate!.x + plate!.width; x++) {
          const key = pixel(out, x, y).join()
          colours.set(key, (colours.get(key) ?? 0) + 1)
        }
      }
      // Nothing of the picture shines through: plate and ink are the two most frequent colours by far.
      const [[plateColour, most], [inkColour, next]] = [...colours].sort(([, a], [, other]) => other - a)
      expect(plateColour).toBe([r, g, b].join())
      expect(inkColour).toBe([ink, ink, ink].join())
      expect(most + next).toBeGreaterThan(0.75 * plate!.width * plate!.height)
      expect(contrast([r, g, b], [ink, ink, ink])).toBeGreaterThan(4.5)
    }
  })

  it("is the same each time, and never on the picture itself", () => {
    const picture = noise()
    const before = picture.data.slice()
    const draw = () => drawRaster(picture, [box, polygon, point], { expected: [box, point] })
    expect(same(draw().data, draw().data)).toBe(true)
    expect(same(picture.data, before)).toBe(true)
  })
})

describe("drawOnPixels", () => {
  it("takes what a canvas gives, RGBA, and leaves transparent parts transparent", () => {
    const data = new Uint8ClampedArray(SIZE.width * SIZE.height * 4)
    const before = data.slice()
    const out = drawOnPixels({ ...SIZE, data }, [box], { minSide: 0 })
    expect(same(data, before)).toBe(true)
    expect(out.data).toBeInstanceOf(Uint8ClampedArray)
    const alpha = (x: number, y: number) => out.data[(y * out.width + x) * 4 + 3]
    expect(alpha(120, 100)).toBe(0)
    expect([...out.data.subarray((100 * out.width + 40) * 4, (100 * out.width + 40) * 4 + 4)]).toEqual([r, g, b, 255])
    // The black rim, alone on nothing: as opaque as it is drawn, and black.
    const rim = [34, 35, 36, 37, 38].map((x) => [
      ...out.data.subarray((100 * out.width + x) * 4, (100 * out.width + x) * 4 + 4),
    ])
    expect(rim.some(([red, , , a]) => red === 0 && a > 150 && a < 255)).toBe(true)
  })

  it("does not let hidden colours bleed when it enlarges", () => {
    const data = Uint8ClampedArray.of(255, 0, 0, 0, 0, 0, 255, 255)
    const out = drawOnPixels({ width: 2, height: 1, data }, [], { minSide: 8 })
    for (let at = 0; at < out.data.length; at += 4) if (out.data[at + 3] > 0) expect(out.data[at]).toBe(0)
  })

  it("refuses pixels that do not fit their size", () => {
    const data = new Uint8ClampedArray(7)
    expect(() => drawOnPixels({ width: 2, height: 1, data }, [])).toThrowError(
      expect.objectContaining({ code: "bad_image" }),
    )
  })
})

describe("what was expected", () => {
  it("is dashed, without a label, and only that of the picture drawn", () => {
    const out = drawRaster(plain([128, 128, 128]), [], { minSide: 0, expected: [box, { ...polygon, image: 1 }] })
    const along = Array.from({ length: 60 }, (_, i) => pixel(out, 70 + i, 60)[0])
    const changes = along.filter((value, i) => i > 0 && value > 200 !== along[i - 1] > 200).length
    expect(changes).toBeGreaterThan(8)
    expect(changes).toBeLessThan(16)
    const other = drawRaster(plain([128, 128, 128]), [], { minSide: 0, expected: [{ ...box, image: 1 }] })
    expect(same(other.data, drawRaster(plain([128, 128, 128]), [], { minSide: 0 }).data)).toBe(true)
    const svg = drawSvg({ ...SIZE, href: "a.png" }, [], { expected: [box, point] })
    expect(svg.match(/stroke-dasharray/g)).toHaveLength(1)
    expect(svg).not.toContain("<text")
  })
})
