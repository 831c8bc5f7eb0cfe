/** A picture with what was found in it, as the bytes of an image file. */

import { DRAWING_FORMATS, type DrawImageOptions } from "./draw-image"
import type { ImageInput } from "./engine-options"
import { IsaacError, shown } from "./errors"
import type { PixelLeaf } from "./perception"
import { loadImage } from "./processor/image-input"
import type { ImageReference } from "./processor/image-source-node"

/**
 * Draws boxes, points, polygons and their labels on a picture: `drawImage("photo.jpg", answer.pixels)`. In Node and in
 * browsers; `drawOnPixels` is the same on pixels, without reading or writing files.
 *
 * @param image anything that can be asked about
 * @param leaves in pixels of the upright picture, as answers have them
 * @returns the bytes of a PNG, JPEG, WebP or SVG file
 * @throws IsaacError `not_found`, `io`, `bad_image` where the picture cannot be read, `bad_input` for options that do not exist
 */
export async function drawImage(
  image: ImageInput,
  leaves: readonly PixelLeaf[],
  { format = "png", allowPrivateUrls, signal, ...options }: DrawImageOptions = {},
): Promise<Uint8Array> {
  if (!DRAWING_FORMATS.includes(format)) {
    throw new IsaacError("bad_input", `a drawing's format is ${DRAWING_FORMATS.join(", ")}, not ${shown(format)}`)
  }
  // Only here: a program that draws nothing need not wait for the image library.
  const { readImage } = await import("./processor/image-source-node")
  const { decodeImage } = await import("./processor/decode-image-node")
  const { encodeDrawing } = await import("./perception/write-image-node")
  const file = await readImage(image as ImageReference, { allowPrivateUrls, signal })
  const picture = await loadImage(file, "the picture", decodeImage)
  return encodeDrawing(picture, leaves, format, options)
}
