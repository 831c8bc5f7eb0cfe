/** Pixels → image files in Node, through sharp. */

import { randomUUID } from "node:crypto"
import { rename, rm, writeFile } from "node:fs/promises"
import { basename, dirname, extname, join } from "node:path"
import sharp from "sharp"
import { IsaacError } from "../errors"
import type { RgbaImage } from "./draw-raster"

/** By file ending. */
const FORMATS = { ".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp" } as const
export type ImageFormat = (typeof FORMATS)[keyof typeof FORMATS]

/** The bytes of an image file. */
export async function encodeImage({ width, height, data }: RgbaImage, format: ImageFormat): Promise<Uint8Array> {
  if (width * height * 4 !== data.length) {
    throw new IsaacError(
      "bad_input",
      `an RGBA image of ${width}×${height} takes ${width * height * 4} bytes, not ${data.length}`,
    )
  }
  const image = sharp(data, { raw: { width, height, channels: 4 }, limitInputPixels: false })
  const opaque = format === "jpeg" || isOpaque(data) ? image.removeAlpha() : image
  const encoded =
    format === "png"
      ? opaque.png({ compressionLevel: 9 })
      : format === "jpeg"
        ? opaque.jpeg({ quality: 90, chromaSubsampling: "4:4:4" })
        : opaque.webp({ quality: 90 })
  return encoded.toBuffer().catch((cause: Error) => {
    // sharp's encoders have their own limits, such as 16383 pixels a side for WebP.
    throw new IsaacError("io", `the ${width}×${height} picture cannot be written as ${format}: ${cause.message}`, {
      cause,
    })
  })
}

/**
 * Writes a picture; the ending of `path` names the format (.png, .jpg, .jpeg, .webp).
 *
 * @throws IsaacError `bad_input` for another ending, `io` for a disk error; the old file then stays as it was
 */
export async function writeImage(path: string, image: RgbaImage): Promise<void> {
  const format = FORMATS[extname(path).toLowerCase() as keyof typeof FORMATS]
  if (!format) {
    throw new IsaacError("bad_input", `${path} has none of the endings ${Object.keys(FORMATS).join(", ")}`)
  }
  await writeFileAtomically(path, await encodeImage(image, format))
}

/**
 * Writes a file beside its place and moves it there when it is whole, so that nobody ever reads half of it.
 *
 * @throws IsaacError `io`
 */
export async function writeFileAtomically(path: string, content: Uint8Array | string): Promise<void> {
  const partial = join(dirname(path), `.${basename(path)}.${randomUUID()}.part`)
  try {
    await writeFile(partial, content, { flag: "wx" })
    await rename(partial, path)
  } catch (cause) {
    await rm(partial, { force: true }).catch(() => {})
    throw new IsaacError("io", `${path} cannot be written: ${(cause as Error).message}`, { cause })
  }
}

function isOpaque(data: Uint8ClampedArray): boolean {
  for (let at = 3; at < data.length; at += 4) if (data[at] !== 255) return false
  return true
}
