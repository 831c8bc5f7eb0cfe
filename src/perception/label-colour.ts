/** One colour per label: the same label has the same colour in every picture, on every machine. */

export interface Colour {
  readonly r: number
  readonly g: number
  readonly b: number
}

const HUES = 12
/** For what carries no label. */
const UNLABELLED = 5

/** A strong colour, bright enough to stand out from black once it has a dark rim, and from white by that rim. */
export function labelColour(label: string | null): Colour {
  const index = label === null ? UNLABELLED : hash(label.trim().toLowerCase()) % HUES
  const hue = (index * 360) / HUES
  // Blue and violet look darker than they are, yellow and cyan brighter.
  const lightness = hue >= 220 && hue <= 290 ? 0.64 : hue >= 50 && hue <= 190 ? 0.45 : 0.54
  return fromHsl(hue, 0.9, lightness)
}

/** Black or white, whichever reads better on `colour` (luminance of WCAG 2, its break-even at about 0.18). */
export function textColour({ r, g, b }: Colour): Colour {
  const linear = (value: number) => (value <= 10 ? value / 3295 : ((value / 255 + 0.055) / 1.055) ** 2.4)
  const luminance = 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)
  const value = luminance > 0.18 ? 0 : 255
  return { r: value, g: value, b: value }
}

/** "#rrggbb" */
export function hexColour({ r, g, b }: Colour): string {
  return `#${[r, g, b].map((value) => value.toString(16).padStart(2, "0")).join("")}`
}

/** FNV-1a over UTF-16 units, stirred so that similar labels part. */
function hash(text: string): number {
  let value = 0x811c9dc5
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193)
  value = Math.imul(value ^ (value >>> 16), 0x21f0aaad)
  value = Math.imul(value ^ (value >>> 15), 0x735a2d97)
  return (value ^ (value >>> 15)) >>> 0
}

/** Hue in degrees, saturation and lightness 0 … 1. */
function fromHsl(hue: number, saturation: number, lightness: number): Colour {
  const reach = saturation * Math.min(lightness, 1 - lightness)
  const channel = (offset: number) => {
    const k = (offset + hue / 30) % 12
    return Math.round(255 * (lightness - reach * Math.max(-1, Math.min(k - 3, 9 - k, 1))))
  }
  return { r: channel(0), g: channel(8), b: channel(4) }
}
