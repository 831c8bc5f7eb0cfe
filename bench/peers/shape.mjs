/**
 * The text decoder of Isaac-0.1 (Qwen3-1.7B's shape), which every peer computes on random weights.
 * Linear layers are listed as [name, K, N]: a row of K numbers in, N numbers out.
 */
export const decoder = {
  layers: 28,
  hidden: 2048,
  heads: 16,
  kvHeads: 8,
  headDim: 128,
  mlp: 6144,
  vocab: 151936,
  eps: 1e-6,
  ropeTheta: 1e6,
}

/** The vision tower (SigLIP2 so400m) and the projector behind it. */
export const vision = {
  layers: 27,
  hidden: 1152,
  heads: 16,
  headDim: 72,
  mlp: 4304,
  patch: 768,
  shuffle: 2,
  projector: 18432,
}

/** The matrices of one decoder layer. */
export function layerLinears({ hidden, heads, kvHeads, headDim, mlp } = decoder) {
  return [
    ["q", hidden, heads * headDim],
    ["k", hidden, kvHeads * headDim],
    ["v", hidden, kvHeads * headDim],
    ["o", heads * headDim, hidden],
    ["gate", hidden, mlp],
    ["up", hidden, mlp],
    ["down", mlp, hidden],
  ]
}

/** Numbers in all the matrices of the decoder that one token passes: every layer and the head, without the embedding. */
export function decoderNumbers(shape = decoder) {
  const layer = layerLinears(shape).reduce((sum, [, K, N]) => sum + K * N, 0)
  return shape.layers * layer + shape.hidden * shape.vocab
}

/** Multiply-adds of so many layers of the vision tower over one picture of `patches`, and of the projector behind them. */
export function visionWork(layers, patches, { hidden, mlp, shuffle, projector } = vision) {
  const layer = patches * (4 * hidden * hidden + 2 * hidden * mlp) + 2 * patches * patches * hidden
  const tokens = patches / shuffle ** 2
  return layers * layer + tokens * projector * (hidden * shuffle ** 2 + decoder.hidden)
}
