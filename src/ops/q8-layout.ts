/**
 * The storage type q8: what its numbers are and where they lie, in every backend's memory and in files.
 *
 * A matrix [out, in] is a list of panels of Q8_PANEL outputs. A panel is a list of groups of Q8_GROUP inputs; the last
 * group may be shorter, filled up with zeros to a multiple of 4. A group is
 *
 *     scales   [Q8_PANEL] bfloat16, little-endian
 *     numbers  [inputs / 4][Q8_PANEL][4] bytes, each a whole number in −Q8_LARGEST … Q8_LARGEST plus Q8_OFFSET
 *
 * and a weight is scale · (byte − Q8_OFFSET). Behind the last output all scales and numbers are zero. Groups and panels
 * begin at multiples of 64 bytes. Numbers are kept in 7 bits because that is what int8 dot products of every instruction
 * set compute exactly: they multiply an unsigned byte by a signed one, and some add two such products in 16 bits.
 */

/** Bits of a number. */
export const Q8_BITS = 7
/** Inputs that share a scale. */
export const Q8_GROUP = 64
/** Outputs in a panel: rows of a matrix are written from multiples of this on. */
export const Q8_PANEL = 32
/** Numbers are −63 … 63 … */
export const Q8_LARGEST = 2 ** (Q8_BITS - 1) - 1
/** … and kept with this added. */
export const Q8_OFFSET = 2 ** (Q8_BITS - 1)
/** A group whose largest magnitude is below this counts as zero: scales and their inverses stay normal float32. */
export const Q8_TINY = 2 ** -100
/** The scheme in a word; files that say another mean other numbers. */
export const Q8_ARITHMETIC = `weights ${Q8_BITS} bits, activations 8 bits, groups of ${Q8_GROUP}`

/** Bytes of a group's scales. */
export const Q8_SCALE_BYTES = Q8_PANEL * 2
/** Bytes from a group to the next. */
export const Q8_GROUP_BYTES = Q8_SCALE_BYTES + Q8_PANEL * Q8_GROUP

/** Bytes of a panel of a matrix with rows of `inner` numbers. */
export function q8PanelBytes(inner: number): number {
  return Math.ceil(inner / Q8_GROUP) * Q8_SCALE_BYTES + Q8_PANEL * 4 * Math.ceil(inner / 4)
}
