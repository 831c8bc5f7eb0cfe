/** The Qwen3 decoder: pre-norm layers with grouped-query causal attention over a KV cache, and SwiGLU. */

import type { Backend, KvCache, KvSequence, Tensor, Weight } from "../ops/backend"
import type { TextConfig } from "./config"
import type { ForwardHooks } from "./forward-hooks"

export interface DecoderLayerWeights {
  /** [D] */
  readonly inputNorm: Tensor
  /** [heads·headDim, D] */
  readonly query: Weight
  /** [kvHeads·headDim, D] */
  readonly key: Weight
  readonly value: Weight
  /** [D, heads·headDim] */
  readonly out: Weight
  /** [headDim], one norm for all heads. */
  readonly queryNorm: Tensor
  readonly keyNorm: Tensor
  /** [D] */
  readonly postNorm: Tensor
  /** [I, D] */
  readonly gate: Weight
  readonly up: Weight
  /** [D, I] */
  readonly down: Weight
}

/** What the tokens of a pass share through all layers. */
export interface DecoderPass {
  /** [T, headDim] on the backend. */
  readonly cos: Tensor
  readonly sin: Tensor
  readonly kv: KvCache
  /** Where the T tokens go in the cache, in the order of their rows. */
  readonly sequences: readonly KvSequence[]
}

/** Embedded tokens x [T, D] → [T, D], before the final norm. x itself is left alone. */
export function decode(
  backend: Backend,
  embedded: Tensor,
  layers: readonly DecoderLayerWeights[],
  config: TextConfig,
  pass: DecoderPass,
  hooks: ForwardHooks = {},
): Tensor {
  let x = embedded
  for (const [i, weights] of layers.entries()) {
    hooks.checkAbort?.()
    const next = decoderLayer(backend, x, i, weights, config, pass) // [T, D]
    if (x !== embedded) backend.free(x)
    x = next
    hooks.onStage?.(`decoder_layer_${i}`, x)
  }
  return x
}

/** One decoder layer: x + attention(norm(x)), then x + mlp(norm(x)). [T, D] → [T, D] */
export function decoderLayer(
  backend: Backend,
  x: Tensor,
  layer: number,
  weights: DecoderLayerWeights,
  config: TextConfig,
  pass: DecoderPass,
): Tensor {
  return backend.scope(() => {
    const attended = attention(backend, x, layer, weights, config, pass) // [T, D]
    return mlp(backend, attended, weights, config) // [T, D]
  })
}

function attention(
  backend: Backend,
  x: Tensor,
  layer: number,
  weights: DecoderLayerWeights,
  { headDim, rmsEps }: TextConfig,
  { cos, sin, kv, sequences }: DecoderPass,
): Tensor {
  return backend.scope(() => {
    // 1. Norm.
    const normed = backend.rmsNorm(x, weights.inputNorm, rmsEps) // [T, D]
    // 2. Queries, keys and values, heads side by side.
    const queries = backend.linear(normed, weights.query) // [T, heads·headDim]
    const keys = backend.linear(normed, weights.key) // [T, kvHeads·headDim]
    const v = backend.linear(normed, weights.value) // [T, kvHeads·headDim]
    // 3. Norm of every head, then its rotation by the token's position.
    const q = backend.rope(backend.rmsNorm(queries, weights.queryNorm, rmsEps), cos, sin) // [T, heads·headDim]
    const k = backend.rope(backend.rmsNorm(keys, weights.keyNorm, rmsEps), cos, sin) // [T, kvHeads·headDim]
    // 4. Keys and values go into the cache; each token sees all up to itself.
    const mixed = backend.causalAttention(q, k, v, { kv, layer, sequences, scale: headDim ** -0.5 }) // [T, heads·headDim]
    // 5. Output projection, added to the stream.
    return backend.linear(mixed, weights.out, { residual: x }) // [T, D]
  })
}

function mlp(backend: Backend, x: Tensor, weights: DecoderLayerWeights, { rmsEps }: TextConfig): Tensor {
  return backend.scope(() => {
    // 1. Norm.
    const normed = backend.rmsNorm(x, weights.postNorm, rmsEps) // [T, D]
    // 2. SwiGLU: silu(gate) · up.
    const wide = backend.swiglu(backend.linear(normed, weights.gate), backend.linear(normed, weights.up)) // [T, I]
    // 3. Down, added to the stream.
    return backend.linear(wide, weights.down, { residual: x }) // [T, D]
  })
}
