/** Where the parts of a drawing go, for SVG and pixels alike: scale, line widths, corners, label plates, colours. */

import { IsaacError, shown } from "../errors"
import type { PictureSize, PixelLeaf } from "./geometry"
import { type Colour, labelColour } from "./label-colour"
import { cutToCells, oneLine, textCells } from "./label-text"

/** How large a drawing is, and what is on it. */
export interface DrawOptions {
  /** Draw what lies in the picture with this index only. Default 0. */
  readonly image?: number
  /**
   * Enlarge smaller pictures until their longer side has so many pixels, so that labels can be read; 0 keeps every
   * picture at its own size. Default 640.
   */
  readonly minSide?: number
  /** Make larger pictures smaller until their longer side has so many pixels. Default: they stay as they are. */
  readonly maxSide?: number
  /** What should have been found: thin dashed outlines in black and white, without labels, over everything else. */
  readonly expected?: readonly PixelLeaf[]
}

/** How a picture and its labels are set; for drawings that are part of something else. */
export interface LayoutOptions extends DrawOptions {
  /** The drawing's size, the picture's shape kept by the caller; instead of `minSide`. */
  readonly size?: PictureSize
  /** What lengths are multiples of. Default 1, and more in drawings of more than 800 pixels. */
  readonly unit?: number
  /** What is written for a label, in a font that lacks characters. Default: the label. */
  readonly spell?: (label: string) => string
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
  /** Without plates. */
  readonly expected: readonly Shape[]
}

/** In units. Text is set in cells of 6 × 9 dots (see label-font.ts), a dot being DOT units. */
export const LINE_WIDTH = 3
/** Around every line: white, then black. Whatever the picture is like there, one of the two stands out. */
export const WHITE_RIM = 1.25
export const BLACK_RIM = 1.25
export const RIM_OPACITY = 0.9
export const POINT_RADIUS = 6
export const EXPECTED_WIDTH = 2
export const EXPECTED_RIM = 1
export const EXPECTED_DASH = 6
export const EXPECTED_GAP = 4
export const POLYGON_OPACITY = 0.2
export const DOT = 2
export const CELL_WIDTH = 6
export const CELL_HEIGHT = 9
const PADDING = 5

/** Throws bad_input for leaves and options that are none: they come from files and from plain JavaScript. */
export function layoutDrawing(
  leaves: readonly PixelLeaf[],
  picture: PictureSize,
  options: LayoutOptions = {},
): Drawing {
  const { image = 0, minSide = 640, maxSide = Number.POSITIVE_INFINITY, expected = [] } = options
  const { spell = (label) => label } = options
  for (const [name, value] of [
    ["minSide", minSide],
    ["maxSide", maxSide],
  ] as const) {
    if (!(typeof value === "number" && value >= (name === "minSide" ? 0 : 1))) {
      throw new IsaacError("bad_input", `${name} of a drawing is a number of pixels, not ${shown(value)}`)
    }
  }
  checkLeaves("the leaves to draw", leaves)
  checkLeaves("expected", expected)
  const longer = Math.max(picture.width, picture.height)
  const scale = Math.min(Math.max(1, minSide / longer), maxSide / longer)
  const { width, height } = options.size ?? {
    width: Math.max(1, Math.round(picture.width * scale)),
    height: Math.max(1, Math.round(picture.height * scale)),
  }
  const unit = options.unit ?? Math.max(1, Math.max(width, height) / 800)
  const placed: Plate[] = []
  const shapeOf = (leaf: PixelLeaf): Shape => {
    const corners = cornersOf(leaf).map(
      ([x, y]) => [(x / picture.width) * width, (y / picture.height) * height] as const,
    )
    return { type: leaf.type, corners, colour: labelColour(leaf.mention ?? null), plate: null }
  }
  // Annotations of one's own name no picture: the first is meant.
  const here = (leaf: Partial<PixelLeaf>) => (leaf.image ?? 0) === image
  const drawn = leaves.filter(here)
  const outlines = drawn.map(shapeOf)
  const areas = outlines.map(({ corners, type }) => areaOf(corners, rimOf(type) * unit))
  const shapes = outlines.map((shape, i): Shape => {
    const others = areas.filter((_, j) => j !== i)
    const plate = placePlate(spell(labelOf(drawn[i])), shape, areas[i], { width, height }, unit, placed, others)
    if (plate) placed.push(plate)
    return { ...shape, plate }
  })
  return { width, height, scale: width / picture.width, unit, shapes, expected: expected.filter(here).map(shapeOf) }
}

