/** Pixels → normalised patches, the rows that the vision encoder's patch embedding takes. */

import { IsaacError } from "../errors"
import type { Rows } from "../stream"
import type { RgbImage } from "./rgb-image"

/**
 * The 256 values a byte can become: v/255 in [0, 1], then (x − 0.5) / 0.5 in [−1, 1]. Every step rounds to float32,
 * and the division by 255 is a product with its rounded inverse, as the reference computes it.
 */
const NORMALISED = Float32Array.from({ length: 256 }, (_, v) => {
  const unit = Math.fround(v * Math.fround(1 / 255))
  return Math.fround(Math.fround(unit - 0.5) / 0.5)
})

/**
 * The image cut into patches of patchSize × patchSize pixels: [H·W, 3·patchSize²] with H = height/patchSize patch
 * rows and W patch columns, patches in raster order; inside a patch row, column, channel (channel fastest).
 *
 * @throws IsaacError `bad_input` when a side is no multiple of the patch size
 */
export function patchify({ width, height, data }: RgbImage, patchSize: number): Rows {
  if (width % patchSize !== 0 || height % patchSize !== 0) {
    throw new IsaacError(
      "bad_input",
      `An image of ${width}×${height} pixels is not made of whole patches of ${patchSize}×${patchSize}; resize it first.`,
    )
  }
  const patchColumns = width / patchSize
  const rowValues = patchSize * 3
  const patchValues = patchSize * rowValues
  const values = new Float32Array(width * height * 3)
  let from = 0
  for (let y = 0; y < height; y++) {
    const patchRow = Math.floor(y / patchSize)
    let to = patchRow * patchColumns * patchValues + (y % patchSize) * rowValues
    for (let column = 0; column < patchColumns; column++) {
      for (let i = 0; i < rowValues; i++) values[to + i] = NORMALISED[data[from++]]
      to += patchValues
    }
  }
  return { values, rows: (height / patchSize) * patchColumns, width: patchValues }
}
