/** Patches → vectors: a linear patch embedding plus the position table resized to each image. */

import { IsaacError } from "../errors"
import type { Backend, Tensor, Weight } from "../ops/backend"
import type { VisionConfig } from "./config"
import type { ForwardHooks } from "./forward-hooks"
import type { TokenGrid } from "./pixel-shuffle"
import { interpolatePositions } from "./position-interpolation"

export interface VisionEmbeddingWeights {
  /** [Dv, 3·patch²], and its bias [Dv]. */
  readonly patch: Weight
  readonly patchBias: Tensor
  /** [side·side, Dv] row-major: kept here and not on the backend, since every image size needs its own resize. */
  readonly positions: Float32Array
}

/** Normalised patches of one image in raster order: [rows·columns, 3·patch²]. */
export interface ImagePatches extends TokenGrid {
  readonly values: Float32Array
}

/** Variable-size images, packed: Σ patches = P. → [P, Dv] */
export function embedPatches(
  backend: Backend,
  images: readonly ImagePatches[],
  weights: VisionEmbeddingWeights,
  config: VisionConfig,
  hooks: ForwardHooks = {},
): Tensor {
  const { hiddenSize, gridSide, patchSize, channels } = config
  const patchWidth = channels * patchSize * patchSize

  // 1. All images' patches below each other.
  let count = 0
  for (const { rows, columns, values } of images) {
    if (values.length !== rows * columns * patchWidth) {
      throw new IsaacError(
        "bad_input",
        `an image of ${rows}×${columns} patches has ${values.length} numbers; with patches of ` +
          `${patchSize}×${patchSize}×${channels} it needs ${rows * columns * patchWidth}`,
      )
    }
    count += rows * columns
  }
  const packed = new Float32Array(count * patchWidth)
  const table = new Float32Array(count * hiddenSize)
  let at = 0
  for (const { rows, columns, values } of images) {
    packed.set(values, at * patchWidth)
    table.set(interpolatePositions(weights.positions, gridSide, hiddenSize, rows, columns), at * hiddenSize)
    at += rows * columns
  }
  const patches = backend.upload(packed, [count, patchWidth]) // [P, 3·patch²]
  hooks.onStage?.("patches", patches)

  // 2. Their positions.
  const positions = backend.upload(table, [count, hiddenSize]) // [P, Dv]
  hooks.onStage?.("pos_embeds", positions)

  // 3. patches · Wᵀ + bias + positions.
  const x = backend.linear(patches, weights.patch, { bias: weights.patchBias, residual: positions }) // [P, Dv]
  hooks.onStage?.("vision_embeddings", x)
  return x
}
