/** The size an image is resized to before it is cut into patches. */

import { IsaacError } from "../errors"

/** What decides how many patches an image becomes; from the checkpoint's config. */
export interface VisionSizing {
  /** Side of one patch, in pixels. */
  readonly patchSize: number
  /** Pixel shuffle factor r: r × r patches become one token, so both sides must hold a multiple of r patches. */
  readonly pixelShuffle: number
  /** Images with fewer patches are scaled up; null: never. */
  readonly minPatches: number | null
  /** Images with more patches are scaled down. */
  readonly maxPatches: number
}

/** The bisection for a scale stops when its interval is shorter than this. */
const SCALE_TOLERANCE = 1e-5
/** The largest scale up: very small images (1×1) stay below the minimum. */
const MAX_SCALE_UP = 100

/**
 * The height and width in pixels to which an image of `height` × `width` is resized: both are multiples of
 * patchSize · pixelShuffle, rounded up, so the aspect ratio is kept only roughly.
 *
 * Outside [minPatches, maxPatches] a bisection looks for the smallest scale up that reaches the minimum, or the
 * largest scale down that keeps the maximum. Rounding up after scaling up may overshoot the maximum where the two
 * limits are close; the published checkpoints were trained with this rule, so it stays.
 *
 * @throws IsaacError `bad_input` for sizes or limits that are not positive integers
 */
export function targetSize(height: number, width: number, sizing: VisionSizing): { height: number; width: number } {
  checkSizing(height, width, sizing)
  const { patchSize, pixelShuffle, minPatches, maxPatches } = sizing
  const unit = patchSize * pixelShuffle
  const roundUp = (side: number) => Math.max(unit, Math.ceil(side / unit) * unit)
  const at = (scale: number) => ({ height: roundUp(scale * height), width: roundUp(scale * width) })
  const patches = (size: { height: number; width: number }) => (size.height / patchSize) * (size.width / patchSize)

  const unscaled = at(1)
  if (minPatches !== null && patches(unscaled) < minPatches) {
    const [, high] = bisect(1, MAX_SCALE_UP, (scale) => patches(at(scale)) < minPatches)
    return at(high)
  }
  if (patches(unscaled) > maxPatches) {
    const [low] = bisect(SCALE_TOLERANCE / 10, 1, (scale) => patches(at(scale)) <= maxPatches)
    return at(low)
  }
  return unscaled
}

/** Halves [low, high] until it is shorter than the tolerance; `below(scale)` says that the border is higher up. */
function bisect(low: number, high: number, below: (scale: number) => boolean): [low: number, high: number] {
  while (high - low >= SCALE_TOLERANCE) {
    const middle = (low + high) / 2
    if (below(middle)) low = middle
    else high = middle
  }
  return [low, high]
}

function checkSizing(height: number, width: number, sizing: VisionSizing): void {
  const positive = (value: number) => Number.isInteger(value) && value > 0
  if (!positive(height) || !positive(width)) {
    throw new IsaacError("bad_input", `An image of ${width}×${height} pixels has no size; both must be 1 or more.`)
  }
  const { patchSize, pixelShuffle, minPatches, maxPatches } = sizing
  if (![patchSize, pixelShuffle, maxPatches].every(positive) || (minPatches !== null && minPatches < 0)) {
    throw new IsaacError(
      "bad_input",
      `Patch size ${patchSize}, pixel shuffle ${pixelShuffle} and at most ${maxPatches} patches must be positive ` +
        `integers (at least ${minPatches} patches: 0 or more).`,
    )
  }
}
