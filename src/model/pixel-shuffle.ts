/**
 * Pixel shuffle (space to depth): every r×r block of patches becomes one token, its channels side by side.
 *
 * The decoder sees r² times fewer tokens and nothing is lost: it is a gather of rows, given here by its index map.
 */

import { IsaacError } from "../errors"
import type { Backend, Tensor } from "../ops/backend"

/** Patches of one image: rows and columns. */
export interface TokenGrid {
  readonly rows: number
  readonly columns: number
}

/**
 * For each token the r·r patches that it is made of: [N·r·r] indices into the packed patches of all images. Blocks in
 * raster order, and raster order inside a block; images do not mix.
 */
export function pixelShuffleIndex(grids: readonly TokenGrid[], factor: number): Int32Array {
  if (!Number.isSafeInteger(factor) || factor < 2) {
    throw new IsaacError("bad_input", `a pixel shuffle of ${factor} merges nothing; whole factors from 2 on do`)
  }
  let patches = 0
  for (const { rows, columns } of grids) {
    if (rows % factor !== 0 || columns % factor !== 0) {
      throw new IsaacError(
        "bad_input",
        `an image of ${rows}×${columns} patches does not divide into blocks of ${factor}×${factor}; ` +
          `resize it to multiples of ${factor} patches`,
      )
    }
    patches += rows * columns
  }
  const index = new Int32Array(patches) // [N, r, r]
  let at = 0
  let offset = 0
  for (const { rows, columns } of grids) {
    for (let row = 0; row < rows; row += factor) {
      for (let column = 0; column < columns; column += factor) {
        for (let y = 0; y < factor; y++) {
          for (let x = 0; x < factor; x++) index[at++] = offset + (row + y) * columns + column + x
        }
      }
    }
    offset += rows * columns
  }
  return index
}

/** x [P, D] packed patches → [P / r², D·r²] tokens. A factor of 1 leaves x as it is. */
export function pixelShuffle(backend: Backend, x: Tensor, grids: readonly TokenGrid[], factor: number): Tensor {
  if (factor === 1) return x
  const [patches, width] = x.shape
  const blocks = backend.gatherRows(x, pixelShuffleIndex(grids, factor)) // [N·r·r, D]
  return backend.reshape(blocks, [patches / factor ** 2, width * factor ** 2]) // [N, D·r·r]
}
