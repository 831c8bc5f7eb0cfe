/** Image files → pixels in Node, through sharp. */

import sharp from "sharp"
import { IsaacError } from "../errors"
import { checkPixelCount, type RgbImage } from "./rgb-image"

/** sharp's names of the formats that are read; AVIF is a "heif". Vector and document formats are not images here. */
const FORMATS = new Set(["png", "jpeg", "webp", "gif", "heif", "tiff"])

/**
 * The pixels of a PNG, JPEG, WebP, GIF or AVIF (their first frame) or TIFF file.
 *
 * - EXIF orientation is applied: width, height and every coordinate mean the upright picture.
 * - Alpha and palette transparency are dropped, not blended; gray becomes three equal channels.
 * - 16-bit channels keep their high byte. Embedded colour profiles are ignored.
 *
 * @param name what the bytes are, for messages: a path, an address, "image 2"
 * @throws IsaacError `bad_image` for bytes that are no such file, end too early, or have more than 60 megapixels
 */
export async function decodeImage(bytes: Uint8Array, name: string): Promise<RgbImage> {
  if (bytes.byteLength === 0) throw new IsaacError("bad_image", `${name} is empty: it has 0 bytes.`)
  // The limit is checked below, for a message with the size; nothing is decoded before that.
  const image = sharp(bytes, { limitInputPixels: false, ignoreIcc: true, pages: 1, failOn: "error", autoOrient: true })
  const { format, width, height } = await image.metadata().catch((cause) => {
    throw new IsaacError(
      "bad_image",
      `${name} (${bytes.byteLength} bytes) is no image or is cut short (${firstLine(cause)}); ` +
        "PNG, JPEG, WebP, GIF, AVIF and TIFF are read.",
      { cause },
    )
  })
  if (!FORMATS.has(format)) {
    throw new IsaacError("bad_image", `${name} is ${format}; only PNG, JPEG, WebP, GIF, AVIF and TIFF are read.`)
  }
  checkPixelCount(width, height, name)
  const { data, info } = await image
    .removeAlpha()
    .toColourspace("srgb")
    .raw({ depth: "uchar" })
    .toBuffer({ resolveWithObject: true })
    .catch((cause) => {
      throw new IsaacError(
        "bad_image",
        `${name} (${format}, ${width}×${height} pixels, ${bytes.byteLength} bytes) is damaged or cut short: ` +
          firstLine(cause),
        { cause },
      )
    })
  if (info.channels !== 3) {
    throw new IsaacError("internal", `${name} decoded to ${info.channels} channels, 3 were expected`)
  }
  return { width: info.width, height: info.height, data: new Uint8Array(data.buffer, data.byteOffset, data.length) }
}

function firstLine(cause: unknown): string {
  return (cause instanceof Error ? cause.message : String(cause)).split("\n")[0]
}
