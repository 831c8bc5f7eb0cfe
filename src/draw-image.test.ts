import { readFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"
import { drawImage } from "./draw-image-node"
import type { PixelLeaf } from "./perception"
import { decodeImage } from "./processor/decode-image-node"

const sample = fileURLToPath(new URL("../models/isaac-tiny/samples/01-locate-box.png", import.meta.url))
const box: PixelLeaf = {
  type: "box",
  ...{ x1: 180, y1: 67, x2: 210, y2: 100, mention: "orange square", t: null, image: 0 },
}

describe("drawImage", () => {
  it("gives a file of each format, at the picture's size or larger", async () => {
    const { width, height } = await decodeImage(await readFile(sample), sample)
    for (const [format, start] of [
      ["png", "\x89PNG"],
      ["jpeg", "\xff\xd8\xff"],
      ["webp", "RIFF"],
    ] as const) {
      const bytes = await drawImage(sample, [box], { format })
      expect(Buffer.from(bytes.subarray(0, start.length)).toString("latin1")).toBe(start)
      const drawn = await decodeImage(bytes, format)
      expect(Math.max(drawn.width, drawn.height)).toBe(640)
      const original = await decodeImage(await drawImage(sample, [box], { format, minSide: 0 }), format)
      expect([original.width, original.height]).toEqual([width, height])
    }
    const svg = new TextDecoder().decode(await drawImage(await readFile(sample), [box], { format: "svg" }))
    expect(svg).toMatch(/^<svg .*\n<image .*href="data:image\/png;base64,iVBOR/)
    expect(svg).toContain(">orange square</text>")
  })

  it("says what is wrong with a picture or a format", async () => {
    await expect(drawImage("no-such.png", [box])).rejects.toMatchObject({ code: "not_found" })
    await expect(drawImage(new Uint8Array(9), [box])).rejects.toMatchObject({ code: "bad_image" })
    await expect(drawImage(sample, [box], { format: "bmp" as "png" })).rejects.toMatchObject({ code: "bad_input" })
    await expect(drawImage("http://127.0.0.1:9/a.png", [])).rejects.toMatchObject({ code: "bad_input" })
  })
})
