/** Texts that end an answer, wherever tokens are cut: found as soon as one is complete, and never given out. */

import { IsaacError } from "../errors"

/** More, and longer ones, would cost time at each token. */
const MOST = 64
const LONGEST = 1024

/** The stop texts of a call as a list. Throws bad_input for what is none. */
export function checkStop(stop: unknown): readonly string[] {
  const list: readonly unknown[] = stop === undefined ? [] : Array.isArray(stop) ? stop : [stop]
  if (list.length > MOST) {
    throw new IsaacError("bad_input", `stop has ${list.length} texts; at most ${MOST} are taken`)
  }
  return list.map((text) => {
    if (typeof text !== "string") {
      throw new IsaacError("bad_input", `stop has ${String(text)}; it must be a string or an array of strings`)
    }
    if (text === "" || text.length > LONGEST) {
      throw new IsaacError("bad_input", `a stop text has ${text.length} characters; it must have 1 to ${LONGEST}`)
    }
    if (/\p{Surrogate}/u.test(text)) {
      throw new IsaacError("bad_input", `the stop text ${JSON.stringify(text)} has half a character; give whole ones`)
    }
    return text
  })
}

/**
 * Lets text through until one of the stop texts is complete. Of several the one that is complete first counts, of those
 * the longest; so the result is the same however the text is cut.
 */
export class StopStrings {
  readonly #stops: readonly string[]
  readonly #longest: number
  /** What may be the beginning of a stop text. */
  #held = ""
  #hit: string | null = null

  constructor(stops: readonly string[]) {
    this.#stops = stops
    this.#longest = Math.max(0, ...stops.map(({ length }) => length))
  }

  /** The stop text that was found. */
  get hit(): string | null {
    return this.#hit
  }

  /** The next piece; returns what is certainly no part of a stop text. "" once one was found. */
  push(piece: string): string {
    if (this.#hit !== null) {
      return ""
    }
    const text = this.#held + piece
    let start = -1
    let end = Number.POSITIVE_INFINITY
    for (const stop of this.#stops) {
      const at = text.indexOf(stop)
      if (at >= 0 && (at + stop.length < end || (at + stop.length === end && at < start))) {
        start = at
        end = at + stop.length
        this.#hit = stop
      }
    }
    const free = this.#hit === null ? this.#beginning(text) : start
    this.#held = this.#hit === null ? text.slice(free) : ""
    return text.slice(0, free)
  }

  /** The text is complete: what was held back. */
  end(): string {
    const held = this.#held
    this.#held = ""
    return held
  }

  /** Where the longest end of `text` starts with which a stop text begins; its length when there is none. */
  #beginning(text: string): number {
    for (let at = Math.max(0, text.length - this.#longest + 1); at < text.length; at++) {
      const length = text.length - at
      if (this.#stops.some((stop) => text.endsWith(stop.slice(0, length)))) {
        return at
      }
    }
    return text.length
  }
}
