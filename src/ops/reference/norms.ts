/** Layer norm and RMS norm over consecutive groups of D numbers. */

/** out = (x − mean) / √(var + eps) · weight + bias in every group; the variance is the biased one (divided by D). */
export function layerNorm(
  x: Float32Array,
  weight: Float32Array,
  bias: Float32Array,
  eps: number,
  out: Float32Array,
): void {
  const D = weight.length
  for (let at = 0; at < x.length; at += D) {
    let sum = 0
    for (let i = 0; i < D; i++) sum += x[at + i]
    const mean = sum / D
    let squares = 0
    for (let i = 0; i < D; i++) squares += (x[at + i] - mean) ** 2
    const scale = 1 / Math.sqrt(squares / D + eps)
    for (let i = 0; i < D; i++) out[at + i] = (x[at + i] - mean) * scale * weight[i] + bias[i]
  }
}

/** out = x / √(mean(x²) + eps) · weight in every group. */
export function rmsNorm(x: Float32Array, weight: Float32Array, eps: number, out: Float32Array): void {
  const D = weight.length
  for (let at = 0; at < x.length; at += D) {
    let squares = 0
    for (let i = 0; i < D; i++) squares += x[at + i] * x[at + i]
    const scale = 1 / Math.sqrt(squares / D + eps)
    for (let i = 0; i < D; i++) out[at + i] = x[at + i] * scale * weight[i]
  }
}
