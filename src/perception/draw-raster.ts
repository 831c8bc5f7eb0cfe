/** Draws answers onto pixels, with smooth edges. Plain arithmetic on RGBA bytes: it runs wherever JavaScript does. */

import type { RgbImage } from "../processor/rgb-image"
import {
  CELL_HEIGHT,
  CELL_WIDTH,
  DOT,
  type Drawing,
  type DrawOptions,
  LINE_WIDTH,
  layoutDrawing,
  type Plate,
  POINT_RADIUS,
  RIM_WIDTH,
  type Shape,
} from "./draw-layout"
import type { PixelLeaf } from "./geometry"
import { type Colour, textColour } from "./label-colour"
import { GLYPH_HEIGHT, GLYPH_WIDTH, glyphDot } from "./label-font"

/** Pixels with alpha (as canvas ImageData has them): data is [height, width, 4], row-major. */
export interface RgbaImage {
  readonly width: number
  readonly height: number
  readonly data: Uint8ClampedArray
}

const BLACK: Colour = { r: 0, g: 0, b: 0 }
const WHITE: Colour = { r: 255, g: 255, b: 255 }
const RIM_OPACITY = 0.6
const POLYGON_OPACITY = 0.2

/**
 * The picture with boxes, points, polygons and their labels. Small pictures are enlarged (see DrawOptions.minSide);
 * the given pixels are not changed.
 */
export function drawRaster(picture: RgbImage, leaves: readonly PixelLeaf[], options: DrawOptions = {}): RgbaImage {
  const drawing = layoutDrawing(leaves, picture, options)
  const canvas = new Canvas(enlarge(picture, drawing.width, drawing.height))
  for (const shape of drawing.shapes) drawShape(canvas, shape, drawing)
  // Labels last, so that no line runs through a word.
  for (const { plate, colour } of drawing.shapes) if (plate) drawPlate(canvas, plate, colour, drawing.unit)
  return canvas.image
}

function drawShape(canvas: Canvas, { type, corners, colour }: Shape, { unit }: Drawing): void {
  const rim = RIM_WIDTH * unit
  if (type === "point") {
    const [center] = corners
    const dot = [[center, center]] as const
    canvas.strokeSegments(dot, (POINT_RADIUS + 1.5) * unit + rim, BLACK, RIM_OPACITY)
    canvas.strokeSegments(dot, (POINT_RADIUS + 1.5) * unit, WHITE, 1)
    canvas.strokeSegments(dot, POINT_RADIUS * unit, colour, 1)
    return
  }
  if (type === "polygon") canvas.fillPolygon(corners, colour, POLYGON_OPACITY)
  const segments = corners.map((corner, i) => [corner, corners[(i + 1) % corners.length]] as const)
  canvas.strokeSegments(segments, (LINE_WIDTH / 2) * unit + rim, BLACK, RIM_OPACITY)
  canvas.strokeSegments(segments, (LINE_WIDTH / 2) * unit, colour, 1)
}

function drawPlate(canvas: Canvas, plate: Plate, colour: Colour, unit: number): void {
  canvas.fillRectangle(plate.x, plate.y, plate.width, plate.height, colour)
  const dot = DOT * unit
  const characters = [...plate.text]
  const left = plate.x + (plate.width - (characters.length * CELL_WIDTH - 1) * dot) / 2
  // Glyphs have two rows below the line, which most words leave empty: half a row lower looks centred.
  const top = plate.y + (plate.height - CELL_HEIGHT * dot) / 2 + dot / 2
  characters.forEach((character, i) => {
    canvas.drawGlyph(character, left + i * CELL_WIDTH * dot, top, dot, textColour(colour))
  })
}

type Corner = readonly [x: number, y: number]
type Segment = readonly [from: Corner, to: Corner]

/** RGBA pixels to draw on. Positions are continuous: pixel (i, j) covers i … i+1, j … j+1. */
class Canvas {
  /** How much of each pixel the shape being drawn covers, 0 … 255; all 0 between two shapes. */
  private readonly coverage: Uint8Array

  constructor(readonly image: RgbaImage) {
    this.coverage = new Uint8Array(image.width * image.height)
  }

  /**
   * All points within `radius` of a segment: lines with round ends and corners, or a disc for a segment of length 0.
   * Where segments meet, pixels are covered once.
   */
  strokeSegments(segments: readonly Segment[], radius: number, colour: Colour, opacity: number): void {
    for (const segment of segments) {
      this.eachPixelNear(segment, radius, (index, distance) => {
        const covered = 255 * clamp(radius + 0.5 - distance, 0, 1)
        if (covered > this.coverage[index]) this.coverage[index] = covered
      })
    }
    for (const segment of segments) {
      this.eachPixelNear(segment, radius, (index) => {
        this.blend(index, colour, (opacity * this.coverage[index]) / 255)
        this.coverage[index] = 0
      })
    }
  }

  /** The inside of a polygon by the even-odd rule, without smooth edges: a line goes over them. */
  fillPolygon(corners: readonly Corner[], colour: Colour, opacity: number): void {
    const { width, height } = this.image
    const ys = corners.map(([, y]) => y)
    const [first, last] = [Math.max(0, Math.floor(Math.min(...ys))), Math.min(height, Math.ceil(Math.max(...ys)))]
    for (let row = first; row < last; row++) {
      const y = row + 0.5
      const crossings: number[] = []
      corners.forEach(([x1, y1], i) => {
        const [x2, y2] = corners[(i + 1) % corners.length]
        if (y1 <= y !== y2 <= y) crossings.push(x1 + ((y - y1) / (y2 - y1)) * (x2 - x1))
      })
      crossings.sort((a, b) => a - b)
      for (let i = 0; i + 1 < crossings.length; i += 2) {
        const [from, to] = [Math.max(0, Math.round(crossings[i])), Math.min(width, Math.round(crossings[i + 1]))]
        for (let column = from; column < to; column++) this.blend(row * width + column, colour, opacity)
      }
    }
  }

