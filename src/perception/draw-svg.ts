/** Draws answers as SVG over the embedded or linked picture. */

import {
  BLACK_RIM,
  CELL_WIDTH,
  DOT,
  type DrawOptions,
  EXPECTED_DASH,
  EXPECTED_GAP,
  EXPECTED_RIM,
  EXPECTED_WIDTH,
  LINE_WIDTH,
  layoutDrawing,
  POINT_RADIUS,
  POLYGON_OPACITY,
  RIM_OPACITY,
  WHITE_RIM,
} from "./draw-layout"
import type { PixelLeaf } from "./geometry"
import { escapeHtml } from "./html-escape"
import { hexColour, textColour } from "./label-colour"
import { textCells } from "./label-text"

/** A picture for an SVG: its size, and where it is: a link, or a data URI made with `toDataUri`. */
export interface SvgPicture {
  readonly width: number
  readonly height: number
  readonly href: string
}

/**
 * An SVG of the picture with boxes, points, polygons and their labels.
 *
 * `picture` must be the upright picture: viewers disagree about the EXIF orientation of embedded files.
 */
export function drawSvg(picture: SvgPicture, leaves: readonly PixelLeaf[], options: DrawOptions = {}): string {
  const { width, height, unit, shapes, expected } = layoutDrawing(leaves, picture, options)
  const dark = `stroke="#000" stroke-opacity="${RIM_OPACITY}"`
  /** A line of that width in each of these strokes, from below. */
  const strokes = (element: string, widths: readonly (readonly [stroke: string, width: number])[]) =>
    widths.map(([stroke, wide]) => `${element} fill="none" ${stroke} stroke-width="${number(wide * unit)}"/>`).join("")
  const outlines = shapes.map(({ type, corners, colour }) => {
    const fill = hexColour(colour)
    if (type === "point") {
      const [[x, y]] = corners
      const at = `cx="${number(x)}" cy="${number(y)}"`
      const white = POINT_RADIUS + 2 * WHITE_RIM
      return (
        `<circle ${at} r="${number((white + BLACK_RIM) * unit)}" fill="#000" fill-opacity="${RIM_OPACITY}"/>` +
        `<circle ${at} r="${number(white * unit)}" fill="#fff"/>` +
        `<circle ${at} r="${number(POINT_RADIUS * unit)}" fill="${fill}"/>`
      )
    }
    const points = pointList(corners)
    const inside =
      type === "polygon"
        ? `<polygon ${points} fill="${fill}" fill-opacity="${POLYGON_OPACITY}" fill-rule="evenodd"/>`
        : ""
    const white = LINE_WIDTH + 2 * WHITE_RIM
    return (
      inside +
      strokes(`<polygon ${points}`, [
        [dark, white + 2 * BLACK_RIM],
        ['stroke="#fff"', white],
        [`stroke="${fill}"`, LINE_WIDTH],
      ])
    )
  })
  const dashed = `stroke="#fff" stroke-dasharray="${number(EXPECTED_DASH * unit)} ${number(EXPECTED_GAP * unit)}"`
  const wanted = expected.map(({ type, corners }) => {
    const element =
      type === "point"
        ? `<circle cx="${number(corners[0][0])}" cy="${number(corners[0][1])}" r="${number((POINT_RADIUS + 4) * unit)}"`
        : `<polygon ${pointList(corners)}`
    return strokes(element, [
      ['stroke="#000"', EXPECTED_WIDTH + 2 * EXPECTED_RIM],
      [type === "point" ? 'stroke="#fff"' : dashed, EXPECTED_WIDTH],
    ])
  })
  const labels = shapes.flatMap(({ plate, colour }) => {
    if (!plate) return []
    const dot = DOT * unit
    const length = ((textCells(plate.text) * CELL_WIDTH - 1) * dot).toFixed(1)
    return [
      `<rect x="${plate.x}" y="${plate.y}" width="${plate.width}" height="${plate.height}" fill="${hexColour(colour)}"/>` +
        `<text x="${plate.x + plate.width / 2}" y="${number(plate.y + plate.height / 2)}" textLength="${length}" ` +
        `lengthAdjust="spacingAndGlyphs" fill="${hexColour(textColour(colour))}">${xmlText(plate.text)}</text>`,
    ]
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">`,
    `<image width="${width}" height="${height}" preserveAspectRatio="none" href="${xmlText(picture.href)}"/>`,
    `<g stroke-linejoin="round">${[...outlines, ...wanted].join("\n")}</g>`,
    `<g font-family="ui-monospace, Menlo, Consolas, monospace" font-weight="600" font-size="${number(8 * DOT * unit)}" ` +
      `text-anchor="middle" dominant-baseline="central">${labels.join("\n")}</g>`,
    "</svg>",
    "",
  ].join("\n")
}

/** SVG's list of corners. */
function pointList(corners: readonly (readonly [number, number])[]): string {
  return `points="${corners.map(([x, y]) => `${number(x)},${number(y)}`).join(" ")}"`
}

/** The bytes of an image file as a data URI, its kind taken from its first bytes. */
export function toDataUri(bytes: Uint8Array): string {
  let binary = ""
  // Spreading all bytes at once would overflow the stack.
  for (let at = 0; at < bytes.length; at += 8192) binary += String.fromCharCode(...bytes.subarray(at, at + 8192))
  return `data:${mediaType(bytes)};base64,${btoa(binary)}`
}

function mediaType(bytes: Uint8Array): string {
  const starts = (text: string, at = 0) => [...text].every((c, i) => bytes[at + i] === c.charCodeAt(0))
  if (starts("\x89PNG")) return "image/png"
  if (starts("\xff\xd8\xff")) return "image/jpeg"
  if (starts("RIFF") && starts("WEBP", 8)) return "image/webp"
  if (starts("GIF8")) return "image/gif"
  if (starts("ftypavif", 4)) return "image/avif"
  return "application/octet-stream"
}

/** Text for XML: escaped, and without the characters that XML forbids even as references. */
function xmlText(text: string): string {
  const allowed = [...text].filter((character) => {
    const point = character.codePointAt(0)!
    if (point < 0x20) return point === 9 || point === 10 || point === 13
    return !(point >= 0xd800 && point < 0xe000) && point !== 0xfffe && point !== 0xffff
  })
  return escapeHtml(allowed.join(""))
}

/** At most two decimals. */
function number(value: number): string {
  return String(Math.round(value * 100) / 100)
}
