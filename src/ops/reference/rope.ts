/** Rotary position embedding in the rotate-half layout. */

/**
 * Turn every head of x [T, heads·headDim] in place by its token's angles: number i of the first half and number i of
 * the second half are one pair. cos, sin: [T, headDim]; both halves are read, as the published layout repeats them.
 *
 *   x'[i]        = x[i]·cos[i]               − x[i + headDim/2]·sin[i]
 *   x'[i + half] = x[i + half]·cos[i + half] + x[i]·sin[i + half]
 */
export function rope(x: Float32Array, cos: Float32Array, sin: Float32Array, heads: number, headDim: number): void {
  const half = headDim / 2
  const T = cos.length / headDim
  for (let t = 0; t < T; t++) {
    const angle = t * headDim
    for (let h = 0; h < heads; h++) {
      const head = (t * heads + h) * headDim
      for (let i = 0; i < half; i++) {
        const a = x[head + i]
        const b = x[head + half + i]
        x[head + i] = a * cos[angle + i] - b * sin[angle + i]
        x[head + half + i] = b * cos[angle + half + i] + a * sin[angle + half + i]
      }
    }
  }
}
