/** What plain JavaScript may pass wrongly: refused here, in the caller's thread, before anything is sent. */

import { IsaacError } from "../errors"
import type { AbortFlag } from "../isaac"

/**
 * The options of a call: an object, or undefined for none.
 *
 * @param call its name, for the message
 * Throws bad_input for anything else, and for a signal or an onProgress that is none.
 */
export function optionsOf<T extends object>(options: T | undefined, call: string): Partial<T> {
  if (options === undefined) return {}
  if (typeof options !== "object" || options === null) {
    throw new IsaacError("bad_input", `${call} takes an object of options, not ${String(options)}`)
  }
  const { signal, onProgress } = options as { readonly signal?: AbortFlag; readonly onProgress?: unknown }
  if (signal !== undefined && typeof signal?.aborted !== "boolean") {
    throw new IsaacError("bad_input", `${call}: signal is ${String(signal)}; an AbortSignal is needed`)
  }
  if (onProgress !== undefined && typeof onProgress !== "function") {
    throw new IsaacError("bad_input", `${call}: onProgress is ${String(onProgress)}; it must be a function`)
  }
  return options
}
