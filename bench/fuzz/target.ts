/** What a fuzz target promises. */

import type { Random } from "./random"

/** Inputs of one kind, and what must hold for every one of them. */
export interface FuzzTarget {
  readonly name: string
  /** An input, as text, so that it can be shown, kept and shortened. */
  make(random: Random): string
  /**
   * Throws when a promise is broken. Returns a few words about what happened ("refused: it overlaps", "3 leaves"): inputs
   * whose words were not seen before are worth keeping.
   *
   * @param random for choices that are no part of the input, such as where a text is cut
   */
  check(input: string, random: Random): string | Promise<string>
}

export function promise(kept: boolean, what: string): asserts kept {
  if (!kept) throw new Error(what)
}

/** A message without its numbers and names: two errors of one kind have one outline. */
export function outline(message: string): string {
  return message
    .replace(/"(?:[^"\\]|\\.)*"?/g, '""')
    .replace(/[-+]?\d[\d.e+]*/gi, "0")
    .replace(/\[[^\]]*\]?|\{[^}]*\}?/g, "[]")
    .slice(0, 80)
}
