import { describe, expect, it } from "vitest"
import type { RgbImage } from "../processor/rgb-image"
import { layoutDrawing } from "./draw-layout"
import { drawRaster, type RgbaImage } from "./draw-raster"
import { drawSvg, toDataUri } from "./draw-svg"
import type { PixelLeaf } from "./geometry"
import { labelColour, textColour } from "./label-colour"
import { GLYPH_HEIGHT, GLYPH_WIDTH, glyphDot } from "./label-font"

const common = { mention: null, t: null, image: 0 }

function plain(width: number, height: number, value: number): RgbImage {
  return { width, height, data: new Uint8Array(width * height * 3).fill(value) }
}

function pixel({ width, data }: RgbaImage, x: number, y: number): number[] {
  return [...data.subarray((y * width + x) * 4, (y * width + x) * 4 + 4)]
}

const box = (x1: number, y1: number, x2: number, y2: number, mention: string | null = null): PixelLeaf => ({
  type: "box",
  ...{ x1, y1, x2, y2 },
  ...common,
  mention,
})

describe("layoutDrawing", () => {
  it("enlarges small pictures and leaves large ones, with thicker lines", () => {
    expect(layoutDrawing([], { width: 160, height: 80 })).toMatchObject({ width: 640, height: 320, scale: 4, unit: 1 })
    expect(layoutDrawing([], { width: 4000, height: 1000 })).toMatchObject({ width: 4000, scale: 1, unit: 5 })
    expect(layoutDrawing([], { width: 4000, height: 1000 }, { maxSide: 1000 })).toMatchObject({
      width: 1000,
      height: 250,
    })
    expect(layoutDrawing([], { width: 4000, height: 1 }, { maxSide: 100 })).toMatchObject({ width: 100, height: 1 })
    expect(layoutDrawing([], { width: 1, height: 1 }, { minSide: 10 })).toMatchObject({ width: 10, height: 10 })
  })

  it("takes the leaves of one picture, corners in its own pixels and in order", () => {
    const leaves = [box(20, 30, 10, 5), { ...box(0, 0, 1, 1), image: 1 }]
    const { shapes } = layoutDrawing(leaves, { width: 64, height: 32 })
    expect(shapes).toHaveLength(1)
    expect(shapes[0].corners).toEqual([
      [100, 50],
      [200, 50],
      [200, 300],
      [100, 300],
    ])
    expect(layoutDrawing(leaves, { width: 64, height: 32 }, { image: 1 }).shapes).toHaveLength(1)
  })

  it("keeps every label inside the picture and, where there is room, off the others", () => {
    const size = { width: 640, height: 400 }
    const leaves: PixelLeaf[] = []
    for (const y of [0, 100, 200, 300])
      for (const x of [0, 150, 300, 560]) leaves.push(box(x, y, x + 80, y + 60, "a label"))
    leaves.push({ type: "point", x: 639, y: 399, ...common, mention: "corner", t: 1.5 })
    const plates = layoutDrawing(leaves, size).shapes.map(({ plate }) => plate!)
    expect(plates.at(-1)?.text).toBe("corner @1.5s")
    plates.forEach((a, i) => {
      expect(a.x >= 0 && a.y >= 0 && a.x + a.width <= size.width && a.y + a.height <= size.height).toBe(true)
      for (const b of plates.slice(0, i)) {
        const apart = a.x >= b.x + b.width || b.x >= a.x + a.width || a.y >= b.y + b.height || b.y >= a.y + a.height
        expect(apart).toBe(true)
      }
    })
  })

  it("covers other shapes only where all places would", () => {
    const size = { width: 640, height: 640 }
    const above = box(190, 150, 330, 215)
    const [{ plate }] = layoutDrawing([box(200, 220, 320, 300, "name"), above], size).shapes
    expect(plate!.y).toBeGreaterThanOrEqual(300)
    const [alone] = layoutDrawing([box(200, 220, 320, 300, "name")], size).shapes
    expect(alone.plate!.y).toBeLessThan(220)
  })

  it("takes a polygon of 200 000 corners", () => {
    const points = Array.from({ length: 200_000 }, (_, i) => [i % 50, i % 40] as const)
    const polygon = { type: "polygon", points, ...common } as unknown as PixelLeaf
    expect(layoutDrawing([polygon], { width: 64, height: 64 }).shapes[0].corners).toHaveLength(200_000)
  })

  it("shortens a label that is wider than the picture and makes one line of it", () => {
    const { shapes } = layoutDrawing([box(0, 0, 9, 9, `two\nlines ${"long ".repeat(50)}`)], { width: 300, height: 300 })
    expect(shapes[0].plate!.text).toMatch(/^two lines long .*\.\.\.$/)
    expect(shapes[0].plate!.width).toBeLessThanOrEqual(640)
  })
})

