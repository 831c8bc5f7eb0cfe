/**
 * Bilinear resize of 8-bit images in integer arithmetic, bit for bit what PyTorch does for uint8 tensors
 * (align_corners false, no antialias). It is not the rounded float result: that differs in a fifth of the pixels.
 */

import { IsaacError } from "../errors"
import type { RgbImage } from "./rgb-image"

/** For every output pixel of one axis: the first source index and the integer weights of it and its successor. */
export interface AxisWeights {
  /** Weights are fractions of 2^precision. */
  readonly precision: number
  /** [out] */
  readonly first: Int32Array
  /** [out, 2]; where `first` is the last source pixel the second weight is 0 and its pixel is not read. */
  readonly weights: Int32Array
}

/**
 * The weight table of one axis. Half-pixel centres: output i looks at source (i + 0.5) · in/out − 0.5, not below 0.
 * The precision is the smallest P for which the axis's largest weight reaches 2^15 at P + 1 bits, so that every
 * weight fits into a signed 16-bit number.
 */
export function axisWeights(inSize: number, outSize: number): AxisWeights {
  const first = new Int32Array(outSize)
  const exact = new Float64Array(outSize * 2)
  let largest = 0
  for (let i = 0; i < outSize; i++) {
    const x = Math.max(0, (i + 0.5) * (inSize / outSize) - 0.5)
    const k = Math.min(Math.floor(x), inSize - 1)
    const fraction = k === inSize - 1 ? 0 : x - k
    first[i] = k
    exact[2 * i] = 1 - fraction
    exact[2 * i + 1] = fraction
    largest = Math.max(largest, fraction, 1 - fraction)
  }
  let precision = 0
  while (Math.floor(0.5 + largest * 2 ** (precision + 1)) < 1 << 15) precision++
  const weights = Int32Array.from(exact, (w) => Math.floor(w * 2 ** precision + 0.5))
  return { precision, first, weights }
}

/**
 * `image` resized to `height` × `width`: the width first, rounded to bytes, then the height from those bytes. An axis
 * whose size does not change is skipped; if neither changes, the image itself is returned.
 *
 * Only the source rows that some output row needs go through the first pass (each once), so a 60-megapixel photo
 * costs no more than its target is worth.
 *
 * @throws IsaacError `bad_input` when the target has no size
 */
export function resizeBilinear(image: RgbImage, height: number, width: number): RgbImage {
  if (!(Number.isInteger(height) && height > 0 && Number.isInteger(width) && width > 0)) {
    throw new IsaacError("bad_input", `An image cannot be resized to ${width}×${height} pixels.`)
  }
  if (height === image.height && width === image.width) return image
  const columns = width === image.width ? undefined : axisWeights(image.width, width)
  const sourceRow = (y: number, out: Uint8Array): Uint8Array => {
    const row = image.data.subarray(y * image.width * 3, (y + 1) * image.width * 3)
    return columns ? resizeRow(row, columns, out) : row
  }

  const data = new Uint8Array(height * width * 3)
  const outputRow = (y: number) => data.subarray(y * width * 3, (y + 1) * width * 3)
  if (height === image.height) {
    for (let y = 0; y < height; y++) sourceRow(y, outputRow(y))
    return { width, height, data }
  }

  const rows = axisWeights(image.height, height)
  // The two resized source rows that the current output row mixes; scaling up uses each for several output rows.
  let upper = emptyRow(width)
  let lower = emptyRow(width)
  for (let y = 0; y < height; y++) {
    const k = rows.first[y]
    const [w0, w1] = [rows.weights[2 * y], rows.weights[2 * y + 1]]
    if (upper.y !== k && lower.y === k) [upper, lower] = [lower, upper]
    if (upper.y !== k) {
      upper.row = sourceRow(k, upper.buffer)
      upper.y = k
    }
    if (w1 !== 0 && lower.y !== k + 1) {
      lower.row = sourceRow(k + 1, lower.buffer)
      lower.y = k + 1
    }
    mixRows(upper.row, w1 === 0 ? upper.row : lower.row, w0, w1, rows.precision, outputRow(y))
  }
  return { width, height, data }
}

/** A source row after the first pass: row `y` of the image, resized into `buffer` or (width unchanged) as it is. */
interface CachedRow {
  y: number
  row: Uint8Array
  readonly buffer: Uint8Array
}

function emptyRow(width: number): CachedRow {
  const buffer = new Uint8Array(width * 3)
  return { y: -1, row: buffer, buffer }
}

/** One row [inWidth, 3] → `out` [outWidth, 3]. */
function resizeRow(row: Uint8Array, { precision, first, weights }: AxisWeights, out: Uint8Array): Uint8Array {
  const half = 1 << (precision - 1)
  const last = row.length - 3
  for (let i = 0, to = 0; i < first.length; i++, to += 3) {
    const a = first[i] * 3
    const b = a === last ? a : a + 3
    const w0 = weights[2 * i]
    const w1 = weights[2 * i + 1]
    out[to] = (row[a] * w0 + row[b] * w1 + half) >> precision
    out[to + 1] = (row[a + 1] * w0 + row[b + 1] * w1 + half) >> precision
    out[to + 2] = (row[a + 2] * w0 + row[b + 2] * w1 + half) >> precision
  }
  return out
}

/**
 * out = (a · w0 + b · w1) / 2^precision, rounded. The weights add up to at most 2^P + 1 (both may round up), so the
 * result stays within 255 without a clamp: the surplus of 255 is less than half a unit of 2^P.
 */
function mixRows(a: Uint8Array, b: Uint8Array, w0: number, w1: number, precision: number, out: Uint8Array): void {
  const half = 1 << (precision - 1)
  for (let i = 0; i < out.length; i++) out[i] = (a[i] * w0 + b[i] * w1 + half) >> precision
}
