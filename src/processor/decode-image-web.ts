/** Image files → pixels in a browser or a web worker, through createImageBitmap and OffscreenCanvas. */

import { IsaacError } from "../errors"
import { checkPixelCount, type RgbImage, toRgbImage } from "./rgb-image"

/**
 * The pixels of an image file in any format that the browser decodes; EXIF orientation is applied, embedded colour
 * profiles are ignored. Same contract as the decoder for Node, with one difference a canvas imposes: it keeps colours
 * multiplied by alpha, so partly transparent pixels come back rounded and fully transparent ones black.
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

/** The pixels of a bitmap. Throws bad_image when there are too many, or no canvas. */
export function pixelsOf(bitmap: ImageBitmap, name: string): RgbImage {
  const { width, height } = bitmap
  checkPixelCount(width, height, name)
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true })
  if (!context) {
    throw new IsaacError("bad_image", `This browser has no canvas for ${name}, ${width}×${height} pixels.`)
  }
  context.drawImage(bitmap, 0, 0)
  return toRgbImage(context.getImageData(0, 0, width, height), name)
}
