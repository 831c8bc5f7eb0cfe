/** Files that are damaged, cut short, misnamed or made to do harm: each ends as pixels or as bad_image. */

import { crc32, deflateSync } from "node:zlib"
import sharp from "sharp"
import { beforeAll, describe, expect, it } from "vitest"
import { damaged } from "../../bench/fuzz/damage-image"
import { type ImageSeed, imageSeeds } from "../../bench/fuzz/image-seeds"
import { pick, randomOf } from "../../bench/fuzz/random"
import type { IsaacError } from "../errors"
import { decodeImage } from "./decode-image-node"
import type { RgbImage } from "./rgb-image"

let seeds: ImageSeed[]
beforeAll(async () => {
  seeds = await imageSeeds()
})

const outcome = (bytes: Uint8Array, name = "x") => decodeImage(bytes, name).catch((error: IsaacError) => error)
const isWhole = (image: RgbImage) => image.data.length === image.width * image.height * 3

/** Pixels, or bad_image with a short message that begins with the name. */
function check(found: RgbImage | IsaacError, name = "x"): "pixels" | "refused" {
  if (!(found instanceof Error)) {
    expect(isWhole(found)).toBe(true)
    return "pixels"
  }
  expect(found).toMatchObject({ name: "IsaacError", code: "bad_image" })
  expect(found.message.startsWith(`${name} `)).toBe(true)
  expect(found.message.length).toBeLessThan(400)
  return "refused"
}

describe("damage", () => {
  it("sound files of every kind are decoded", async () => {
    expect(seeds.length).toBe(28)
    for (const { name, bytes } of seeds) {
      const image = await decodeImage(bytes, name)
      expect([image.width, image.height].sort()).toEqual([28, 40])
    }
  })

  it("a file cut short anywhere is refused, but for what only ends it", async () => {
    const cut = async ({ name, bytes }: ImageSeed) => {
      const step = 1 + Math.floor(bytes.length / 12)
      const lengths = Array.from({ length: Math.ceil(bytes.length / step) }, (_, i) => bytes.length - 1 - i * step)
      const ends = await Promise.all(
        lengths.map(async (length) => check(await outcome(bytes.subarray(0, length), name), name)),
      )
      return lengths[ends.lastIndexOf("pixels")] ?? bytes.length
    }
    const shortest = await Promise.all(seeds.map(cut))
    // What stands behind the pixels: checksums, an end marker, metadata, further frames.
    for (const [i, { name, bytes }] of seeds.entries()) {
      if (!/animated|gain map|tiff/.test(name)) {
        expect(`${name} ${shortest[i] / bytes.length > 0.9}`).toBe(`${name} true`)
      }
    }
  })

  it("random damage ends in pixels or bad_image", async () => {
    const outcomes = { pixels: 0, refused: 0 }
    const inputs = Array.from({ length: 300 }, (_, number) => {
      const random = randomOf(number)
      return damaged(random, pick(random, seeds).bytes)
    })
    for (const found of await Promise.all(inputs.map((input) => outcome(input)))) outcomes[check(found)]++
    expect(outcomes.pixels).toBeGreaterThan(20)
    expect(outcomes.refused).toBeGreaterThan(100)
  })

  it("says what is wrong with which kind of file, and what to do", async () => {
    const of = async (name: string) =>
      (await outcome(seeds.find((seed) => seed.name === name)!.bytes.slice(0, 150))) as Error
    expect((await of("jpeg")).message).toMatch(
      /^x \(JPEG, 150 bytes\) is damaged or cut short \(.+\)\. Get the file again/,
    )
    expect((await of("png")).message).toMatch(/^x \(PNG, 150 bytes\) is damaged or cut short/)
    expect((await of("tiff")).message).toMatch(/^x \(TIFF, 150 bytes\) is damaged or cut short\. Get/)
  })
})

