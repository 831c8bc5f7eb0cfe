/** RGBA pixels to draw on, with smooth edges. Plain arithmetic: it runs wherever JavaScript does. */

import { CELL_WIDTH } from "./draw-layout"
import type { Colour } from "./label-colour"
import { GLYPH_HEIGHT, GLYPH_WIDTH, glyphDot } from "./label-font"
import { cellsOf } from "./label-text"

/** Pixels with alpha (as canvas ImageData has them): data is [height, width, 4], row-major. */
export interface RgbaImage {
  readonly width: number
  readonly height: number
  readonly data: Uint8ClampedArray
}

export type Corner = readonly [x: number, y: number]
export type Segment = readonly [from: Corner, to: Corner]

/** Positions are continuous: pixel (i, j) covers i … i+1, j … j+1. */
export class Canvas {
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
    let [top, bottom] = [height, 0]
    for (const [, y] of corners) {
      top = Math.min(top, y)
      bottom = Math.max(bottom, y)
    }
    const [first, last] = [Math.max(0, Math.floor(top)), Math.min(height, Math.ceil(bottom))]
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

  /** Text of `dot` pixels a dot, from its upper left corner; wide characters take two cells (see cellsOf). */
  drawText(text: string, left: number, top: number, dot: number, colour: Colour): void {
    let x = left
    for (const character of text) {
      const cells = cellsOf(character)
      // In the middle of its cells.
      if (cells > 0) this.drawGlyph(character, x + ((cells - 1) * CELL_WIDTH * dot) / 2, top, dot, colour)
      x += cells * CELL_WIDTH * dot
    }
  }

  /**
   * One character, `dot` pixels a dot. Between the dots' centres the glyph is interpolated and cut a little below one
   * half, which rounds ends and turns diagonal steps into slanted strokes.
   */
  private drawGlyph(character: string, left: number, top: number, dot: number, colour: Colour): void {
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

  /** Colour over what is there; over a transparent pixel the colour takes its place (Porter and Duff's "over"). */
  private blend(index: number, { r, g, b }: Colour, opacity: number): void {
    if (opacity <= 0) return
    const { data } = this.image
    const at = index * 4
    const alpha = opacity + (data[at + 3] / 255) * (1 - opacity)
    const share = opacity / alpha
    data[at] += (r - data[at]) * share
    data[at + 1] += (g - data[at + 1]) * share
    data[at + 2] += (b - data[at + 2]) * share
    data[at + 3] = alpha * 255
  }
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high)
}
