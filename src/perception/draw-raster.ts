/** Draws answers onto pixels. */

import { IsaacError } from "../errors"
import { checkPixelCount, MAX_PIXELS, type RawPixels, type RgbImage } from "../processor/rgb-image"
import { Canvas, type RgbaImage, type Segment } from "./draw-canvas"
import {
  BLACK_RIM,
  CELL_HEIGHT,
  CELL_WIDTH,
  DOT,
  type Drawing,
  type DrawOptions,
  EXPECTED_DASH,
  EXPECTED_GAP,
  EXPECTED_RIM,
  EXPECTED_WIDTH,
  type LayoutOptions,
  LINE_WIDTH,
  layoutDrawing,
  type Plate,
  POINT_RADIUS,
  POLYGON_OPACITY,
  RIM_OPACITY,
  type Shape,
  WHITE_RIM,
} from "./draw-layout"
import { resample } from "./draw-resample"
import type { PixelLeaf } from "./geometry"
import { BLACK, type Colour, textColour, WHITE } from "./label-colour"
import { foldToFont, textCells } from "./label-text"

export type { RgbaImage }

/**
 * The picture with boxes, points, polygons and their labels. Small pictures are enlarged (see DrawOptions.minSide);
 * the given pixels are not changed. Labels are set in ASCII: accents are left off, other scripts become boxes.
 */
export function drawRaster(picture: RgbImage, leaves: readonly PixelLeaf[], options: DrawOptions = {}): RgbaImage {
  return drawOnPixels(picture, leaves, options)
}

/**
 * Draws on pixels of RGB or RGBA, such as a canvas gives with `getImageData`, and returns new ones, which
 * `new ImageData(data, width, height)` takes; transparent parts stay transparent. `leaves` are in pixels of the picture,
 * as answers have them in `pixels`.
 *
 * @throws IsaacError `bad_image` when the data does not fit the size
 */
export function drawOnPixels(picture: RawPixels, leaves: readonly PixelLeaf[], options: DrawOptions = {}): RgbaImage {
  return drawLayout(picture, leaves, options)
}

/** The same with a size of the caller's. */
export function drawLayout(picture: RawPixels, leaves: readonly PixelLeaf[], options: LayoutOptions): RgbaImage {
  checkPixelCount(picture.width, picture.height, "the picture to draw on")
  const drawing = layoutDrawing(leaves, picture, { spell: foldToFont, ...options })
  const { width, height } = drawing
  if (width * height > MAX_PIXELS) {
    throw new IsaacError(
      "bad_input",
      `a drawing of ${width}×${height} pixels is too large (at most ${MAX_PIXELS / 1e6} megapixels); choose a smaller minSide`,
    )
  }
  const canvas = new Canvas(resample(picture, drawing))
  for (const shape of drawing.shapes) drawShape(canvas, shape, drawing)
  for (const shape of drawing.expected) drawExpected(canvas, shape, drawing)
  // Labels last, so that no line runs through a word.
  for (const { plate, colour } of drawing.shapes) if (plate) drawPlate(canvas, plate, colour, drawing.unit)
  return canvas.image
}

function drawShape(canvas: Canvas, { type, corners, colour }: Shape, { unit }: Drawing): void {
  if (type === "polygon") canvas.fillPolygon(corners, colour, POLYGON_OPACITY)
  const segments = outline(corners)
  const radius = (type === "point" ? POINT_RADIUS : LINE_WIDTH / 2) * unit
  // A disc has more room for its ring than a line.
  const white = radius + WHITE_RIM * unit * (type === "point" ? 2 : 1)
  canvas.strokeSegments(segments, white + BLACK_RIM * unit, BLACK, RIM_OPACITY)
  canvas.strokeSegments(segments, white, WHITE, 1)
  canvas.strokeSegments(segments, radius, colour, 1)
}

/** A ring for a point, dashes for the rest. */
function drawExpected(canvas: Canvas, { type, corners }: Shape, drawing: Drawing): void {
  // Finer dashes would be grey.
  const unit = Math.max(drawing.unit, 0.75)
  const lines = type === "point" ? outline(ring(corners[0], (POINT_RADIUS + 4) * unit)) : outline(corners)
  const radius = (EXPECTED_WIDTH / 2) * unit
  canvas.strokeSegments(lines, radius + EXPECTED_RIM * unit, BLACK, 1)
  canvas.strokeSegments(
    type === "point" ? lines : dashes(lines, EXPECTED_DASH * unit, EXPECTED_GAP * unit),
    radius,
    WHITE,
    1,
  )
}

/** The sides, the last corner joined to the first; a point for one corner. */
function outline(corners: Shape["corners"]): Segment[] {
  return corners.map((corner, i) => [corner, corners[(i + 1) % corners.length]] as const)
}

function ring([x, y]: Shape["corners"][number], radius: number): Shape["corners"] {
  return Array.from({ length: 32 }, (_, i) => {
    const angle = (i * Math.PI) / 16
    return [x + radius * Math.cos(angle), y + radius * Math.sin(angle)] as const
  })
}

/** Pieces of `dash` with `gap` between them, carried on around corners. Sides far outside are not cut: they cost time. */
function dashes(segments: readonly Segment[], dash: number, gap: number): Segment[] {
  const pieces: Segment[] = []
  let done = 0
  for (const [[x1, y1], [x2, y2]] of segments) {
    const length = Math.hypot(x2 - x1, y2 - y1)
    if (length > 100_000) continue
    const at = (along: number) => [x1 + ((x2 - x1) * along) / length, y1 + ((y2 - y1) * along) / length] as const
    for (let start = -(done % (dash + gap)); start < length; start += dash + gap) {
      const [from, to] = [Math.max(0, start), Math.min(length, start + dash)]
      if (to > from) pieces.push([at(from), at(to)])
    }
    done += length
  }
  return pieces
}

function drawPlate(canvas: Canvas, plate: Plate, colour: Colour, unit: number): void {
  canvas.fillRectangle(plate.x, plate.y, plate.width, plate.height, colour)
  const dot = DOT * unit
  const left = plate.x + (plate.width - (textCells(plate.text) * CELL_WIDTH - 1) * dot) / 2
  // Glyphs have two rows below the line, which most words leave empty: half a row lower looks centred.
  const top = plate.y + (plate.height - CELL_HEIGHT * dot) / 2 + dot / 2
  canvas.drawText(plate.text, left, top, dot, textColour(colour))
}
