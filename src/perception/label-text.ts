/** What of a label is set: how wide its characters are, and how they are written in a font of few glyphs. */

import { hasGlyph } from "./label-font"

/** Characters that take no room of their own: accents that combine, joiners, variation selectors, directions. */
const ZERO_WIDTH = /^(?:\p{M}|\p{Cf}|\p{Emoji_Modifier})$/u
/** Ideographs, kana, hangul, full-width forms, emoji: as wide as they are high. */
const WIDE =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]$/u

/** How many cells of the label font a character takes. */
export function cellsOf(character: string): 0 | 1 | 2 {
  if (ZERO_WIDTH.test(character)) return 0
  return WIDE.test(character) ? 2 : 1
}

export function textCells(text: string): number {
  let cells = 0
  for (const character of text) cells += cellsOf(character)
  return cells
}

/** One line: control characters and runs of white space become one space. */
export function oneLine(text: string): string {
  return text.replace(/[\s\p{Cc}]+/gu, " ").trim()
}

/** The text, or as many of its characters as fit into `cells` together with three dots. */
export function cutToCells(text: string, cells: number): string {
  if (textCells(text) <= cells) return text
  let kept = ""
  let used = 0
  for (const character of text) {
    used += cellsOf(character)
    if (used > Math.max(1, cells - 3)) break
    kept += character
  }
  return `${kept.trimEnd()}...`
}

/** Letters that Unicode does not take apart, and signs that have a look-alike in ASCII. */
const ALIKE: Readonly<Record<string, string>> = {
  ...{ ß: "ss", ẞ: "SS", æ: "ae", Æ: "AE", œ: "oe", Œ: "OE", ø: "o", Ø: "O", ł: "l", Ł: "L", đ: "d", Đ: "D" },
  ...{ ð: "d", Ð: "D", þ: "th", Þ: "Th", ı: "i", ħ: "h", Ħ: "H", ŧ: "t", Ŧ: "T", ŋ: "n", Ŋ: "N", ĸ: "k", ſ: "s" },
  ...{ "‘": "'", "’": "'", "‚": ",", "‛": "'", "“": '"', "”": '"', "„": '"', "«": "<<", "»": ">>", "‹": "<" },
  ...{ "›": ">", "′": "'", "″": '"', "‐": "-", "‑": "-", "‒": "-", "–": "-", "—": "-", "―": "-", "−": "-" },
  ...{ "…": "...", "•": "*", "⁄": "/", "∕": "/", "→": "->", "←": "<-", "≤": "<=", "≥": ">=", "≠": "!=" },
  ...{ "©": "(C)", "®": "(R)", "™": "TM", "№": "No", "¦": "|", "∼": "~", "˜": "~" },
}

/**
 * The text in characters that the label font has, as far as that goes: é becomes e, ß ss, “ ". What has no likeness, such
 * as 猫, stays; the font shows a box for it.
 */
export function foldToFont(text: string): string {
  let folded = ""
  // Compatibility forms too: full-width letters, ligatures, ½ as 1/2. Signs that the font has are left alone.
  for (const character of text.normalize("NFC")) {
    if (hasGlyph(character)) folded += character
    else {
      for (const part of character.normalize("NFKD")) {
        if (!ZERO_WIDTH.test(part)) folded += ALIKE[part] ?? part
      }
    }
  }
  return folded
}