describe("files that are not what they seem", () => {
  it("the bytes count, not the name", async () => {
    for (const { name, bytes } of seeds) check(await outcome(bytes, `${name.startsWith("png") ? "a.jpg" : "a.png"}`))
    expect(await outcome(seeds[0].bytes, "a.svg")).toMatchObject({ width: 40, height: 28 })
  })

  it("formats that are not read are named, and those that are", async () => {
    const latin1 = (text: string) => Uint8Array.from(text.padEnd(40, "\0"), (character) => character.charCodeAt(0))
    const others: Record<string, string> = {
      '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>': "an SVG drawing",
      "\xef\xbb\xbf<?xml version='1.0'?>\n<!-- a -->\n<svg width='9'></svg>": "an SVG drawing",
      "<!DOCTYPE html><html></html>": "a web page",
      "%PDF-1.7\n": "a PDF document",
      "\0\0\0\x18ftypheic\0\0\0\0mif1heic": "HEIC",
      "\0\0\0\x1cftypmif1\0\0\0\0mif1heixmiaf": "HEIC",
      "\0\0\0\x18ftypisom\0\0\0\0isomavc1": "a video",
      "BM\x46\0\0\0": "a BMP file",
      "\0\0\x01\0\x01\0": "an icon",
      "\xff\x0a\xff\x07": "a JPEG XL file",
      "\0\0\0\x0cjP  \r\n\x87\n": "a JPEG 2000 file",
      "8BPS\0\x01": "a Photoshop document",
      "PK\x03\x04": "a ZIP archive",
      "\x1f\x8b\x08": "a gzip file",
      "RIFF\x24\0\0\0AVI LIST": "a video",
      "RIFF\x24\0\0\0WAVEfmt ": "no image",
      GIF88a: "no image",
      "hello, this is text": "no image",
      "\0": "no image",
    }
    for (const [start, what] of Object.entries(others)) {
      const error = (await outcome(latin1(start), "a.png")) as Error
      expect(error).toMatchObject({ code: "bad_image", message: expect.stringContaining(`bytes) is ${what}`) })
      expect(error.message).toContain("PNG, JPEG, WebP, GIF, AVIF and TIFF are read")
    }
    // An AVIF file whose first brand says little.
    const avif = seeds.find(({ name }) => name === "avif")!.bytes.slice()
    avif.set(latin1("mif1").subarray(0, 4), 8)
    expect(await outcome(avif)).toMatchObject({ width: 40, height: 28 })
  })
})

