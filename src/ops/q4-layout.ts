/**
 * The storage type q4: like q8 (see q8-layout.ts), with the same panels and groups, but two numbers to a byte. A group is
 *
 *     scales   [Q8_PANEL] bfloat16, little-endian, of either sign
 *     numbers  [inputs / 8][Q8_PANEL][4] bytes: byte j of a step has number j in its low half, number 4 + j in its high one
 *
 * and a weight is scale · (half byte − Q4_OFFSET), where a half byte is 0 … 15. The last group is filled up with zeros to
 * a multiple of 8 inputs. A mask and a shift of whole words make two steps of q8's numbers out of a step.
 */

import { Q8_GROUP, Q8_PANEL, Q8_SCALE_BYTES } from "./q8-layout"

/** Bits of a number. */
export const Q4_BITS = 4
/** Numbers are −8 … 7 … */
export const Q4_LEAST = -(2 ** (Q4_BITS - 1))
export const Q4_MOST = 2 ** (Q4_BITS - 1) - 1
/** … and kept with this added. */
export const Q4_OFFSET = 2 ** (Q4_BITS - 1)
/** The scheme in a word; files that say another mean other numbers. */
export const Q4_ARITHMETIC = `weights ${Q4_BITS} bits, activations 8 bits, groups of ${Q8_GROUP}`

/** Inputs whose numbers lie together: four and four. */
export const Q4_STEP = 8
/** Bytes from a group to the next. */
export const Q4_GROUP_BYTES = Q8_SCALE_BYTES + (Q8_PANEL * Q8_GROUP) / 2

/** Bytes of a panel of a matrix with rows of `inner` numbers. */
export function q4PanelBytes(inner: number): number {
  return Math.ceil(inner / Q8_GROUP) * Q8_SCALE_BYTES + Q8_PANEL * 4 * Math.ceil(inner / Q4_STEP)
}
