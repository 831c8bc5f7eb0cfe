/** softmax(q·kᵀ·scale)·v: one query at a time over the keys it may see. */

/** Keys or values of one head: n rows of headDim numbers, widened to double. */
export type HeadRows = Float64Array

/**
 * One query, headDim numbers of `q` from `at` on, over the first n keys and values; writes to the same place of `out`.
 * Scratch: `scores` for at least n numbers, `mean` for headDim.
 */
export function attend(
  q: Float32Array,
  at: number,
  keys: HeadRows,
  values: HeadRows,
  n: number,
  headDim: number,
  scale: number,
  scores: Float64Array,
  mean: Float64Array,
  out: Float32Array,
): void {
  // 1. Scores, and the largest of them: exp(score − largest) never overflows.
  let largest = Number.NEGATIVE_INFINITY
  for (let j = 0; j < n; j++) {
    let dot = 0
    const key = j * headDim
    for (let i = 0; i < headDim; i++) dot += q[at + i] * keys[key + i]
    const score = dot * scale
    scores[j] = score
    if (score > largest) largest = score
  }
  // 2. Softmax, its denominator kept aside.
  let sum = 0
  for (let j = 0; j < n; j++) {
    scores[j] = Math.exp(scores[j] - largest)
    sum += scores[j]
  }
  // 3. The values' weighted mean.
  mean.fill(0)
  for (let j = 0; j < n; j++) {
    const weight = scores[j]
    const value = j * headDim
    for (let i = 0; i < headDim; i++) mean[i] += weight * values[value + i]
  }
  for (let i = 0; i < headDim; i++) out[at + i] = mean[i] / sum
}

/**
 * q, k, v, out [T, heads·headDim]. Tokens cuSeqlens[s] … cuSeqlens[s+1]-1 are segment s (an image); each token attends
 * to all tokens of its own segment and to no other.
 */
export function varlenAttention(
  q: Float32Array,
  k: Float32Array,
  v: Float32Array,
  cuSeqlens: Int32Array,
  heads: number,
  headDim: number,
  scale: number,
  out: Float32Array,
): void {
  const width = heads * headDim
  const mean = new Float64Array(headDim)
  for (let s = 0; s + 1 < cuSeqlens.length; s++) {
    const start = cuSeqlens[s]
    const n = cuSeqlens[s + 1] - start
    const scores = new Float64Array(n)
    for (let h = 0; h < heads; h++) {
      const keys = headRows(k, start, n, width, h * headDim, headDim)
      const values = headRows(v, start, n, width, h * headDim, headDim)
      for (let i = 0; i < n; i++) {
        attend(q, (start + i) * width + h * headDim, keys, values, n, headDim, scale, scores, mean, out)
      }
    }
  }
}

/** One head of rows start … start+n-1 of x [T, width], column … column+headDim-1 → [n, headDim]. */
function headRows(x: Float32Array, start: number, n: number, width: number, column: number, headDim: number): HeadRows {
  const rows = new Float64Array(n * headDim)
  for (let j = 0; j < n; j++) {
    const from = (start + j) * width + column
    for (let i = 0; i < headDim; i++) rows[j * headDim + i] = x[from + i]
  }
  return rows
}
