/** A bitmap font for labels: ASCII and a few signs, 5 × 7 dots and two more rows for descenders, drawn for this library. */

export const GLYPH_WIDTH = 5
export const GLYPH_HEIGHT = 9

/**
 * "!" … "~" in the order of ASCII. A glyph is nine rows from above, one base-32 digit each, its highest bit the leftmost
 * dot: "a" is 00e1fhf00 in
 *   .....  .....  .###.  ....#  .####  #...#  .####  .....  .....
 */
const GLYPHS = `
444440400 aaa000000 aavavaa00 4fke5u400 op248j300 cik8lid00 444000000 248884200 842224800 04lel4000 044v44000
000000c48 000e00000 00000cc00 11248gg00 ehjlphe00 4c4444e00 eh1248v00 v2421he00 26aiv2200 vgu11he00 68guhhe00
v12488800 ehhehhe00 ehhf12c00 0cc00cc00 0cc00cc48 248g84200 00v0v0000 842124800 eh1240400 eh1dlle00 ehhhvhh00
uhhuhhu00 ehggghe00 sihhhis00 vgguggv00 vgguggg00 ehgnhhf00 hhhvhhh00 e44444e00 72222ic00 hikokih00 ggggggv00
hrllhhh00 hhpljhh00 ehhhhhe00 uhhuggg00 ehhhlid00 uhhukih00 fgge11u00 v44444400 hhhhhhe00 hhhhha400 hhhllla00
hha4ahh00 hhha44400 v1248gv00 e88888e00 gg8421100 e22222e00 4ah000000 0000000v0 842000000 00e1fhf00 ggmphhu00
00ehghe00 11djhhf00 00ehvge00 698s88800 00fhhhf1e ggmphhh00 40c444e00 2062222ic ggikoki00 c44444e00 00qllll00
00mphhh00 00ehhhe00 00uhhhugg 00fhhhf11 00mpggg00 00fge1u00 88s889600 00hhhjd00 00hhha400 00hhlla00 00ha4ah00
00hhhhf1e 00v248v00 244844200 444444400 844244800 008l20000
`
  .trim()
  .split(/\s+/)

/** Signs that measures and prices are written with; µ comes as the sign and as the Greek letter. */
const SIGNS: Readonly<Record<string, string>> = {
  ...{ "°": "699600000", µ: "00hhhjmgg", μ: "00hhhjmgg", "²": "6926f0000", "³": "e161e0000", "±": "44v440v00" },
  ...{ "×": "00ha4ah00", "÷": "040v04000", "€": "78u8u8700", "£": "698s88v00", "§": "egehe1e00", "·": "000440000" },
}

/** A box: what stands for every character that the font lacks. */
const MISSING = "vhhhhhv00"
const SPACE = "000000000"

export function hasGlyph(character: string): boolean {
  return glyphOf(character) !== MISSING
}

/** 1 where the character has a dot, 0 elsewhere and outside of the glyph. */
export function glyphDot(character: string, column: number, row: number): 0 | 1 {
  if (column < 0 || column >= GLYPH_WIDTH || row < 0 || row >= GLYPH_HEIGHT) return 0
  return ((Number.parseInt(glyphOf(character)[row], 32) >> (GLYPH_WIDTH - 1 - column)) & 1) as 0 | 1
}

function glyphOf(character: string): string {
  if (character === " ") return SPACE
  if (character.length !== 1) return MISSING
  return GLYPHS[character.charCodeAt(0) - 33] ?? (Object.hasOwn(SIGNS, character) ? SIGNS[character] : MISSING)
}
