/** Where the parts of a drawing go, for SVG and pixels alike: scale, line widths, corners, label plates, colours. */

import type { PictureSize, PixelLeaf } from "./geometry"
import { type Colour, labelColour } from "./label-colour"

export interface DrawOptions {
  /** Draw what lies in the picture with this index only. Default 0. */
  readonly image?: number
  /** Enlarge smaller pictures until their longer side has so many pixels, so that labels can be read. Default 640. */
  readonly minSide?: number
}

/** A label on its plate: the plate's upper left corner and size. */
export interface Plate {
  readonly text: string
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

export interface Shape {
  readonly type: PixelLeaf["type"]
  /** The point; or the corners, the last joined to the first. */
  readonly corners: readonly (readonly [x: number, y: number])[]
  readonly colour: Colour
  readonly plate: Plate | null
}

/** A drawing in pixels of its own, `scale` times the picture's. */
export interface Drawing {
  readonly width: number
  readonly height: number
  readonly scale: number
  /** What lengths are multiples of: 1 in a drawing of up to 800 pixels, more in larger ones. */
  readonly unit: number
  readonly shapes: readonly Shape[]
}

/** In units. Text is set in cells of 6 × 9 dots (see label-font.ts), a dot being DOT units. */
export const LINE_WIDTH = 3.5
export const RIM_WIDTH = 1.25
export const POINT_RADIUS = 6
export const DOT = 2
export const CELL_WIDTH = 6
export const CELL_HEIGHT = 9
const PADDING = 5

export function layoutDrawing(leaves: readonly PixelLeaf[], size: PictureSize, options: DrawOptions = {}): Drawing {
  const { image = 0, minSide = 640 } = options
  const scale = Math.max(1, minSide / Math.max(size.width, size.height))
  const width = Math.round(size.width * scale)
  const height = Math.round(size.height * scale)
  const unit = Math.max(1, Math.max(width, height) / 800)
  const placed: Plate[] = []
  const shapes = leaves
    .filter((leaf) => leaf.image === image)
    .map((leaf): Shape => {
      const corners = cornersOf(leaf).map(([x, y]) => [(x / size.width) * width, (y / size.height) * height] as const)
      const plate = placePlate(labelOf(leaf), corners, leaf.type, { width, height }, unit, placed)
      if (plate) placed.push(plate)
      return { type: leaf.type, corners, colour: labelColour(leaf.mention), plate }
    })
  return { width, height, scale, unit, shapes }
}

function cornersOf(leaf: PixelLeaf): readonly (readonly [number, number])[] {
  if (leaf.type === "point") return [[leaf.x, leaf.y]]
  if (leaf.type === "polygon") return leaf.points
  const [left, right] = leaf.x1 < leaf.x2 ? [leaf.x1, leaf.x2] : [leaf.x2, leaf.x1]
  const [top, bottom] = leaf.y1 < leaf.y2 ? [leaf.y1, leaf.y2] : [leaf.y2, leaf.y1]
  return [
    [left, top],
    [right, top],
    [right, bottom],
    [left, bottom],
  ]
}

/** Mention and time on one line; control characters and runs of white space become one space. */
function labelOf({ mention, t }: PixelLeaf): string {
  const words = (mention ?? "").replace(/[\s\p{Cc}]+/gu, " ").trim()
  return t === null ? words : `${words} @${t}s`.trim()
}

/**
 * The first place for a label, of those beside its shape, that is inside the picture and free; else, of those inside,
 * the one that covers the least of other labels.
 */
function placePlate(
  label: string,
  corners: Shape["corners"],
  type: Shape["type"],
  picture: PictureSize,
  unit: number,
  placed: readonly Plate[],
): Plate | null {
  if (label === "") return null
  const dot = DOT * unit
  const padding = PADDING * unit
  const text = shorten(label, Math.floor((picture.width - 2 * padding) / (CELL_WIDTH * dot)))
  const width = ([...text].length * CELL_WIDTH - 1) * dot + 2 * padding
  const height = CELL_HEIGHT * dot + padding
  const xs = corners.map(([x]) => x)
  const ys = corners.map(([, y]) => y)
  const rim = (type === "point" ? POINT_RADIUS + 2 : LINE_WIDTH / 2) * unit
  const [left, right, top, bottom] = [
    Math.min(...xs) - rim,
    Math.max(...xs) + rim,
    Math.min(...ys) - rim,
    Math.max(...ys) + rim,
  ]
  const middle = (top + bottom - height) / 2
  const places =
    type === "point"
      ? [
          [right, middle],
          [left - width, middle],
          [(left + right - width) / 2, top - height],
          [(left + right - width) / 2, bottom],
        ]
      : [
          [left, top - height],
          [left, bottom],
          [right - width, top - height],
          [right - width, bottom],
          [left, top],
          [right, top],
          [left - width, top],
        ]
  const inside = places.map(([x, y]) => ({
    text,
    x: Math.round(Math.max(0, Math.min(x, picture.width - width))),
    y: Math.round(Math.max(0, Math.min(y, picture.height - height))),
    width: Math.round(width),
    height: Math.round(height),
  }))
  // A place that had to be moved into the picture comes after those that fit.
  const moved = (i: number) => Math.abs(inside[i].x - places[i][0]) + Math.abs(inside[i].y - places[i][1]) > 1.5
  const cost = (i: number) =>
    placed.reduce((sum, other) => sum + overlap(inside[i], other), 0) + (moved(i) ? height : 0)
  const costs = inside.map((_, i) => cost(i))
  return inside[costs.indexOf(Math.min(...costs))]
}

function shorten(label: string, cells: number): string {
  const characters = [...label]
  if (characters.length <= cells) return label
  return `${characters
    .slice(0, Math.max(1, cells - 3))
    .join("")
    .trimEnd()}...`
}

/** Area that two plates share. */
function overlap(a: Plate, b: Plate): number {
  const width = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x)
  const height = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y)
  return width > 0 && height > 0 ? width * height : 0
}
