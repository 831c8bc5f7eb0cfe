import { readFileSync } from "node:fs"
import sharp from "sharp"
import { describe, expect, it } from "vitest"
import { goldenPath, readGolden, readGoldenJson } from "../../test/golden"
import type { IsaacError } from "../errors"
import { decodeImage } from "./decode-image-node"

const { images } = readGoldenJson<{ images: { name: string; file: string; width: number; height: number }[] }>(
  "processor/index.json",
)
const expected = await readGolden("processor/expected.safetensors")

describe("decoded pixels equal the reference's", () => {
  for (const { name, file, width, height } of images) {
    it(name, async () => {
      const image = await decodeImage(new Uint8Array(readFileSync(goldenPath(`processor/${file}`))), file)
      expect([image.height, image.width]).toEqual([height, width])
      const rgb = expected.get(`${name}.rgb`)
      expect(rgb === undefined).toBe(name === "big")
      if (rgb) expect(Buffer.compare(image.data, rgb.data as Uint8Array)).toBe(0)
    })
  }
})

const [width, height] = [64, 48]
/** A smooth picture, so that lossy formats stay close: red grows to the right, green downwards. */
const pixels = Uint8Array.from({ length: width * height * 3 }, (_, i) => {
  const pixel = Math.floor(i / 3)
  return [(pixel % width) * 4, Math.floor(pixel / width) * 5, 90][i % 3]
})
const picture = () => sharp(pixels, { raw: { width, height, channels: 3 } })

function worstDifference(a: Uint8Array, b: Uint8Array): number {
  expect(a.length).toBe(b.length)
  return a.reduce((worst, value, i) => Math.max(worst, Math.abs(value - b[i])), 0)
}

const formats: Record<string, { encode: () => Promise<Buffer>; tolerance: number }> = {
  PNG: { encode: () => picture().png().toBuffer(), tolerance: 0 },
  JPEG: { encode: () => picture().jpeg({ quality: 95 }).toBuffer(), tolerance: 8 },
  "progressive JPEG": { encode: () => picture().jpeg({ quality: 95, progressive: true }).toBuffer(), tolerance: 8 },
  WebP: { encode: () => picture().webp({ lossless: true }).toBuffer(), tolerance: 0 },
  GIF: { encode: () => picture().gif().toBuffer(), tolerance: 24 },
  AVIF: { encode: () => picture().avif({ lossless: true, effort: 0 }).toBuffer(), tolerance: 0 },
  TIFF: { encode: () => picture().tiff({ compression: "lzw" }).toBuffer(), tolerance: 0 },
}

describe("formats", () => {
  for (const [name, { encode, tolerance }] of Object.entries(formats)) {
    it(`${name}, and its damaged halves`, async () => {
      const bytes = await encode()
      const image = await decodeImage(bytes, name)
      expect([image.width, image.height]).toEqual([width, height])
      expect(worstDifference(image.data, pixels)).toBeLessThanOrEqual(tolerance)
      for (const part of [0.05, 0.4, 0.7, 0.95]) {
        const cut = bytes.subarray(0, Math.floor(bytes.length * part))
        const error = await decodeImage(cut, `${name} cut at ${part}`).catch((e: IsaacError) => e)
        expect(error).toMatchObject({ code: "bad_image", message: expect.stringContaining(`${name} cut at ${part}`) })
      }
    })
  }

  it("takes the first frame of an animation", async () => {
    const frame = (value: number) => new Uint8Array(20 * 10 * 3).fill(value)
    const both = Buffer.concat([frame(200), frame(20)])
    const raw = { width: 20, height: 20, channels: 3 as const, pageHeight: 10 }
    for (const bytes of [
      await sharp(both, { raw })
        .gif({ loop: 0, delay: [50, 50] })
        .toBuffer(),
      await sharp(both, { raw })
        .webp({ lossless: true, loop: 0, delay: [50, 50] })
        .toBuffer(),
    ]) {
      expect((await sharp(bytes).metadata()).pages).toBe(2)
      const image = await decodeImage(bytes, "animation")
      expect([image.width, image.height]).toEqual([20, 10])
      expect(worstDifference(image.data, frame(200))).toBeLessThanOrEqual(2)
    }
  })

  it("keeps the high byte of 16-bit gray, with and without alpha", async () => {
    for (const channels of [1, 2] as const) {
      const gray = Uint16Array.from({ length: 256 * channels }, (_, i) => Math.floor(i / channels) * 256 + 255)
      const bytes = await sharp(gray, { raw: { width: 256, height: 1, channels } })
        .toColourspace("grey16")
        .png()
        .toBuffer()
      expect((await sharp(bytes).metadata()).depth).toBe("ushort")
      const image = await decodeImage(bytes, "gray16")
      expect([...image.data]).toEqual(Array.from({ length: 768 }, (_, i) => Math.floor(i / 3)))
    }
  })

  it("turns CMYK into RGB", async () => {
    const gray = Uint8Array.from({ length: 32 * 16 * 3 }, (_, i) => (i % 96 < 48 ? 255 : 0))
    const bytes = await sharp(gray, { raw: { width: 32, height: 16, channels: 3 } })
      .toColourspace("cmyk")
      .jpeg({ quality: 95 })
      .toBuffer()
    expect((await sharp(bytes).metadata()).channels).toBe(4)
    const { data } = await decodeImage(bytes, "print.jpg")
    expect(data.length).toBe(gray.length)
    expect(Math.min(...data.subarray(0, 36))).toBeGreaterThan(240)
    expect(Math.max(...data.subarray(60, 96))).toBeLessThan(60)
  })

  it("ignores an embedded colour profile", async () => {
    const bytes = await picture().withIccProfile("p3").png().toBuffer()
    const { icc } = await sharp(bytes).metadata()
    expect(icc).toBeDefined()
    const stored = await sharp(bytes, { ignoreIcc: true }).raw().toBuffer()
    expect(worstDifference(stored, pixels)).toBeGreaterThan(10)
    expect(Buffer.compare((await decodeImage(bytes, "p3")).data, stored)).toBe(0)
  })
})

