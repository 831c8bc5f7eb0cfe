/** Checks for numbers that callers choose; plain JavaScript may pass anything. */

import { IsaacError } from "../errors"

/** What an option may be; both ends belong to it. */
export interface NumberRange {
  readonly low: number
  readonly high: number
  readonly integer?: boolean
  /** `low` itself is excluded. */
  readonly above?: boolean
}

/** The value, or bad_input with its name and what it may be. */
export function numberIn(name: string, value: unknown, range: NumberRange): number {
  const { low, high, integer = false, above = false } = range
  const fits = typeof value === "number" && value <= high && (above ? value > low : value >= low)
  if (!fits || (integer && !Number.isInteger(value))) {
    const kind = integer ? "an integer" : "a number"
    const limit =
      high === Number.MAX_SAFE_INTEGER
        ? `of at least ${low}`
        : above
          ? `above ${low} and at most ${high}`
          : `from ${low} to ${high}`
    throw new IsaacError("bad_input", `${name} is ${String(value)}; it must be ${kind} ${limit}`)
  }
  return value
}
