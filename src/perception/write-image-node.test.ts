import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { decodeImage } from "../processor/decode-image-node"
import type { RgbaImage } from "./draw-raster"
import { encodeImage, writeDrawing, writeFileAtomically, writeImage } from "./write-image-node"

const image: RgbaImage = { width: 16, height: 8, data: new Uint8ClampedArray(16 * 8 * 4) }
for (let i = 0; i < image.data.length; i++) image.data[i] = i % 4 === 3 ? 255 : (i * 2) % 256

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "write-image-"))
})
afterAll(() => rm(folder, { recursive: true }))

describe("writeImage", () => {
  it("writes PNG without loss", async () => {
    const path = join(folder, "a.PNG")
    await writeImage(path, image)
    const { width, height, data } = await decodeImage(await readFile(path), "a.PNG")
    expect([width, height]).toEqual([16, 8])
    expect([...data]).toEqual([...image.data].filter((_, i) => i % 4 !== 3))
  })

  it.each(["jpg", "jpeg", "webp"])("writes %s", async (ending) => {
    const path = join(folder, `a.${ending}`)
    await writeImage(path, image)
    expect(await decodeImage(await readFile(path), path)).toMatchObject({ width: 16, height: 8 })
  })

  it("keeps transparency where the format has it", async () => {
    const clear: RgbaImage = { width: 1, height: 1, data: new Uint8ClampedArray(4) }
    // Byte 25 of a PNG is its colour type: 6 has alpha, 2 has none.
    expect((await encodeImage(clear, "png"))[25]).toBe(6)
    expect((await encodeImage(image, "png"))[25]).toBe(2)
  })

  it("refuses other endings and pixels that do not fit the size", async () => {
    await expect(writeImage(join(folder, "a.bmp"), image)).rejects.toMatchObject({ code: "bad_input" })
    await expect(encodeImage({ ...image, width: 15 }, "png")).rejects.toMatchObject({ code: "bad_input" })
  })

  it("writes drawings, as SVG too", async () => {
    const picture = { width: 4, height: 2, data: new Uint8Array(24) }
    const point = { type: "point" as const, x: 2, y: 1, mention: "dot", t: null, image: 0 }
    await writeDrawing(join(folder, "d.svg"), picture, [point])
    expect(await readFile(join(folder, "d.svg"), "utf8")).toContain(">dot</text>")
    await writeDrawing(join(folder, "d.JPG"), picture, [point])
    expect(await decodeImage(await readFile(join(folder, "d.JPG")), "d")).toMatchObject({ width: 640, height: 320 })
    await expect(writeDrawing(join(folder, "d.gif"), picture, [])).rejects.toMatchObject({
      code: "bad_input",
      message: expect.stringContaining(".svg"),
    })
  })

  it("reports disk errors as io, and leaves neither half a file nor a lost one", async () => {
    await expect(writeImage(join(folder, "none", "a.png"), image)).rejects.toMatchObject({
      code: "io",
      message: expect.stringContaining("a.png"),
    })
    const path = join(folder, "kept.txt")
    await writeFile(path, "old")
    await expect(writeFileAtomically(join(path, "below.txt"), "x")).rejects.toMatchObject({ code: "io" })
    expect(await readFile(path, "utf8")).toBe("old")
    await writeFileAtomically(path, "new")
    expect(await readFile(path, "utf8")).toBe("new")
    const taken = join(folder, "folder")
    await mkdir(taken)
    await expect(writeFileAtomically(taken, "x")).rejects.toMatchObject({ code: "io" })
    expect((await readdir(folder)).filter((name) => name.endsWith(".part"))).toEqual([])
  })
})
