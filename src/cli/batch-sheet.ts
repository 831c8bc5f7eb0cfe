/** `--sheet`: the pictures of a batch with what was found in them, small, a hundred to a sheet. */

import { basename, extname, resolve } from "node:path"
import type { PixelLeaf } from "../index"
import { type ContactTile, contactSheet, isIsaacError, type RgbImage, resample, writeImage } from "../internal"

/** An answer as its line has it. */
export interface SheetEntry {
  readonly image: string
  readonly pixels: readonly PixelLeaf[]
  /** What stands under the picture beside its name. */
  readonly words: string
}

export interface SheetOptions {
  readonly title: string
  read(image: string): Promise<RgbImage>
  readonly onProgress: (done: number, total: number) => void
  readonly signal: AbortSignal
}

const PER_SHEET = 100
/** Longer side of a picture on a sheet, in pixels. */
const SIDE = 320

/**
 * Write them: `sheet.png`, then `sheet-2.png`, … Pictures that cannot be read any more are left out.
 *
 * Throws io, and the signal's reason.
 */
export async function drawSheets(file: string, entries: readonly SheetEntry[], options: SheetOptions): Promise<void> {
  const sheets = Math.ceil(entries.length / PER_SHEET)
  for (let sheet = 0; sheet < sheets; sheet++) {
    const first = sheet * PER_SHEET
    const tiles: ContactTile[] = []
    for (const [i, entry] of entries.slice(first, first + PER_SHEET).entries()) {
      options.signal.throwIfAborted()
      options.onProgress(first + i, entries.length)
      const tile = await tileOf(entry, options)
      if (tile) tiles.push(tile)
    }
    const title = `${options.title}${sheets > 1 ? `, ${sheet + 1} of ${sheets}` : ""}`
    if (tiles.length > 0) await writeImage(sheetName(file, sheet + 1), contactSheet(tiles, { title, tileSize: SIDE }))
  }
}

/** It may have been written here before: the sheet, or a further one. */
export function isSheet(path: string, file: string): boolean {
  const [whole, first] = [resolve(path), resolve(file)]
  return whole === first || whole.replace(/-\d+(?=\.\w+$)/, "-2") === sheetName(first, 2)
}

/** Which sheet of several it is: sheet.png, sheet-2.png, … */
function sheetName(file: string, number: number): string {
  const ending = extname(file)
  return number === 1 ? file : `${file.slice(0, -ending.length)}-${number}${ending}`
}

/** Of a large picture only as much is kept as the sheet shows. */
async function tileOf({ image, pixels, words }: SheetEntry, options: SheetOptions): Promise<ContactTile | undefined> {
  let picture: RgbImage
  try {
    picture = await options.read(image)
  } catch (error) {
    if (options.signal.aborted || !isIsaacError(error)) throw error
    return undefined
  }
  const scale = Math.min(1, SIDE / Math.max(picture.width, picture.height))
  const size = (pixels: number) => Math.max(1, Math.round(pixels * scale))
  const [width, height] = [size(picture.width), size(picture.height)]
  const [x, y] = [width / picture.width, height / picture.height]
  return {
    picture: scale === 1 ? picture : resample(picture, { width, height }),
    leaves: pixels.map((leaf) => scaled(leaf, x, y)),
    caption: `${basename(image)}${words === "" ? "" : `: ${words}`}`,
  }
}

function scaled(leaf: PixelLeaf, x: number, y: number): PixelLeaf {
  switch (leaf.type) {
    case "point":
      return { ...leaf, x: leaf.x * x, y: leaf.y * y }
    case "box":
      return { ...leaf, x1: leaf.x1 * x, y1: leaf.y1 * y, x2: leaf.x2 * x, y2: leaf.y2 * y }
    case "polygon":
      return { ...leaf, points: leaf.points.map(([px, py]) => [px * x, py * y] as const) }
  }
}
