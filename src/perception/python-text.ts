/**
 * Python's ideas of white space, digits and floats, where JavaScript's differ.
 *
 * The tags were defined by a Python parser: what it reads as a number, this library must read as the same number.
 */

/** Inside of a RegExp class: what Python's `\s` and `str.isspace` accept (JavaScript: no \x1c-\x1f, no \x85, but \ufeff). */
export const SPACE = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"

const SPACE_UNIT = new RegExp(`[${SPACE}]`)

/** True for a UTF-16 unit that is white space. */
export function isSpace(unit: number): boolean {
  if (unit < 128) return unit === 32 || (unit >= 9 && unit <= 13) || (unit >= 0x1c && unit <= 0x1f)
  return SPACE_UNIT.test(String.fromCharCode(unit))
}

/** `str.strip()` */
export function strip(text: string): string {
  let start = 0
  let end = text.length
  while (start < end && isSpace(text.charCodeAt(start))) start++
  while (end > start && isSpace(text.charCodeAt(end - 1))) end--
  return text.slice(start, end)
}

const DIGIT = /\p{Nd}/u

/** Decimal digits of any script as ASCII digits; everything else unchanged. */
export function asciiDigits(text: string): string {
  return text.replace(/\p{Nd}/gu, (digit) => {
    const point = digit.codePointAt(0)!
    if (point < 128) return digit
    // Digits of a script are ten consecutive code points, zero first; runs of several tens exist (mathematical digits).
    let zero = point
    while (DIGIT.test(String.fromCodePoint(zero - 1))) zero--
    return String((point - zero) % 10)
  })
}

const SEPARATORS = ["\x1c", "\x1d", "\x1e", "\x1f"]
const FLOAT = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i
const NOT_A_FLOAT = /^([+-]?)(inf|infinity|nan)$/i

/** `float(text)`: undefined where Python raises ValueError. */
export function readFloat(text: string): number | undefined {
  // `float` does not take the separators for space, unlike `str.strip`.
  if (SEPARATORS.some((separator) => text.includes(separator))) return undefined
  const trimmed = asciiDigits(strip(text))
  const word = NOT_A_FLOAT.exec(trimmed)
  if (word) {
    if (word[2].toLowerCase() === "nan") return Number.NaN
    return word[1] === "-" ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY
  }
  // Underscores may stand between two digits and nowhere else.
  if (/(?:^|\D)_|_(?:\D|$)/.test(trimmed)) return undefined
  const plain = trimmed.replaceAll("_", "")
  return FLOAT.test(plain) ? Number(plain) : undefined
}

/** `str(float)`: 2 → "2.0", 1e-7 → "1e-07", 1e16 → "1e+16"; the shortest digits that read back as the same number. */
export function writeFloat(value: number): string {
  if (Number.isNaN(value)) return "nan"
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf"
  if (Object.is(value, -0)) return "-0.0"
  const [mantissa, exponentText] = value.toExponential().split("e")
  const exponent = Number(exponentText)
  if (exponent < -4 || exponent >= 16) {
    const digits = String(Math.abs(exponent)).padStart(2, "0")
    return `${mantissa}e${exponent < 0 ? "-" : "+"}${digits}`
  }
  // In this range JavaScript prints plain decimals too.
  const plain = String(value)
  return plain.includes(".") ? plain : `${plain}.0`
}
