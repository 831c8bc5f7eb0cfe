/**
 * What a COCO `segmentation` covers: polygons [[x1, y1, x2, y2, …], …] in pixels, or runs of pixels, down each column and
 * column by column, first outside then inside by turns: {size: [height, width], counts: [3, 5, …]}. The counts may also
 * be a text, as pycocotools compresses them: five bits a character from "0" on, little end first, the sixth bit saying
 * that more follow, each count from the fourth on less the one two before it.
 */

import { IsaacError, shown } from "../errors"

export type Segmentation = readonly (readonly number[])[] | RunLengths

export interface RunLengths {
  readonly size: readonly [height: number, width: number]
  readonly counts: readonly number[] | string
}

export type Polygon = readonly (readonly [x: number, y: number])[]

/** Something that covers points of a picture; (x, y) in pixels, the origin at the upper left corner of the first pixel. */
export type Mask = (x: number, y: number) => boolean

/** Throws bad_input for counts that are no counts or do not add up to the size. */
export function maskOf(segmentation: Segmentation): Mask {
  if (!("counts" in segmentation)) {
    const polygons = polygonsOf(segmentation)
    return (x, y) => polygons.some((polygon) => insidePolygon(polygon, x, y))
  }
  const [height, width] = segmentation.size
  // Where each run ends.
  let end = 0
  const ends = runsOf(segmentation).map((length) => {
    end += length
    return end
  })
  return (x, y) => {
    // A point on the right or lower edge belongs to the last pixel.
    const [column, row] = [Math.min(Math.floor(x), width - 1), Math.min(Math.floor(y), height - 1)]
    if (!(x >= 0 && y >= 0 && x <= width && y <= height)) return false
    const at = column * height + row
    let [low, high] = [0, ends.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if (ends[middle] > at) high = middle
      else low = middle + 1
    }
    return low % 2 === 1
  }
}

/** Corners in pairs. */
export function polygonsOf(segmentation: readonly (readonly number[])[]): Polygon[] {
  return segmentation.map((flat) =>
    Array.from({ length: flat.length >> 1 }, (_, i) => [flat[2 * i], flat[2 * i + 1]] as const),
  )
}

/** Inside or on the border; where the border crosses itself, by the even-odd rule. */
export function insidePolygon(polygon: Polygon, x: number, y: number): boolean {
  let inside = false
  for (let i = 0; i < polygon.length; i++) {
    const [x1, y1] = polygon[i]
    const [x2, y2] = polygon[(i + 1) % polygon.length]
    const within = Math.min(x1, x2) <= x && x <= Math.max(x1, x2) && Math.min(y1, y2) <= y && y <= Math.max(y1, y2)
    if (within && (x2 - x1) * (y - y1) === (y2 - y1) * (x - x1)) return true
    if (y1 > y !== y2 > y && x < x1 + ((y - y1) * (x2 - x1)) / (y2 - y1)) inside = !inside
  }
  return inside
}

/** Lengths of the runs, outside first. Throws bad_input. */
export function runsOf({ size, counts }: RunLengths): number[] {
  const runs = typeof counts === "string" ? decompress(counts) : [...counts]
  const pixels = size[0] * size[1]
  const total = runs.reduce((sum, length) => sum + length, 0)
  if (runs.some((length) => !Number.isSafeInteger(length) || length < 0) || total !== pixels) {
    throw new IsaacError(
      "bad_input",
      `a mask of ${size[1]}×${size[0]} has ${pixels} pixels, but its runs ${shown(runs)} ` +
        (total === pixels ? "are no counts" : `add up to ${total}`),
    )
  }
  return runs
}

function decompress(text: string): number[] {
  const runs: number[] = []
  for (let at = 0; at < text.length; ) {
    let value = 0
    for (let shift = 0; ; shift += 5) {
      const bits = text.charCodeAt(at++) - 48
      if (!(bits >= 0 && bits < 64) || shift > 30) {
        throw new IsaacError("bad_input", `the counts ${shown(text)} of a mask are damaged at character ${at}`)
      }
      value |= (bits & 0x1f) << shift
      if (bits & 0x20) continue
      if (bits & 0x10 && shift < 27) value |= -1 << (shift + 5)
      break
    }
    runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value)
  }
  return runs
}