describe("labelColour", () => {
  it("is the same for the same label and differs between most", () => {
    expect(labelColour("Red circle ")).toEqual(labelColour("red circle"))
    const words = "cat dog person car tree roof door bike bird boat cup hat lamp sign road shoe".split(" ")
    expect(new Set(words.map((word) => JSON.stringify(labelColour(word)))).size).toBeGreaterThan(6)
  })

  it("leaves text on it readable: a contrast of at least 4.5", () => {
    const luminance = ({ r, g, b }: { r: number; g: number; b: number }) => {
      const [x, y, z] = [r, g, b].map((v) => (v <= 10 ? v / 3295 : ((v / 255 + 0.055) / 1.055) ** 2.4))
      return 0.2126 * x + 0.7152 * y + 0.0722 * z
    }
    for (let i = 0; i < 200; i++) {
      const colour = labelColour(`label ${i}`)
      const [dark, light] = [luminance(colour), luminance(textColour(colour))].sort((a, b) => a - b)
      expect((light + 0.05) / (dark + 0.05)).toBeGreaterThan(4.5)
    }
  })
})

describe("the label font", () => {
  it("has a different glyph for every ASCII character and a box for others", () => {
    const dots = (character: string) => {
      let text = ""
      for (let y = 0; y < GLYPH_HEIGHT; y++) for (let x = 0; x < GLYPH_WIDTH; x++) text += glyphDot(character, x, y)
      return text
    }
    const seen = new Set<string>()
    for (let code = 32; code < 127; code++) seen.add(dots(String.fromCharCode(code)))
    expect(seen.size).toBe(95)
    expect(seen.has(dots("猫"))).toBe(false)
    expect(new Set(["猫", "é", "🐱", "\x7f"].map(dots)).size).toBe(1)
    expect(glyphDot("L", 0, 0)).toBe(1)
    expect(glyphDot("L", 4, 0)).toBe(0)
    expect(glyphDot("L", 4, 6)).toBe(1)
    expect(glyphDot("L", -1, 0)).toBe(0)
  })
})

