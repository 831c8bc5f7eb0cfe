/**
 * The learned [side, side] position table, resized to an image's [rows, columns] of patches.
 *
 * Bilinear, antialiased, half-pixel centres: the triangle filter of image resampling, widened by the reduction factor
 * where a side shrinks, its weights renormalised at the border. Without the antialias, boxes drift on images with a
 * side of fewer patches than the table's.
 */

/** The source entries [first, first + weights.length) that make one output entry of an axis. */
interface Taps {
  readonly first: number
  readonly weights: Float64Array
}

/** Triangle filter taps for each of `to` outputs over `from` inputs. */
function axisTaps(from: number, to: number): Taps[] {
  const scale = from / to
  const support = Math.max(scale, 1) // half width of the triangle, in inputs
  return Array.from({ length: to }, (_, i) => {
    const center = scale * (i + 0.5)
    const first = Math.max(0, Math.floor(center - support + 0.5))
    const end = Math.min(from, Math.floor(center + support + 0.5))
    const weights = new Float64Array(end - first)
    let sum = 0
    for (let j = 0; j < weights.length; j++) {
      weights[j] = Math.max(0, 1 - Math.abs(first + j + 0.5 - center) / support)
      sum += weights[j]
    }
    for (let j = 0; j < weights.length; j++) weights[j] /= sum
    return { first, weights }
  })
}

/**
 * Resize the position table.
 *
 * @param table [side·side, width], entry (row, column) at row·side + column
 * @returns [rows·columns, width] in raster order
 */
export function interpolatePositions(
  table: Float32Array,
  side: number,
  width: number,
  rows: number,
  columns: number,
): Float32Array {
  if (rows === side && columns === side) return table.slice()
  const across = axisTaps(side, columns)
  const down = axisTaps(side, rows)

  // 1. Columns: [side, side, width] → [side, columns, width]
  const wide = new Float64Array(side * columns * width)
  for (let row = 0; row < side; row++) {
    for (let column = 0; column < columns; column++) {
      const { first, weights } = across[column]
      const to = (row * columns + column) * width
      for (let j = 0; j < weights.length; j++) {
        const from = (row * side + first + j) * width
        for (let d = 0; d < width; d++) wide[to + d] += weights[j] * table[from + d]
      }
    }
  }

  // 2. Rows: [side, columns, width] → [rows, columns, width]
  const out = new Float32Array(rows * columns * width)
  const sums = new Float64Array(columns * width)
  for (let row = 0; row < rows; row++) {
    const { first, weights } = down[row]
    sums.fill(0)
    for (let j = 0; j < weights.length; j++) {
      const from = (first + j) * columns * width
      for (let d = 0; d < sums.length; d++) sums[d] += weights[j] * wide[from + d]
    }
    out.set(sums, row * columns * width)
  }
  return out
}
