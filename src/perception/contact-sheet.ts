/** Many pictures with what was found in them on one sheet, small, with a line of text under each. */

import { IsaacError, shown } from "../errors"
import { checkPixelCount, MAX_PIXELS, type RawPixels } from "../processor/rgb-image"
import { Canvas, type RgbaImage } from "./draw-canvas"
import { CELL_HEIGHT, CELL_WIDTH } from "./draw-layout"
import { drawLayout } from "./draw-raster"
import type { PictureSize, PixelLeaf } from "./geometry"
import { type Colour, textColour, WHITE } from "./label-colour"
import { cutToCells, foldToFont, oneLine } from "./label-text"

export interface ContactTile {
  /** RGB or RGBA. */
  readonly picture: RawPixels
  /** In pixels of the picture; all are drawn, whatever index of a picture they have. */
  readonly leaves: readonly PixelLeaf[]
  /** One line under the picture, cut to its width. */
  readonly caption?: string
  /** What should have been found, drawn as thin dashed outlines (see DrawOptions.expected). */
  readonly expected?: readonly PixelLeaf[]
}

export interface ContactSheetOptions {
  /** Tiles in a row. Default: as many as make a sheet about as wide as it is high. */
  readonly columns?: number
  /** The longer side of each picture on the sheet. Default 320, less where there are more than a hundred tiles. */
  readonly tileSize?: number
  /** A line above the tiles. */
  readonly title?: string
  /** Between the tiles. Default white. */
  readonly background?: Colour
}

/** Pixels a dot of the font, around tiles, and the height of a line of text. */
const TITLE_DOT = 3
const CAPTION_DOT = 1.5
const GAP = 12
const lineHeight = (dot: number) => Math.ceil(CELL_HEIGHT * dot) + 8
/** Lines and labels are finer than in a drawing that stands alone: three quarters at the usual size, never below half. */
const tileUnit = (tileSize: number) => Math.min(Math.max(tileSize / 430, 0.5), 0.75)
const SMALLEST_TILE = 16

/**
 * The sheet, opaque. Pictures keep their shape, are enlarged or made smaller to `tileSize`, and stand in rows in the order
 * they are given.
 *
 * @throws IsaacError `bad_input` for no tiles, options that are no numbers of that kind, or a sheet of more pixels than any
 *   picture may have; `bad_image` for pixels that do not fit their size
 */
export function contactSheet(tiles: readonly ContactTile[], options: ContactSheetOptions = {}): RgbaImage {
  if (!Array.isArray(tiles)) throw new IsaacError("bad_input", `tiles must be an array, not ${shown(tiles)}`)
  if (tiles.length === 0) throw new IsaacError("bad_input", "a contact sheet of no pictures: give it at least one tile")
  tiles.forEach((tile: Partial<ContactTile> | null | undefined, i) => {
    if (typeof tile?.picture !== "object" || tile.picture === null || !Array.isArray(tile.leaves)) {
      throw new IsaacError("bad_input", `tile ${i} of a contact sheet needs picture and leaves, but is ${shown(tile)}`)
    }
    checkPixelCount(tile.picture.width, tile.picture.height, `the picture of tile ${i}`)
  })
  const columns = wholeNumber("columns", options.columns, 1) ?? Math.ceil(Math.sqrt(tiles.length))
  const tileSize =
    wholeNumber("tileSize", options.tileSize, SMALLEST_TILE) ??
    Math.max(64, Math.round(320 / Math.max(1, Math.sqrt(tiles.length / 100))))
  const { background = WHITE } = options
  const across = Math.min(columns, tiles.length)
  const sizes = tiles.map(({ picture }) => fit(picture, tileSize))
  const rows = rowsOf(tiles, sizes, across, options.title === undefined ? GAP : GAP + lineHeight(TITLE_DOT) + GAP)
  const width = across * (tileSize + GAP) + GAP
  const height = rows.bottom
  if (width * height > MAX_PIXELS) {
    throw new IsaacError(
      "bad_input",
      `a contact sheet of ${tiles.length} tiles of ${tileSize} pixels is ${width}×${height} pixels; ` +
        `at most ${MAX_PIXELS / 1e6} megapixels are drawn. Choose a smaller tileSize, or make several sheets.`,
    )
  }
  const ink = textColour(background)
  const canvas = new Canvas({ width, height, data: new Uint8ClampedArray(width * height * 4) })
  canvas.fillRectangle(0, 0, width, height, background)
  if (options.title !== undefined) writeLine(canvas, options.title, GAP, GAP, width - 2 * GAP, TITLE_DOT, ink)
  tiles.forEach(({ picture, leaves, expected, caption }, i) => {
    const { top, captionTop } = rows.places[i]
    const left = GAP + (i % across) * (tileSize + GAP)
    const drawn = drawLayout(picture, here(leaves), {
      expected: here(expected ?? []),
      size: sizes[i],
      unit: tileUnit(tileSize),
    })
    paste(canvas.image, drawn, left + Math.floor((tileSize - drawn.width) / 2), top)
    if (caption !== undefined) writeLine(canvas, caption, left, captionTop, tileSize, CAPTION_DOT, ink)
  })
  return canvas.image
}

/** Whole pixels, at least one a side, the longer one `tileSize`. */
function fit({ width, height }: PictureSize, tileSize: number): PictureSize {
  const scale = tileSize / Math.max(width, height)
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) }
}

/** A row is as high as its highest picture, and has room for captions if one of its tiles has one. */
function rowsOf(tiles: readonly ContactTile[], sizes: readonly PictureSize[], across: number, firstTop: number) {
  const places: { readonly top: number; readonly captionTop: number }[] = []
  let top = firstTop
  for (let first = 0; first < tiles.length; first += across) {
    const row = sizes.slice(first, first + across)
    const highest = Math.max(...row.map(({ height }) => height))
    for (const { height } of row) {
      places.push({ top: top + Math.floor((highest - height) / 2), captionTop: top + highest + 2 })
    }
    const captions = tiles.slice(first, first + across).some(({ caption }) => caption !== undefined)
    top += highest + (captions ? lineHeight(CAPTION_DOT) : 0) + GAP
  }
  return { places, bottom: top }
}

function here(leaves: readonly PixelLeaf[]): readonly PixelLeaf[] {
  return leaves.map((leaf) => ({ ...leaf, image: 0 }))
}

function writeLine(canvas: Canvas, text: string, x: number, y: number, width: number, dot: number, ink: Colour): void {
  const cells = Math.floor(width / (CELL_WIDTH * dot))
  canvas.drawText(cutToCells(foldToFont(oneLine(text)), cells), x, y + 4, dot, ink)
}

/** One image into another, over what is there. */
function paste(onto: RgbaImage, { width, height, data }: RgbaImage, left: number, top: number): void {
  for (let y = 0, from = 0; y < height; y++) {
    let to = ((top + y) * onto.width + left) * 4
    for (let x = 0; x < width; x++, from += 4, to += 4) {
      const alpha = data[from + 3] / 255
      for (let channel = 0; channel < 3; channel++) {
        onto.data[to + channel] += (data[from + channel] - onto.data[to + channel]) * alpha
      }
    }
  }
}

function wholeNumber(name: string, value: number | undefined, least: number): number | undefined {
  if (value === undefined || (Number.isSafeInteger(value) && value >= least)) return value
  throw new IsaacError(
    "bad_input",
    `${name} of a contact sheet is a whole number of ${least} or more, not ${shown(value)}`,
  )
}
