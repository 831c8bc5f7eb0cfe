/** The flag that ends operations. */

import { IsaacError } from "../../errors"

/** Throws aborted if word 0 of the flag is not 0. */
export function checkAbort(flag: Int32Array | undefined): void {
  if (flag && Atomics.load(flag, 0) !== 0) {
    throw new IsaacError("aborted", "the operation was aborted; its result is gone, what was there before is as it was")
  }
}
