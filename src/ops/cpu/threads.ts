/** How many threads a backend uses. */

import { IsaacError } from "../../errors"

/** More threads than this cost more than they give: memory is the limit of decoding. */
const MOST_BY_DEFAULT = 16

/** Those that were asked for, or what the machine has, at most 16. Throws bad_input for a senseless number. */
export function threadCount(asked: number | undefined, processors: number): number {
  const threads = asked ?? Math.min(MOST_BY_DEFAULT, processors)
  if (!Number.isSafeInteger(threads) || threads < 1 || threads > 256) {
    throw new IsaacError("bad_input", `threads is ${asked}; a whole number from 1 to 256 is needed`)
  }
  return threads
}