function checkLeaves(what: string, leaves: readonly PixelLeaf[]): void {
  if (!Array.isArray(leaves)) {
    throw new IsaacError("bad_input", `${what} must be an array, such as pixels of an answer, not ${shown(leaves)}`)
  }
  leaves.forEach((leaf: PixelLeaf | null | undefined, i) => {
    if (leaf?.type !== "point" && leaf?.type !== "box" && !(leaf?.type === "polygon" && Array.isArray(leaf.points))) {
      throw new IsaacError("bad_input", `${what}: entry ${i} is no point, box or polygon but ${shown(leaf)}`)
    }
    const corners: readonly unknown[] = cornersOf(leaf)
    const isCorner = (corner: unknown) =>
      Array.isArray(corner) && corner.length === 2 && corner.every((value) => Number.isFinite(value))
    if (corners.length === 0 || !corners.every(isCorner)) {
      throw new IsaacError("bad_input", `${what}: the ${leaf.type} at ${i} has corners that are no numbers`)
    }
    if (typeof (leaf.mention ?? "") !== "string") {
      throw new IsaacError("bad_input", `${what}: the ${leaf.type} at ${i} has the mention ${shown(leaf.mention)}`)
    }
  })
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

/** Mention and time on one line. */
function labelOf({ mention, t }: PixelLeaf): string {
  const words = oneLine(mention ?? "")
  return (t ?? null) === null ? words : `${words} @${t}s`.trim()
}

interface Area {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

/** How far a shape reaches beyond its corners, in units. */
function rimOf(type: Shape["type"]): number {
  return type === "point" ? POINT_RADIUS + 2 : LINE_WIDTH / 2
}

function areaOf(corners: Shape["corners"], rim: number): Area {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity]
  for (const [x, y] of corners) {
    left = Math.min(left, x)
    right = Math.max(right, x)
    top = Math.min(top, y)
    bottom = Math.max(bottom, y)
  }
  return { x: left - rim, y: top - rim, width: right - left + 2 * rim, height: bottom - top + 2 * rim }
}

/** Covering a label is so many times worse than covering as much of a shape. */
const LABEL_COST = 10

/**
 * The first place for a label, of those beside its shape, that is inside the picture and free; else, of those inside,
 * the one that covers the least of other labels, and then of other shapes.
 */
function placePlate(
  label: string,
  { type }: Shape,
  area: Area,
  picture: PictureSize,
  unit: number,
  placed: readonly Plate[],
  others: readonly Area[],
): Plate | null {
  if (label === "") return null
  const dot = DOT * unit
  const padding = PADDING * unit
  const text = cutToCells(label, Math.floor((picture.width - 2 * padding) / (CELL_WIDTH * dot)))
  const width = (textCells(text) * CELL_WIDTH - 1) * dot + 2 * padding
  const height = CELL_HEIGHT * dot + padding
  const [left, right, top, bottom] = [area.x, area.x + area.width, area.y, area.y + area.height]
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
    LABEL_COST * placed.reduce((sum, other) => sum + overlap(inside[i], other), 0) +
    others.reduce((sum, other) => sum + overlap(inside[i], other), 0) +
    (moved(i) ? height : 0)
  const costs = inside.map((_, i) => cost(i))
  return inside[costs.indexOf(Math.min(...costs))]
}

/** What two areas share, in square pixels. */
function overlap(a: Area, b: Area): number {
  const width = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x)
  const height = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y)
  return width > 0 && height > 0 ? width * height : 0
}
