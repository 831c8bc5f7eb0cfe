/** Image files → pixels in a browser or a web worker, through createImageBitmap. */

import { IsaacError } from "../errors"
import { pixelsOf } from "./bitmap-pixels-web"
import type { RgbImage } from "./rgb-image"

/**
 * The pixels of an image file in any format that the browser decodes; EXIF orientation is applied, embedded colour
 * profiles are ignored. Same contract as the decoder for Node.
 *
 * @param name what the bytes are, for messages
 * @throws IsaacError `bad_image` for bytes the browser cannot decode or more than 60 megapixels
 */
export async function decodeImage(bytes: Uint8Array, name: string): Promise<RgbImage> {
  if (bytes.byteLength === 0) throw new IsaacError("bad_image", `${name} is empty: it has 0 bytes.`)
  // A Blob takes no views of shared memory.
  const blob = new Blob([bytes.buffer instanceof ArrayBuffer ? (bytes as Uint8Array<ArrayBuffer>) : bytes.slice()])
  const bitmap = await createImageBitmap(blob, {
    imageOrientation: "from-image",
    premultiplyAlpha: "none",
    colorSpaceConversion: "none",
  }).catch((cause) => {
    throw new IsaacError(
      "bad_image",
      `${name} (${bytes.byteLength} bytes) is no image this browser can decode, or is cut short.`,
      { cause },
    )
  })
  try {
    return pixelsOf(bitmap, name)
  } finally {
    bitmap.close()
  }
}