describe("drawRaster", () => {
  it("copies and enlarges the picture without touching it", () => {
    const picture: RgbImage = { width: 2, height: 1, data: Uint8Array.of(0, 10, 20, 200, 110, 220) }
    expect([...drawRaster(picture, [], { minSide: 0 }).data]).toEqual([0, 10, 20, 255, 200, 110, 220, 255])
    const large = drawRaster(picture, [], { minSide: 4 })
    expect([large.width, large.height]).toEqual([4, 2])
    expect([0, 1, 2, 3].map((x) => pixel(large, x, 1)[0])).toEqual([0, 50, 150, 200])
    drawRaster(picture, [box(0, 0, 2, 1, "x")])
    expect([...picture.data]).toEqual([0, 10, 20, 200, 110, 220])
  })

  it("draws a box's sides with a dark rim, and nothing else", () => {
    const out = drawRaster(plain(200, 100, 255), [box(50, 20, 150, 80)], { minSide: 0 })
    const { r, g, b } = labelColour(null)
    for (const [x, y] of [
      [100, 20],
      [100, 79],
      [50, 50],
      [149, 50],
    ])
      expect(pixel(out, x, y)).toEqual([r, g, b, 255])
    expect(pixel(out, 50, 50)).toEqual(pixel(out, 50, 51))
    expect(pixel(out, 47, 50).every((value, channel) => channel === 3 || value < 255)).toBe(true)
    for (const [x, y] of [
      [100, 50],
      [45, 50],
      [100, 14],
      [0, 0],
      [199, 99],
    ])
      expect(pixel(out, x, y)).toEqual([255, 255, 255, 255])
  })

  it("covers pixels where two sides meet once", () => {
    const out = drawRaster(plain(60, 60, 255), [box(20, 20, 40, 40)], { minSide: 0 })
    const rim = pixel(out, 30, 17)[0]
    expect(rim).toBeLessThan(255)
    expect(pixel(out, 17, 30)[0]).toBe(rim)
    // At a corner the later side must not thin what the earlier one covered: the corner is as solid as the sides.
    const { r, g, b } = labelColour(null)
    for (const [x, y] of [
      [20, 20],
      [39, 20],
      [39, 39],
      [20, 39],
    ])
      expect(pixel(out, x, y)).toEqual([r, g, b, 255])
    for (const along of [22, 30, 38]) expect(pixel(out, along, 20)).toEqual([r, g, b, 255])
    expect(pixel(out, 22, 17)[0]).toBe(rim)
  })

  it("draws a disc for a point, and an even-odd inside for a polygon", () => {
    const { r, g, b } = labelColour(null)
    const point: PixelLeaf = { type: "point", x: 50, y: 50, ...common }
    const dot = drawRaster(plain(100, 100, 0), [point], { minSide: 0 })
    expect(pixel(dot, 50, 50)).toEqual([r, g, b, 255])
    expect(pixel(dot, 50, 56)).not.toEqual([0, 0, 0, 255])
    expect(pixel(dot, 50, 60)).toEqual([0, 0, 0, 255])

    const star: PixelLeaf = {
      type: "polygon",
      points: [
        [50, 5],
        [77, 90],
        [6, 37],
        [94, 37],
        [23, 90],
      ],
      ...common,
    }
    const out = drawRaster(plain(100, 100, 255), [star], { minSide: 0 })
    expect(pixel(out, 50, 55)).toEqual([255, 255, 255, 255])
    expect(pixel(out, 50, 25)).not.toEqual([255, 255, 255, 255])
    expect(pixel(out, 5, 80)).toEqual([255, 255, 255, 255])
  })

  it("writes labels in black or white on their colour", () => {
    const leaf = box(20, 40, 300, 180, "label")
    const { shapes } = layoutDrawing([leaf], { width: 320, height: 200 }, { minSide: 0 })
    const plate = shapes[0].plate!
    const out = drawRaster(plain(320, 200, 128), [leaf], { minSide: 0 })
    const { r, g, b } = labelColour("label")
    expect(pixel(out, plate.x + 1, plate.y + 1)).toEqual([r, g, b, 255])
    const text = textColour(labelColour("label")).r
    let inked = 0
    for (let y = plate.y; y < plate.y + plate.height; y++) {
      for (let x = plate.x; x < plate.x + plate.width; x++)
        if (
          pixel(out, x, y)
            .slice(0, 3)
            .every((v) => v === text)
        )
          inked++
    }
    expect(inked).toBeGreaterThan(50)
  })

  it("takes corners outside, boxes of no size and any label", () => {
    const leaves = [box(-500, -500, 9999, 9999, "x".repeat(500)), box(5, 5, 5, 5, "猫\0"), box(19, 19, 0, 0, " ")]
    const polygon: PixelLeaf = {
      type: "polygon",
      points: [
        [3, 3],
        [3, 3],
        [3, 3],
      ],
      ...common,
    }
    const out = drawRaster(plain(20, 20, 0), [...leaves, polygon])
    expect([out.width, out.height]).toEqual([640, 640])
    for (let at = 3; at < out.data.length; at += 4) if (out.data[at] !== 255) throw new Error(`alpha ${out.data[at]}`)
  })
})

