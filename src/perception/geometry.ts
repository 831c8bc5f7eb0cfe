/** From the model's coordinates to pixels, and back. */

import { IsaacError } from "../errors"
import type { Leaf } from "./pointing"

/** The model's coordinates run from 0 to this over each side of the picture. */
export const COORDINATE_RANGE = 1000

/** Width and height in pixels of the upright original, before any resizing for the model. */
export interface PictureSize {
  readonly width: number
  readonly height: number
}

/** A leaf in pixels (x in 0 … width, y in 0 … height), with the index of the picture it lies in. */
export type PixelLeaf = Leaf & { readonly image: number }

/**
 * A leaf in floating-point pixels of the upright original: v · side / 1000, clamped to the picture.
 *
 * The origin is the upper left corner of the upper left pixel. `image` is the picture's index in the prompt.
 */
export function toPixels(leaf: Leaf, size: PictureSize, image = 0): PixelLeaf {
  checkSize(size)
  const scale = (value: number, side: number) => Math.min(Math.max((value * side) / COORDINATE_RANGE, 0), side)
  return { ...mapLeaf(leaf, (x, y) => [scale(x, size.width), scale(y, size.height)]), image }
}

/** The inverse, rounded to the model's integers and clamped to 0 … 1000: for examples in a prompt. */
export function fromPixels(leaf: Leaf, size: PictureSize): Leaf {
  checkSize(size)
  const scale = (value: number, side: number) =>
    Math.min(Math.max(Math.round((value / side) * COORDINATE_RANGE), 0), COORDINATE_RANGE)
  return mapLeaf(leaf, (x, y) => [scale(x, size.width), scale(y, size.height)])
}

/** The leaf with every corner replaced. */
function mapLeaf(leaf: Leaf, map: (x: number, y: number) => [x: number, y: number]): Leaf {
  const { mention, t } = leaf
  if (leaf.type === "point") {
    const [x, y] = map(leaf.x, leaf.y)
    return { type: "point", x, y, mention, t }
  }
  if (leaf.type === "box") {
    const [x1, y1] = map(leaf.x1, leaf.y1)
    const [x2, y2] = map(leaf.x2, leaf.y2)
    return { type: "box", x1, y1, x2, y2, mention, t }
  }
  return { type: "polygon", points: leaf.points.map(([x, y]) => map(x, y)), mention, t }
}

function checkSize({ width, height }: PictureSize): void {
  if (width > 0 && height > 0 && Number.isFinite(width) && Number.isFinite(height)) return
  throw new IsaacError(
    "bad_input",
    `a picture of ${width}×${height} pixels has no coordinates; both sides must be above 0`,
  )
}
