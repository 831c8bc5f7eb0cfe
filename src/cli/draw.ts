/** `--draw`: the picture with what the answer points at, as PNG or SVG. */

import type { Answer } from "../index"
import {
  drawRaster,
  drawSvg,
  encodeImage,
  type RgbImage,
  toDataUri,
  writeFileAtomically,
  writeImage,
} from "../internal"

/**
 * Write the picture that the answer points into (the first one when it points nowhere); the ending of `file` chooses
 * the form. Throws io.
 */
export async function drawAnswer(file: string, { pixels }: Answer, pictures: readonly RgbImage[]): Promise<void> {
  const image = pixels[0]?.image ?? 0
  const picture = pictures[image]
  if (!file.toLowerCase().endsWith(".svg")) {
    await writeImage(file, drawRaster(picture, pixels, { image }))
    return
  }
  // The picture as decoded, upright: viewers disagree about the EXIF orientation of an embedded original.
  const bytes = await encodeImage(drawRaster(picture, [], { minSide: 0 }), "png")
  const { width, height } = picture
  await writeFileAtomically(file, drawSvg({ width, height, href: toDataUri(bytes) }, pixels, { image }))
}
