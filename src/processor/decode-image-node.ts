/** Image files → pixels in Node, through sharp. */

import sharp from "sharp"
import { IsaacError, isIsaacError, plainText } from "../errors"
import { declaredSizes, FORMATS_READ, formatOf } from "./image-format"
import { checkPixelCount, MAX_PIXELS, type RgbImage } from "./rgb-image"

/** 60 megapixels take seconds; some files are made to take much longer. */
const MAX_SECONDS = 120

/**
 * The pixels of a PNG, JPEG, WebP, GIF or AVIF (their first frame) or TIFF file.
 *
 * - EXIF orientation is applied: width, height and every coordinate mean the upright picture.
 * - Alpha and palette transparency are dropped, not blended; gray becomes three equal channels.
 * - 16-bit channels keep their high byte. Embedded colour profiles are ignored.
 *
 * @param name what the bytes are, for messages: a path, an address, "image 2"
 * @throws IsaacError `bad_image` for bytes that are no such file, end too early, have more than 60 megapixels or take
 *   too long
 */
export async function decodeImage(bytes: Uint8Array, name: string): Promise<RgbImage> {
  if (bytes.byteLength === 0) throw new IsaacError("bad_image", `${name} is empty: it has 0 bytes.`)
  // Another thread could change shared memory between a check and a use. sharp takes no subclasses.
  const shared = !(bytes.buffer instanceof ArrayBuffer)
  const own = shared ? Uint8Array.from(bytes) : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)

  // 1. Decoders for anything else never see the bytes.
  const { image: format, other } = formatOf(own)
  if (format === undefined) {
    const what = other ?? "no image, or one whose beginning is damaged"
    throw new IsaacError("bad_image", `${name} (${own.byteLength} bytes) is ${what}; ${FORMATS_READ}.`)
  }

  // 2. The size, before any pixel.
  for (const [width, height] of declaredSizes(own, format)) checkPixelCount(width, height, name)
  const input = { ignoreIcc: true, pages: 1, failOn: "error", autoOrient: true } as const
  try {
    const header = await sharp(own, { ...input, limitInputPixels: false }).metadata()
    checkPixelCount(header.width, header.height, name)

    // 3. The pixels.
    const { data, info } = await sharp(own, { ...input, limitInputPixels: MAX_PIXELS })
      .timeout({ seconds: MAX_SECONDS })
      .removeAlpha()
      .toColourspace("srgb")
      .raw({ depth: "uchar" })
      .toBuffer({ resolveWithObject: true })
    if (info.channels !== 3) {
      throw new IsaacError("internal", `${name} decoded to ${info.channels} channels, 3 were expected`)
    }
    return { width: info.width, height: info.height, data: new Uint8Array(data.buffer, data.byteOffset, data.length) }
  } catch (cause) {
    if (isIsaacError(cause)) throw cause
    throw new IsaacError("bad_image", `${name} (${format}, ${own.byteLength} bytes) ${complaint(cause)}`, { cause })
  }
}

/** What is wrong with a file of a known format, and what to do. */
function complaint(cause: unknown): string {
  const message = cause instanceof Error ? cause.message : String(cause)
  if (/^timeout:/m.test(message)) return `takes more than ${MAX_SECONDS} s to decode. Save it anew, as PNG or JPEG.`
  const why = message
    .split("\n")[0]
    .replace(/^Input buffer has corrupt header:?\s*/, "")
    .replace(/^(Input buffer contains unsupported image format|Unknown error)$/, "")
  return (
    `is damaged or cut short${why === "" ? "" : ` (${plainText(why.slice(0, 200))})`}. ` +
    "Get the file again, or open it in a viewer and save it anew."
  )
}
