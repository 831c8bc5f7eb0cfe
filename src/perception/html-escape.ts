/** HTML escaping of attribute values, equal to Python's `html.escape` and `html.unescape`. */

import { HTML_ENTITIES, HTML_ENTITIES_WITHOUT_SEMICOLON } from "./html-entity-table"

const NAMED: ReadonlyMap<string, string> = new Map(
  HTML_ENTITIES.trim()
    .split(/\s+/)
    .map((entry) => {
      const [name, points] = entry.split("=")
      return [name, String.fromCodePoint(...points.split(",").map((point) => Number.parseInt(point, 16)))]
    }),
)
const BARE: ReadonlySet<string> = new Set(HTML_ENTITIES_WITHOUT_SEMICOLON.trim().split(/\s+/))

/** What &#128; … &#159; mean: Windows-1252, as every browser reads them. */
const WINDOWS_1252 = "€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8dŽ\x8f\x90‘’“”•–—˜™š›œ\x9džŸ"

/** `html.escape(text, quote=True)` */
export function escapeHtml(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replaceAll("'", "&#x27;")
}

/** `html.unescape(text)`: named references (also without semicolon where HTML allows it) and numeric ones. */
export function unescapeHtml(text: string): string {
  if (!text.includes("&")) return text
  return text.replace(
    /&(?:#(\d+);?|#[xX]([\da-fA-F]+);?|([^\t\n\f <&#;]{1,32});?)/gu,
    (whole, decimal: string | undefined, hex: string | undefined, name: string) => {
      if (decimal !== undefined) return numericReference(Number.parseInt(decimal, 10))
      if (hex !== undefined) return numericReference(Number.parseInt(hex, 16))
      return namedReference(name, whole.endsWith(";"))
    },
  )
}

function numericReference(point: number): string {
  if (point === 0 || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return "\ufffd"
  if (point === 0x0d) return "\r"
  if (point >= 0x80 && point < 0xa0) return WINDOWS_1252[point - 0x80]
  // Control characters and noncharacters vanish.
  const control = point < 0x20 ? !(point === 9 || point === 10 || point === 12) : point === 0x7f
  const noncharacter = (point >= 0xfdd0 && point < 0xfdf0) || (point & 0xfffe) === 0xfffe
  return control || noncharacter ? "" : String.fromCodePoint(point)
}

function namedReference(name: string, semicolon: boolean): string {
  const rest = semicolon ? ";" : ""
  if (semicolon || BARE.has(name)) {
    const exact = NAMED.get(name)
    if (exact !== undefined) return exact
  }
  // "&notit;" is "¬it;": the longest beginning that needs no semicolon.
  for (let length = name.length; length > 1; length--) {
    const start = name.slice(0, length)
    if (BARE.has(start)) return NAMED.get(start) + name.slice(length) + rest
  }
  return `&${name}${rest}`
}
