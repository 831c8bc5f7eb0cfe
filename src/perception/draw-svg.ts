/** Draws answers as SVG over the embedded or linked picture. */

import { CELL_WIDTH, DOT, type DrawOptions, LINE_WIDTH, layoutDrawing, POINT_RADIUS, RIM_WIDTH } from "./draw-layout"
import type { PixelLeaf } from "./geometry"
import { escapeHtml } from "./html-escape"
import { hexColour, textColour } from "./label-colour"

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
  const { width, height, unit, shapes } = layoutDrawing(leaves, picture, options)
  const line = LINE_WIDTH * unit
  const rim = RIM_WIDTH * unit
  const outlines = shapes.map(({ type, corners, colour }) => {
    const fill = hexColour(colour)
    if (type === "point") {
      const [[x, y]] = corners
      const at = `cx="${number(x)}" cy="${number(y)}"`
      const white = (POINT_RADIUS + 1.5) * unit
      return (
        `<circle ${at} r="${number(white + rim)}" fill="#000" fill-opacity="0.6"/>` +
        `<circle ${at} r="${number(white)}" fill="#fff"/><circle ${at} r="${number(POINT_RADIUS * unit)}" fill="${fill}"/>`
      )
    }
    const points = `points="${corners.map(([x, y]) => `${number(x)},${number(y)}`).join(" ")}"`
    const inside = type === "polygon" ? `fill="${fill}" fill-opacity="0.2" fill-rule="evenodd"` : 'fill="none"'
    return (
      `<polygon ${points} ${inside} stroke="#000" stroke-opacity="0.6" stroke-width="${number(line + 2 * rim)}"/>` +
      `<polygon ${points} fill="none" stroke="${fill}" stroke-width="${number(line)}"/>`
    )
  })
  const labels = shapes.flatMap(({ plate, colour }) => {
    if (!plate) return []
    const dot = DOT * unit
    const length = (([...plate.text].length * CELL_WIDTH - 1) * dot).toFixed(1)
    return [
      `<rect x="${plate.x}" y="${plate.y}" width="${plate.width}" height="${plate.height}" fill="${hexColour(colour)}"/>` +
        `<text x="${plate.x + plate.width / 2}" y="${number(plate.y + plate.height / 2)}" textLength="${length}" ` +
        `lengthAdjust="spacingAndGlyphs" fill="${hexColour(textColour(colour))}">${xmlText(plate.text)}</text>`,
    ]
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">`,
    `<image width="${width}" height="${height}" preserveAspectRatio="none" href="${xmlText(picture.href)}"/>`,
    `<g stroke-linejoin="round">${outlines.join("\n")}</g>`,
    `<g font-family="ui-monospace, Menlo, Consolas, monospace" font-weight="600" font-size="${number(8 * DOT * unit)}" ` +
      `text-anchor="middle" dominant-baseline="central">${labels.join("\n")}</g>`,
    "</svg>",
    "",
  ].join("\n")
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
