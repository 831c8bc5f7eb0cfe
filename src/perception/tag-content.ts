/** What stands inside a pointing tag: attributes in the opening tag, coordinates in the body. */

import { unescapeHtml } from "./html-escape"
import type { Leaf, LeafType, Mentioned } from "./pointing"
import { asciiDigits, readFloat, SPACE } from "./python-text"

/** A key that does not continue a word, "=", and a quoted or a bare value. */
const ATTRIBUTE = new RegExp(
  `(?<![\\p{L}\\p{N}_])([\\p{L}\\p{N}_]+)[${SPACE}]*=[${SPACE}]*(?:"([^"]*)"|([^${SPACE}>]+))`,
  "gu",
)

const PAIR = new RegExp(`\\([${SPACE}]*(\\p{Nd}+)[${SPACE}]*,[${SPACE}]*(\\p{Nd}+)[${SPACE}]*\\)`, "gu")

/**
 * mention and t of an opening tag (`<point mention="a cat" t=1.5>`). Keys are case-sensitive, the last of two equal
 * keys counts, other keys are ignored; single quotes quote nothing; a t that is no number counts as absent.
 */
export function readAttributes(openingTag: string): Mentioned {
  let mention: string | null = null
  let t: string | null = null
  for (const [, key, quoted, bare] of openingTag.matchAll(ATTRIBUTE)) {
    const value = unescapeHtml(quoted ?? bare)
    if (key === "mention") mention = value
    else if (key === "t") t = value
  }
  return { mention, t: t === null ? null : (readFloat(t) ?? null) }
}

/** Why a body is no point, box or polygon. */
export class BadCoordinates {
  constructor(readonly message: string) {}
}

/**
 * The leaf of a body such as ` (1,2) (3,4) `. Every "(x,y)" of unsigned integers counts, wherever it stands; a point
 * takes the first, a box the first two, a polygon all. Values are not limited to 1000.
 */
export function readLeaf(type: LeafType, body: string, attributes: Mentioned): Leaf | BadCoordinates {
  const needed = { point: 1, box: 2, polygon: 3 }[type]
  const pairs: [number, number][] = []
  for (const [, x, y] of body.matchAll(PAIR)) {
    pairs.push([Number(asciiDigits(x)), Number(asciiDigits(y))])
    if (type !== "polygon" && pairs.length === needed) break
  }
  if (pairs.length < needed) {
    return new BadCoordinates(
      `a ${type} needs ${needed}${type === "polygon" ? " or more" : ""} "(x,y)", it has ${pairs.length}`,
    )
  }
  const large = pairs.flat().find((value) => !Number.isSafeInteger(value))
  if (large !== undefined) return new BadCoordinates(`a coordinate of about ${large.toExponential(1)} is too large`)

  const [[x1, y1]] = pairs
  if (type === "point") return { type, x: x1, y: y1, ...attributes }
  if (type === "polygon") return { type, points: pairs, ...attributes }
  const [x2, y2] = pairs[1]
  return { type, x1, y1, x2, y2, ...attributes }
}
