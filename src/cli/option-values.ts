/** Checks for option values. What they throw becomes a usage error that names the option and the value. */

import { InvalidArgumentError } from "commander"
import { MAX_PIXELS } from "../internal"

/** A whole number of at least `min`. */
export function wholeNumber(min: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < min) {
      throw new InvalidArgumentError(`A whole number of at least ${min} is needed.`)
    }
    return value
  }
}

/** A finite number from `min` to `max`; with `above`, `min` itself is excluded. */
export function numberWithin(min: number, max: number, above = false): (text: string) => number {
  const range =
    max === Number.POSITIVE_INFINITY
      ? `A number ${above ? "above" : "of at least"} ${min} is needed.`
      : `A number ${above ? "above" : "from"} ${min} ${above ? "and at most" : "to"} ${max} is needed.`
  return (text) => {
    const value = text.trim() === "" ? Number.NaN : Number(text)
    if (!Number.isFinite(value) || value > max || value < min || (above && value === min)) {
      throw new InvalidArgumentError(range)
    }
    return value
  }
}

/** "480x640": a picture's height and width, both at least 1. */
export function pictureSize(text: string): { readonly height: number; readonly width: number } {
  const [, height, width] = (/^(\d+)[x×](\d+)$/i.exec(text) ?? []).map(Number)
  if (!(height >= 1 && width >= 1 && height * width <= MAX_PIXELS)) {
    throw new InvalidArgumentError(
      `HEIGHTxWIDTH is needed, such as 480x640, of at most ${MAX_PIXELS / 1e6} million pixels.`,
    )
  }
  return { height, width }
}

/** A file name with one of these endings, e.g. [".png", ".svg"]. */
export function fileEnding(...endings: readonly string[]): (text: string) => string {
  return (text) => {
    if (!endings.some((ending) => text.toLowerCase().endsWith(ending) && text.length > ending.length)) {
      throw new InvalidArgumentError(`A file name ending in ${endings.join(" or ")} is needed.`)
    }
    return text
  }
}
