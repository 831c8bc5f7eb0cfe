/** One character of UTF-8, as bytes may write it. */

import type { Grammar, Language } from "./language"

/** Continuation bytes. */
const FIRST = 0x80
const LAST = 0xbf

/**
 * A character: those of ASCII that are in `ascii`, and all others.
 *
 * @param ascii ranges [from, to, from, to, …] below 128, both ends included
 */
export function utf8Character(grammar: Grammar, ...ascii: readonly number[]): Language {
  return grammar.either(grammar.bytes(...ascii), longCharacter(grammar))
}

/** A character of two to four bytes: no surrogates, nothing written longer than it needs to be. */
function longCharacter(grammar: Grammar): Language {
  const more = grammar.bytes(FIRST, LAST)
  const of = (from: number, to: number, low: number, high: number, rest: number) =>
    grammar.sequence(grammar.bytes(from, to), grammar.bytes(low, high), ...Array<Language>(rest).fill(more))
  return grammar.either(
    of(0xc2, 0xdf, FIRST, LAST, 0),
    of(0xe0, 0xe0, 0xa0, LAST, 1),
    of(0xe1, 0xec, FIRST, LAST, 1),
    of(0xed, 0xed, FIRST, 0x9f, 1),
    of(0xee, 0xef, FIRST, LAST, 1),
    of(0xf0, 0xf0, 0x90, LAST, 2),
    of(0xf1, 0xf3, FIRST, LAST, 2),
    of(0xf4, 0xf4, FIRST, 0x8f, 2),
  )
}