describe("sizes", () => {
  const u32 = (value: number) => Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value)
  const chunk = (name: string, content: Uint8Array) => {
    const body = Buffer.concat([Buffer.from(name), content])
    return Buffer.concat([u32(content.length), body, u32(crc32(body))])
  }
  const png = (width: number, height: number, ...chunks: Uint8Array[]) =>
    Buffer.concat([
      Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
      chunk("IHDR", Buffer.concat([u32(width), u32(height), Uint8Array.of(8, 2, 0, 0, 0)])),
      ...chunks,
      chunk("IEND", new Uint8Array(0)),
    ])
  const tiff = (width: number, height: number, rowsPerStrip = height) => {
    const tags = [
      [256, width],
      [257, height],
      [258, 8],
      [259, 1],
      [262, 1],
      [273, 8],
      [277, 1],
      [278, rowsPerStrip],
      [279, 100],
    ]
    const bytes = Buffer.alloc(14 + 12 * tags.length + 100)
    bytes.write("II*\0", "latin1")
    bytes.writeUInt32LE(8, 4)
    bytes.writeUInt16LE(tags.length, 8)
    for (const [i, [tag, value]] of tags.entries()) {
      bytes.writeUInt16LE(tag, 10 + 12 * i)
      bytes.writeUInt16LE(4, 12 + 12 * i)
      bytes.writeUInt32LE(1, 14 + 12 * i)
      bytes.writeUInt32LE(value, 18 + 12 * i)
    }
    return bytes
  }
  const patched = (name: string, find: string, offset: number, write: (view: DataView, at: number) => void) => {
    const bytes = Buffer.from(seeds.find((seed) => seed.name === name)!.bytes)
    const at = bytes.indexOf(Buffer.from(find, "latin1")) + offset
    write(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), at)
    return bytes
  }
  const two = (size: number) => (view: DataView, at: number) => {
    view.setUint16(at, size)
    view.setUint16(at + 2, size)
  }
  const four = (size: number) => (view: DataView, at: number) => {
    view.setUint32(at, size)
    view.setUint32(at + 4, size)
  }

  it("of small files that claim to be huge are refused before anything is decoded, with the numbers", async () => {
    const idat = chunk("IDAT", deflateSync(new Uint8Array(99)))
    const bombs: [name: string, bytes: Uint8Array, said: string][] = [
      ["30000.png", png(30_000, 30_000, idat), "30000×30000 pixels (900 megapixels); at most 60"],
      ["long.png", png(1, 60_000_001, idat), "1×60000001 pixels"],
      ["more.png", png(0x7fffffff, 0x7fffffff, idat), "2147483647×2147483647 pixels"],
      ["none.png", png(0, 5, idat), "0×5 pixels; both sides must be whole numbers of 1 or more"],
      ["65500.jpg", patched("jpeg", "\xff\xc0", 5, two(65_500)), "65500×65500 pixels"],
      ["60000.tif", tiff(60_000, 60_000), "60000×60000 pixels"],
      ["60000.avif", patched("avif", "ispe", 8, four(60_000)), "60000×60000 pixels"],
      ["more.avif", patched("avif", "ispe", 8, four(200_000_000)), "200000000×200000000 pixels"],
      ["frame.gif", patched("gif", "\x2c\0\0\0\0", 5, two(0xffff)), "65535×65535 pixels"],
      [
        "16000.webp",
        patched("webp lossless", "VP8L", 9, (view, at) => view.setUint32(at, 15_999 | (15_999 << 14), true)),
        "16000×16000 pixels",
      ],
    ]
    for (const [name, bytes, said] of bombs) {
      expect(bytes.length).toBeLessThan(5000)
      expect(await outcome(bytes, name)).toMatchObject({
        code: "bad_image",
        message: expect.stringMatching(new RegExp(`^${name} is .*${said.replace(/[()]/g, "\\$&")}`)),
      })
    }
  })

  it("that are allowed, with hardly any content, are refused as cut short", async () => {
    const idat = chunk("IDAT", deflateSync(new Uint8Array(99)))
    for (const bytes of [png(7700, 7700, idat), tiff(7700, 7700), tiff(60, 60, 0xffffffff)]) {
      check(await outcome(bytes))
      expect(await outcome(bytes)).toMatchObject({ message: expect.stringContaining("damaged or cut short") })
    }
  })

  it("of metadata do not count: what would unpack to many megabytes is left packed", async () => {
    const rows = chunk("IDAT", deflateSync(new Uint8Array(14)))
    const bomb = deflateSync(new Uint8Array(5e6))
    for (const name of ["zTXt", "iCCP"]) {
      const bytes = png(2, 2, chunk(name, Buffer.concat([Buffer.from("a\0\0"), bomb])), rows)
      expect(await outcome(bytes)).toMatchObject({ width: 2, height: 2 })
    }
  })

  it("of one pixel, one row and one column are taken in every format", async () => {
    for (const [width, height] of [
      [1, 1],
      [1, 2000],
      [2000, 1],
    ]) {
      const raw = { width, height, channels: 3 as const }
      const picture = () => sharp(new Uint8Array(width * height * 3).fill(99), { raw })
      for (const encoded of [
        picture().png(),
        picture().jpeg(),
        picture().webp(),
        picture().gif(),
        picture().avif({ effort: 0 }),
        picture().tiff(),
      ]) {
        const image = await decodeImage(await encoded.toBuffer(), "thin")
        expect([image.width, image.height, isWhole(image)]).toEqual([width, height, true])
      }
    }
  })
})

describe("memory that bytes lie in", () => {
  it("may be shared, offset in a larger buffer, or a Buffer's; what was transferred is empty", async () => {
    const { bytes } = seeds[0]
    const shared = new Uint8Array(new SharedArrayBuffer(bytes.length + 9), 5, bytes.length)
    shared.set(bytes)
    const offset = new Uint8Array(bytes.length + 9).subarray(3, bytes.length + 3)
    offset.set(bytes)
    class Own extends Uint8Array {}
    for (const given of [shared, offset, Buffer.from(bytes), Own.from(bytes)]) {
      expect(await decodeImage(given, "x")).toEqual(await decodeImage(bytes, "x"))
    }
    const gone = bytes.slice()
    structuredClone(gone.buffer, { transfer: [gone.buffer] })
    expect(await outcome(gone, "gone.png")).toMatchObject({
      code: "bad_image",
      message: expect.stringContaining("gone.png is empty"),
    })
  })
})
