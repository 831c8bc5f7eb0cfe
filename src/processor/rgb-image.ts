/** Decoded images, and the limits that every decoder keeps. */

import { IsaacError, shown } from "../errors"

/** An image as the model sees it: upright, 8 bits a channel, no alpha. */
export interface RgbImage {
  readonly width: number
  readonly height: number
  /** [height, width, 3], row-major. */
  readonly data: Uint8Array
}

/** Pixels a caller has decoded: [height, width, 3] RGB or [height, width, 4] RGBA (canvas ImageData fits). */
export interface RawPixels {
  readonly width: number
  readonly height: number
  readonly data: Uint8Array | Uint8ClampedArray
}

/** Larger images are refused: at this size the decoded pixels alone take 180 MB. */
export const MAX_PIXELS = 60_000_000

/** Throws IsaacError `bad_image` for an image without pixels or with more than MAX_PIXELS. */
export function checkPixelCount(width: number, height: number, name: string): void {
  const isSide = (value: number) => Number.isInteger(value) && value > 0
  if (!isSide(width) || !isSide(height)) {
    throw new IsaacError(
      "bad_image",
      `${name} is ${shown(width)}×${shown(height)} pixels; both sides must be whole numbers of 1 or more.`,
    )
  }
  if (width * height > MAX_PIXELS) {
    throw new IsaacError(
      "bad_image",
      `${name} is ${width}×${height} pixels (${(width * height) / 1e6} megapixels); ` +
        `at most ${MAX_PIXELS / 1e6} megapixels are read. Scale it down first.`,
    )
  }
}

/**
 * RGB or RGBA pixels as an RgbImage. Alpha is dropped, never blended: a transparent pixel keeps its stored colour.
 * RGB data is taken as it is, without a copy.
 *
 * @throws IsaacError `bad_image` when the data is not width · height · 3 or · 4 bytes
 */
export function toRgbImage({ width, height, data }: RawPixels, name = "the image"): RgbImage {
  checkPixelCount(width, height, name)
  const pixels = width * height
  if (!/^\[object Uint8(Clamped)?Array\]$/.test(Object.prototype.toString.call(data))) {
    throw new IsaacError(
      "bad_image",
      `${name}: pixels must be a Uint8Array or Uint8ClampedArray of RGB or RGBA bytes, ` +
        `not ${Object.prototype.toString.call(data).slice(8, -1)}.`,
    )
  }
  if (data.length === pixels * 3) {
    return { width, height, data: new Uint8Array(data.buffer, data.byteOffset, data.length) }
  }
  if (data.length !== pixels * 4) {
    throw new IsaacError(
      "bad_image",
      `${name} is ${width}×${height} pixels but has ${data.length} bytes; ` +
        `RGB takes ${pixels * 3} and RGBA ${pixels * 4}.${data.length === 0 ? " A buffer that was transferred is empty." : ""}`,
    )
  }
  const rgb = new Uint8Array(pixels * 3)
  for (let from = 0, to = 0; from < data.length; from += 4) {
    rgb[to++] = data[from]
    rgb[to++] = data[from + 1]
    rgb[to++] = data[from + 2]
  }
  return { width, height, data: rgb }
}
