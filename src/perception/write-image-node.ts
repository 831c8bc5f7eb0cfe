/** Pixels → image files in Node, through sharp. */

import { randomUUID } from "node:crypto"
import { rename, rm, writeFile } from "node:fs/promises"
import { dirname, extname, join } from "node:path"
import sharp from "sharp"
import { IsaacError } from "../errors"
import type { RgbImage } from "../processor/rgb-image"
import type { DrawOptions } from "./draw-layout"
import { drawRaster, type RgbaImage } from "./draw-raster"
import { drawSvg, toDataUri } from "./draw-svg"
import type { PixelLeaf } from "./geometry"

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

/** The bytes of a file with the picture and what was found in it; as SVG, the picture is in it as a PNG. */
export async function encodeDrawing(
  picture: RgbImage,
  leaves: readonly PixelLeaf[],
  format: ImageFormat | "svg",
  options: DrawOptions = {},
): Promise<Uint8Array> {
  if (format !== "svg") return encodeImage(drawRaster(picture, leaves, options), format)
  // The picture as decoded, upright: viewers disagree about the EXIF orientation of an embedded original.
  const href = toDataUri(await encodeImage(drawRaster(picture, [], { minSide: 0 }), "png"))
  const { width, height } = picture
  return new TextEncoder().encode(drawSvg({ width, height, href }, leaves, options))
}

/**
 * Writes a picture; the ending of `path` names the format (.png, .jpg, .jpeg, .webp).
 *
 * @throws IsaacError `bad_input` for another ending, `io` for a disk error; the old file then stays as it was
 */
export async function writeImage(path: string, image: RgbaImage): Promise<void> {
  await writeFileAtomically(path, await encodeImage(image, formatOf(path, FORMATS)))
}

/**
 * Writes a picture with what was found in it; the ending of `path` names the format (.png, .jpg, .jpeg, .webp, .svg).
 * Throws like `writeImage`.
 */
export async function writeDrawing(
  path: string,
  picture: RgbImage,
  leaves: readonly PixelLeaf[],
  options: DrawOptions = {},
): Promise<void> {
  const format = formatOf(path, { ...FORMATS, ".svg": "svg" })
  await writeFileAtomically(path, await encodeDrawing(picture, leaves, format, options))
}

function formatOf<F extends string>(path: string, formats: Readonly<Record<string, F>>): F {
  const ending = extname(path).toLowerCase()
  if (Object.hasOwn(formats, ending)) return formats[ending]
  throw new IsaacError("bad_input", `${path} has none of the endings ${Object.keys(formats).join(", ")}`)
}

/**
 * Writes a file beside its place and moves it there when it is whole, so that nobody ever reads half of it.
 *
 * @throws IsaacError `io`
 */
export async function writeFileAtomically(path: string, content: Uint8Array | string): Promise<void> {
  // Without the file's own name: that may be as long as names can be.
  const partial = join(dirname(path), `.${randomUUID()}.part`)
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
