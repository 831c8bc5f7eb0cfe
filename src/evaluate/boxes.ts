/** Boxes as COCO writes them, and how much two of them overlap. */

/** Left, top, width and height in pixels; the origin is the upper left corner of the upper left pixel. */
export type Box = readonly [x: number, y: number, width: number, height: number]

export function boxArea([, , width, height]: Box): number {
  return width * height
}

/**
 * Intersection over union, 0 … 1. A crowd (one box around many objects) is no single object: what counts is how much of
 * the found box lies in it, so the intersection is divided by the found box alone.
 */
export function boxIou(found: Box, truth: Box, crowd = false): number {
  const width = Math.min(found[0] + found[2], truth[0] + truth[2]) - Math.max(found[0], truth[0])
  const height = Math.min(found[1] + found[3], truth[1] + truth[3]) - Math.max(found[1], truth[1])
  if (!(width > 0 && height > 0)) return 0
  const both = width * height
  const all = crowd ? boxArea(found) : boxArea(found) + boxArea(truth) - both
  return both / all
}
