/** How much memory sessions and pictures may take. */

import { IsaacError } from "../errors"

/** Share of the machine's memory that sessions take at most, unless they are allowed more: the machine has other work. */
const MACHINE_SHARE = 1 / 4
/** Where neither backend nor machine say what they have. */
const FALLBACK = 2 ** 30

/** What there is and what is needed, in bytes. */
export interface MemorySituation {
  /** What the backend can take in all, if it has a limit. */
  readonly limit: number | undefined
  /** Taken already: the weights. */
  readonly used: number
  /** Needed while a prompt is computed. */
  readonly working: number
  /** For image embeddings. */
  readonly images: number
  /** Of the machine, where that is known. */
  readonly machine: number | undefined
  /** Keys and values of one session that is full. */
  readonly full: number
}

/** What the backend has left, but no more than a quarter of the machine; at least one full session. */
export function defaultSessionMemory({ limit, used, working, images, machine, full }: MemorySituation): number {
  const left = limit === undefined ? Number.POSITIVE_INFINITY : limit - used - working - images
  const share = machine === undefined ? Number.POSITIVE_INFINITY : machine * MACHINE_SHARE
  const fits = Math.min(left, share)
  return Math.max(full, Number.isFinite(fits) ? Math.floor(fits) : FALLBACK)
}

/**
 * A number of bytes that a caller chose, or the default.
 *
 * Throws bad_input for anything else, and for fewer than `least`.
 */
export function memoryOption(name: string, bytes: number | undefined, least: number, byDefault: number): number {
  if (bytes === undefined) {
    return byDefault
  }
  if (typeof bytes !== "number" || !(bytes >= least)) {
    throw new IsaacError("bad_input", `${name} is ${String(bytes)}; it must be a number of bytes, at least ${least}`)
  }
  return bytes
}