describe("EXIF orientation", () => {
  // 2 × 3 blocks of 8 pixels, each of its own gray, and what an upright viewer shows for each orientation.
  const upright: Record<number, number[][]> = {
    1: [
      [0, 40, 80],
      [120, 160, 200],
    ],
    2: [
      [80, 40, 0],
      [200, 160, 120],
    ],
    3: [
      [200, 160, 120],
      [80, 40, 0],
    ],
    4: [
      [120, 160, 200],
      [0, 40, 80],
    ],
    5: [
      [0, 120],
      [40, 160],
      [80, 200],
    ],
    6: [
      [120, 0],
      [160, 40],
      [200, 80],
    ],
    7: [
      [200, 80],
      [160, 40],
      [120, 0],
    ],
    8: [
      [80, 200],
      [40, 160],
      [0, 120],
    ],
  }
  const stored = upright[1].flatMap((row) => Array.from({ length: 8 }, () => row.flatMap((v) => Array(24).fill(v))))

  for (const [orientation, blocks] of Object.entries(upright)) {
    it(`${orientation}`, async () => {
      const bytes = await sharp(Uint8Array.from(stored.flat()), { raw: { width: 24, height: 16, channels: 3 } })
        .withMetadata({ orientation: Number(orientation) })
        .jpeg({ quality: 100 })
        .toBuffer()
      const image = await decodeImage(bytes, "photo.jpg")
      expect([image.height, image.width]).toEqual([blocks.length * 8, blocks[0].length * 8])
      const centres = blocks.map((row, r) =>
        row.map((_, c) => Math.round(image.data[((r * 8 + 4) * image.width + c * 8 + 4) * 3] / 40) * 40),
      )
      expect(centres).toEqual(blocks)
    })
  }
})

describe("refused", () => {
  const failure = (bytes: Uint8Array, name: string) => decodeImage(bytes, name).catch((e: IsaacError) => e)

  it("more than 60 megapixels, naming the size", async () => {
    const bytes = await sharp({ create: { width: 10_000, height: 6001, channels: 3, background: "white" } })
      .png({ compressionLevel: 1 })
      .toBuffer()
    expect(await failure(bytes, "huge.png")).toMatchObject({
      code: "bad_image",
      message: expect.stringMatching(/huge\.png is 10000×6001 pixels .*at most 60 megapixels/),
    })
  })

  it("an empty file, text, and a vector drawing, naming them", async () => {
    const text = (value: string) => new TextEncoder().encode(value)
    expect(await failure(new Uint8Array(0), "empty.png")).toMatchObject({
      code: "bad_image",
      message: expect.stringContaining("empty.png is empty"),
    })
    expect(await failure(text("# Notes\nnot a picture"), "notes.md")).toMatchObject({
      code: "bad_image",
      message: expect.stringContaining("notes.md (21 bytes) is no image"),
    })
    expect(
      await failure(text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'), "drawing.svg"),
    ).toMatchObject({ code: "bad_image", message: expect.stringContaining("drawing.svg (62 bytes) is an SVG drawing") })
  })
})
