/** Moving whole rows. */

/** out = the parts one after another. */
export function concatRows(parts: readonly Float32Array[], out: Float32Array): void {
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
}

/** out[i] = x[index[i]], rows of rowSize numbers. */
export function gatherRows(x: Float32Array, index: Int32Array, rowSize: number, out: Float32Array): void {
  for (let i = 0; i < index.length; i++) {
    out.set(x.subarray(index[i] * rowSize, (index[i] + 1) * rowSize), i * rowSize)
  }
}
