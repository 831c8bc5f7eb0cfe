/**
 * The SigLIP2 encoder over packed images: no padding, attention is bidirectional inside an image and blind across.
 *
 * Segments of the packed sequence are given by cu_seqlens: image i has the patches cu_seqlens[i] … cu_seqlens[i+1]-1.
 */

import { type Backend, isPacked, type Tensor, type Weight } from "../ops/backend"
import type { VisionConfig } from "./config"
import type { ForwardHooks } from "./forward-hooks"
import type { TokenGrid } from "./pixel-shuffle"

/** A linear layer: [out, in] and [out]. */
export interface Linear {
  readonly weight: Weight
  readonly bias: Tensor
}

/** A layer norm: both [Dv]. */
export interface LayerNorm {
  readonly weight: Tensor
  readonly bias: Tensor
}

export interface VisionLayerWeights {
  readonly norm1: LayerNorm
  readonly query: Linear
  readonly key: Linear
  readonly value: Linear
  readonly out: Linear
  readonly norm2: LayerNorm
  readonly fc1: Linear
  readonly fc2: Linear
}

export interface VisionEncoderWeights {
  readonly layers: readonly VisionLayerWeights[]
  readonly postNorm: LayerNorm
}

/** Where each image's patches begin in the packed sequence, and where the last one ends: [images + 1]. */
export function cumulativeLengths(grids: readonly TokenGrid[]): Int32Array {
  const out = new Int32Array(grids.length + 1)
  for (const [i, { rows, columns }] of grids.entries()) out[i + 1] = out[i] + rows * columns
  return out
}

/** Embedded patches x [P, Dv] → [P, Dv]. Takes x over: it is freed on the way. */
export function encodePatches(
  backend: Backend,
  embedded: Tensor,
  cuSeqlens: Int32Array,
  weights: VisionEncoderWeights,
  config: VisionConfig,
  hooks: ForwardHooks = {},
): Tensor {
  let x = embedded

  // 1. Pre-norm layers.
  for (const [i, layer] of weights.layers.entries()) {
    hooks.checkAbort?.()
    const next = visionLayer(backend, x, cuSeqlens, layer, config) // [P, Dv]
    backend.free(x)
    x = next
    hooks.onStage?.(`vision_layer_${i}`, x)
  }

  // 2. The norm behind the last of them.
  const out = backend.layerNorm(x, weights.postNorm.weight, weights.postNorm.bias, config.layerNormEps) // [P, Dv]
  backend.free(x)
  hooks.onStage?.("vision_post_layernorm", out)
  return out
}

/** One encoder layer: x + attention(norm(x)), then x + mlp(norm(x)). [P, Dv] → [P, Dv] */
export function visionLayer(
  backend: Backend,
  x: Tensor,
  cuSeqlens: Int32Array,
  weights: VisionLayerWeights,
  config: VisionConfig,
): Tensor {
  return backend.scope(() => {
    const attended = attention(backend, x, cuSeqlens, weights, config) // [P, Dv]
    return mlp(backend, attended, weights, config) // [P, Dv]
  })
}

function attention(
  backend: Backend,
  x: Tensor,
  cuSeqlens: Int32Array,
  { norm1, query, key, value, out }: VisionLayerWeights,
  { heads, headDim, layerNormEps }: VisionConfig,
): Tensor {
  return backend.scope(() => {
    // 1. Norm.
    const normed = backend.layerNorm(x, norm1.weight, norm1.bias, layerNormEps) // [P, Dv]
    // 2. Queries, keys and values, heads side by side.
    const q = backend.linear(normed, query.weight, { bias: query.bias }) // [P, heads·headDim]
    const k = backend.linear(normed, key.weight, { bias: key.bias }) // [P, heads·headDim]
    const v = backend.linear(normed, value.weight, { bias: value.bias }) // [P, heads·headDim]
    // 3. softmax(q·kᵀ / √headDim)·v inside each image. Beside quantised weights, whose inputs are rounded to 8 bits, factors
    //    of bfloat16 change nothing that could be seen.
    const factors = isPacked(query.weight.stored) ? "bf16" : "f32"
    const mixed = backend.varlenAttention(q, k, v, cuSeqlens, heads, headDim ** -0.5, { factors }) // [P, heads·headDim]
    // 4. Output projection, added to the stream.
    return backend.linear(mixed, out.weight, { bias: out.bias, residual: x }) // [P, Dv]
  })
}

function mlp(
  backend: Backend,
  x: Tensor,
  { norm2, fc1, fc2 }: VisionLayerWeights,
  { layerNormEps }: VisionConfig,
): Tensor {
  return backend.scope(() => {
    // 1. Norm.
    const normed = backend.layerNorm(x, norm2.weight, norm2.bias, layerNormEps) // [P, Dv]
    // 2. Up, with the tanh form of GELU.
    const wide = backend.linear(normed, fc1.weight, { bias: fc1.bias, activation: "gelu_tanh" }) // [P, I]
    // 3. Down, added to the stream.
    return backend.linear(wide, fc2.weight, { bias: fc2.bias, residual: x }) // [P, Dv]
  })
}
