/** From logits to choices. A NaN counts as −Infinity when numbers are ranked; ties go to the lower index. */

/** out[t] = index of the largest number of row t of x [T, V]. */
export function argmax(x: Float32Array, V: number, out: Float32Array): void {
  for (let t = 0; t < out.length; t++) {
    let best = 0
    let largest = Number.NEGATIVE_INFINITY
    for (let i = 0; i < V; i++) {
      if (x[t * V + i] > largest) {
        largest = x[t * V + i]
        best = i
      }
    }
    out[t] = best
  }
}

/** The k largest of each row of x [T, V], descending → values, indices [T, k]. */
export function topK(x: Float32Array, V: number, k: number, values: Float32Array, indices: Float32Array): void {
  const T = values.length / k
  for (let t = 0; t < T; t++) {
    const row = x.subarray(t * V, (t + 1) * V)
    const rank = (i: number) => (Number.isNaN(row[i]) ? Number.NEGATIVE_INFINITY : row[i])
    const order = Array.from({ length: V }, (_, i) => i)
    // Equal infinities must not be subtracted: that is NaN, and no order.
    order.sort((a, b) => (rank(a) === rank(b) ? a - b : rank(b) - rank(a)))
    for (let j = 0; j < k; j++) {
      values[t * k + j] = row[order[j]]
      indices[t * k + j] = order[j]
    }
  }
}

/** out = x − log Σ exp(x) over each row of V numbers. */
export function logSoftmax(x: Float32Array, V: number, out: Float32Array): void {
  for (let at = 0; at < x.length; at += V) {
    let largest = Number.NEGATIVE_INFINITY
    for (let i = 0; i < V; i++) largest = Math.max(largest, x[at + i])
    let sum = 0
    for (let i = 0; i < V; i++) sum += Math.exp(x[at + i] - largest)
    const logSum = largest + Math.log(sum)
    for (let i = 0; i < V; i++) out[at + i] = x[at + i] - logSum
  }
}