  /** A filled rectangle at whole pixels. */
  fillRectangle(x: number, y: number, width: number, height: number, colour: Colour): void {
    for (let row = Math.max(0, y); row < Math.min(this.image.height, y + height); row++) {
      for (let column = Math.max(0, x); column < Math.min(this.image.width, x + width); column++) {
        this.blend(row * this.image.width + column, colour, 1)
      }
    }
  }

  /**
   * One character, `dot` pixels a dot. Between the dots' centres the glyph is interpolated and cut a little below one
   * half, which rounds ends and turns diagonal steps into slanted strokes.
   */
  drawGlyph(character: string, left: number, top: number, dot: number, colour: Colour): void {
    const { width, height } = this.image
    for (let row = Math.max(0, Math.floor(top - dot)); row < Math.min(height, top + (GLYPH_HEIGHT + 1) * dot); row++) {
      for (
        let column = Math.max(0, Math.floor(left - dot));
        column < Math.min(width, left + (GLYPH_WIDTH + 1) * dot);
        column++
      ) {
        const x = (column + 0.5 - left) / dot - 0.5
        const y = (row + 0.5 - top) / dot - 0.5
        const [x0, y0] = [Math.floor(x), Math.floor(y)]
        const [fx, fy] = [x - x0, y - y0]
        const upper = glyphDot(character, x0, y0) * (1 - fx) + glyphDot(character, x0 + 1, y0) * fx
        const lower = glyphDot(character, x0, y0 + 1) * (1 - fx) + glyphDot(character, x0 + 1, y0 + 1) * fx
        const value = upper * (1 - fy) + lower * fy
        const covered = clamp((value - 0.42) * dot + 0.5, 0, 1)
        if (covered > 0) this.blend(row * width + column, colour, covered)
      }
    }
  }

  /** Visits every pixel whose centre is within radius + 1/2 of the segment, row by row, with that distance. */
  private eachPixelNear(
    [[x1, y1], [x2, y2]]: Segment,
    radius: number,
    visit: (index: number, distance: number) => void,
  ) {
    const { width, height } = this.image
    const reach = radius + 0.5
    const [dx, dy] = [x2 - x1, y2 - y1]
    const squared = dx * dx + dy * dy
    const first = Math.max(0, Math.floor(Math.min(y1, y2) - reach))
    const last = Math.min(height, Math.ceil(Math.max(y1, y2) + reach))
    for (let row = first; row < last; row++) {
      const y = row + 0.5
      // Only the part of the segment that is near this row can be near its pixels.
      const a = dy === 0 ? 0 : clamp((y - reach - y1) / dy, 0, 1)
      const b = dy === 0 ? 1 : clamp((y + reach - y1) / dy, 0, 1)
      const xa = x1 + a * dx
      const xb = x1 + b * dx
      const from = Math.max(0, Math.floor(Math.min(xa, xb) - reach))
      const to = Math.min(width, Math.ceil(Math.max(xa, xb) + reach))
      for (let column = from; column < to; column++) {
        const x = column + 0.5
        const along = squared === 0 ? 0 : clamp(((x - x1) * dx + (y - y1) * dy) / squared, 0, 1)
        const awayX = x - x1 - along * dx
        const awayY = y - y1 - along * dy
        const distance = Math.sqrt(awayX * awayX + awayY * awayY)
        if (distance < reach) visit(row * width + column, distance)
      }
    }
  }

  private blend(index: number, { r, g, b }: Colour, opacity: number): void {
    if (opacity <= 0) return
    const { data } = this.image
    const at = index * 4
    data[at] += (r - data[at]) * opacity
    data[at + 1] += (g - data[at + 1]) * opacity
    data[at + 2] += (b - data[at + 2]) * opacity
  }
}

/** Bilinear, half-pixel centres; a copy where the size stays. */
function enlarge({ width, height, data }: RgbImage, toWidth: number, toHeight: number): RgbaImage {
  const out = new Uint8ClampedArray(toWidth * toHeight * 4)
  if (width === toWidth && height === toHeight) {
    for (let from = 0, to = 0; to < out.length; from += 3, to += 4) {
      out[to] = data[from]
      out[to + 1] = data[from + 1]
      out[to + 2] = data[from + 2]
      out[to + 3] = 255
    }
    return { width, height, data: out }
  }
  const columns = sources(width, toWidth)
  const rows = sources(height, toHeight)
  let at = 0
  for (const [y0, y1, fy] of rows) {
    for (const [x0, x1, fx] of columns) {
      for (let channel = 0; channel < 3; channel++) {
        const pixel = (x: number, y: number) => data[(y * width + x) * 3 + channel]
        const upper = pixel(x0, y0) * (1 - fx) + pixel(x1, y0) * fx
        out[at++] = upper + (pixel(x0, y1) * (1 - fx) + pixel(x1, y1) * fx - upper) * fy
      }
      out[at++] = 255
    }
  }
  return { width: toWidth, height: toHeight, data: out }
}

/** For each target position: the two source positions and the weight of the second. */
function sources(from: number, to: number): [first: number, second: number, weight: number][] {
  return Array.from({ length: to }, (_, i) => {
    const position = clamp(((i + 0.5) * from) / to - 0.5, 0, from - 1)
    const first = Math.floor(position)
    return [first, Math.min(first + 1, from - 1), position - first]
  })
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high)
}
