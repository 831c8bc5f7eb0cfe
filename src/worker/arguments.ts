/** What plain JavaScript may pass wrongly: refused here, in the caller's thread, before anything is sent. */

import { IsaacError } from "../errors"
import type { AbortFlag } from "../isaac"

/**
 * The options of a call: an object, or undefined for none.
 *
 * @param call its name, for the message
 * Throws bad_input for anything else, and for a signal that is none.
 */
export function optionsOf<T extends object>(options: T | undefined, call: string): Partial<T> {
  if (options === undefined) return {}
  if (typeof options !== "object" || options === null) {
    throw new IsaacError("bad_input", `${call} takes an object of options, not ${String(options)}`)
  }
  const { signal } = options as { readonly signal?: AbortFlag }
  if (signal !== undefined && typeof signal?.aborted !== "boolean") {
    throw new IsaacError("bad_input", `${call}: signal is ${String(signal)}; an AbortSignal is needed`)
  }
  return options
}