describe("drawSvg", () => {
  const picture = { width: 320, height: 160, href: 'a.png?x=1&y="2"' }

  it("has the picture, one outline a leaf and escaped labels", () => {
    const leaves: PixelLeaf[] = [
      box(10, 10, 100, 50, `<b> & "q" 'c' \x01`),
      { type: "point", x: 5, y: 6, ...common },
      {
        type: "polygon",
        points: [
          [1, 1],
          [9, 1],
          [9, 9],
        ],
        ...common,
        mention: "roof",
        t: 2,
      },
    ]
    const svg = drawSvg(picture, leaves)
    expect(svg).toContain('viewBox="0 0 640 320"')
    expect(svg).toContain('href="a.png?x=1&amp;y=&quot;2&quot;"')
    expect(svg).toContain(">&lt;b&gt; &amp; &quot;q&quot; &#x27;c&#x27;</text>")
    expect(svg).toContain(">roof @2s</text>")
    expect(svg).toContain('points="20,20 200,20 200,100 20,100"')
    expect(svg).toContain('cx="10" cy="12"')
    expect(svg.match(/<text/g)).toHaveLength(2)
    // Well-formed: every element that opens closes.
    const open: string[] = []
    for (const [, slash, name, selfClosing] of svg.matchAll(/<(\/?)(\w+)[^>]*?(\/?)>/g)) {
      if (slash) expect(open.pop()).toBe(name)
      else if (!selfClosing) open.push(name)
    }
    expect(open).toEqual([])
  })

  it("embeds files with their kind", () => {
    const uri = toDataUri(Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 13, 10))
    expect(uri).toBe("data:image/png;base64,iVBORw0K")
    expect(toDataUri(new Uint8Array(100_001))).toMatch(/^data:application\/octet-stream;base64,A+=$/)
    expect(toDataUri(Uint8Array.of(0xff, 0xd8, 0xff, 0xe0))).toMatch(/^data:image\/jpeg;/)
  })
})

describe("what cannot be drawn", () => {
  const refused = (leaves: unknown, options = {}, picture: unknown = plain(8, 8, 0)) => {
    try {
      drawRaster(picture as RgbImage, leaves as PixelLeaf[], options)
    } catch (error) {
      return error
    }
    return undefined
  }

  it("is refused by what is wrong with it", () => {
    const bad = (message: RegExp) => ({ code: "bad_input", message: expect.stringMatching(message) })
    expect(refused(undefined)).toMatchObject(bad(/the leaves to draw must be an array.*not undefined/))
    expect(refused([null])).toMatchObject(bad(/entry 0 is no point, box or polygon but null/))
    expect(refused([box(0, 0, 1, 1), { type: "circle" }])).toMatchObject(bad(/entry 1 .*circle/))
    expect(refused([{ type: "polygon" }])).toMatchObject(bad(/entry 0/))
    expect(refused([{ type: "polygon", points: [] }])).toMatchObject(bad(/polygon at 0/))
    expect(refused([{ type: "polygon", points: [[1, 2], 3] }])).toMatchObject(bad(/polygon at 0/))
    expect(refused([box(0, 0, Number.NaN, 1)])).toMatchObject(bad(/box at 0/))
    expect(refused([{ ...box(0, 0, 1, 1), mention: 7 }])).toMatchObject(bad(/mention 7/))
    expect(refused([], { expected: 5 })).toMatchObject(bad(/expected must be an array/))
    expect(refused([], { minSide: "9" })).toMatchObject(bad(/minSide .*"9"/))
    expect(refused([], { maxSide: 0 })).toMatchObject(bad(/maxSide .*0/))
    expect(refused([], { minSide: 1e6 })).toMatchObject(bad(/1000000×1000000 pixels is too large/))
    expect(refused([], {}, { width: 0, height: 4, data: new Uint8Array(0) })).toMatchObject({ code: "bad_image" })
    expect(refused([], {}, { width: 4, height: 4, data: new Uint8Array(5) })).toMatchObject({ code: "bad_image" })
  })

  it("does not include annotations of one's own, which name no picture, mention or time", () => {
    const { shapes } = layoutDrawing([{ type: "point", x: 1, y: 1 } as PixelLeaf], { width: 64, height: 32 })
    expect(shapes).toEqual([expect.objectContaining({ type: "point", colour: labelColour(null), plate: null })])
  })
})
