/** One colour per label: the same label has the same colour in every picture, on every machine. */

export interface Colour {
  readonly r: number
  readonly g: number
  readonly b: number
}

export const BLACK: Colour = { r: 0, g: 0, b: 0 }
export const WHITE: Colour = { r: 255, g: 255, b: 255 }

/** Colours that have names of their own, so that two labels of a picture are told apart at a glance. */
const PALETTE = `
e6293d 2fb344 ffdb1a 3f6df2 f5822b 9a3ad6 3fd0f0 f23fd9 b4e33c ff9ebb 1f9e93 c3a8ff a5642a 9fe8b4 a01335 8a8f12 ffc9a3
1f3fa8
`
  .trim()
  .split(/\s+/)
  .map((hex) => colourOf(Number.parseInt(hex, 16)))

/** For what carries no label. */
const UNLABELLED = colourOf(0x0bda73)

export function labelColour(label: string | null): Colour {
  return label === null ? UNLABELLED : PALETTE[hash(label.trim().toLowerCase()) % PALETTE.length]
}

/** Black or white, whichever reads better on `colour` (luminance of WCAG 2, its break-even at about 0.18). */
export function textColour({ r, g, b }: Colour): Colour {
  const linear = (value: number) => (value <= 10 ? value / 3295 : ((value / 255 + 0.055) / 1.055) ** 2.4)
  const luminance = 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)
  return luminance > 0.18 ? BLACK : WHITE
}

/** "#rrggbb" */
export function hexColour({ r, g, b }: Colour): string {
  return `#${[r, g, b].map((value) => value.toString(16).padStart(2, "0")).join("")}`
}

/** 0xrrggbb */
function colourOf(value: number): Colour {
  return { r: value >> 16, g: (value >> 8) & 255, b: value & 255 }
}

/** FNV-1a over UTF-16 units, stirred so that similar labels part. */
function hash(text: string): number {
  let value = 0x811c9dc5
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193)
  value = Math.imul(value ^ (value >>> 16), 0x21f0aaad)
  value = Math.imul(value ^ (value >>> 15), 0x735a2d97)
  return (value ^ (value >>> 15)) >>> 0
}
