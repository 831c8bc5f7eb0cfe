/**
 * Images → tokens for the decoder:
 *
 *     patches ── vision embeddings ── vision encoder ── pixel shuffle ── projector ──▶ [N, D]
 *
 * All images of a pass are one packed sequence of P patches; each becomes rows·columns / r² tokens.
 */

import { IsaacError, isIsaacError } from "../errors"
import type { Backend, Tensor } from "../ops/backend"
import type { VisionConfig } from "./config"
import type { ForwardHooks } from "./forward-hooks"
import { pixelShuffle } from "./pixel-shuffle"
import { type ProjectorWeights, project } from "./projector"
import { embedPatches, type ImagePatches, type VisionEmbeddingWeights } from "./vision-embeddings"
import { cumulativeLengths, encodePatches, type VisionEncoderWeights } from "./vision-encoder"

export interface VisionTowerWeights {
  readonly embeddings: VisionEmbeddingWeights
  readonly encoder: VisionEncoderWeights
  readonly projector: ProjectorWeights
}

/** Smallest number of patches that a pass takes before images are spread over several. */
const PACK = 4096

/** Most patches that images are packed to; a single image may be larger. Bounds the memory of a pass. */
export function packLimit(config: VisionConfig): number {
  return Math.max(PACK, config.maxPatches)
}

/** Images in the given order → [N, D], N = Σ rows·columns / r². At least one image. */
export function encodeImages(
  backend: Backend,
  images: readonly ImagePatches[],
  weights: VisionTowerWeights,
  config: VisionConfig,
  hooks: ForwardHooks = {},
): Tensor {
  const passes = packImages(images, packLimit(config))
  return backend.scope(() => {
    const tokens = passes.map((pass) => encodePass(backend, pass, weights, config, hooks))
    return tokens.length === 1 ? tokens[0] : backend.concatRows(tokens) // [N, D]
  })
}

/** One packed sequence through the tower. Throws out_of_memory with what the images would take. */
function encodePass(
  backend: Backend,
  images: readonly ImagePatches[],
  weights: VisionTowerWeights,
  config: VisionConfig,
  hooks: ForwardHooks,
): Tensor {
  try {
    return encodePacked(backend, images, weights, config, hooks)
  } catch (error) {
    if (!(isIsaacError(error) && error.code === "out_of_memory")) throw error
    const patches = images.reduce((sum, { rows, columns }) => sum + rows * columns, 0)
    const what = images.length === 1 ? "The image" : `${images.length} images together`
    throw new IsaacError(
      "out_of_memory",
      `${what} cannot be looked at: ${patches} patches (${patches / config.pixelShuffle ** 2} tokens) do not fit into ` +
        `the memory that is left. Give a smaller picture, or load with a smaller maxContext, sessionMemory or dtype. (${error.message})`,
      { cause: error },
    )
  }
}

function encodePacked(
  backend: Backend,
  images: readonly ImagePatches[],
  weights: VisionTowerWeights,
  config: VisionConfig,
  hooks: ForwardHooks,
): Tensor {
  return backend.scope(() => {
    // 1. Patches and their places in the picture.
    const embedded = embedPatches(backend, images, weights.embeddings, config, hooks) // [P, Dv]
    // 2. Attention inside each image.
    const encoded = encodePatches(backend, embedded, cumulativeLengths(images), weights.encoder, config, hooks) // [P, Dv]
    // 3. r×r patches become one token.
    const shuffled = pixelShuffle(backend, encoded, images, config.pixelShuffle) // [N, Dv·r²]
    hooks.onStage?.("vision_pixel_shuffle", shuffled)
    // 4. To the decoder's width.
    const tokens = project(backend, shuffled, weights.projector) // [N, D]
    hooks.onStage?.("vision_projector", tokens)
    return tokens
  })
}

/** Split into runs of whole images of at most `limit` patches each. */
export function packImages(images: readonly ImagePatches[], limit: number): ImagePatches[][] {
  const passes: ImagePatches[][] = []
  let room = 0
  for (const image of images) {
    const patches = image.rows * image.columns
    if (passes.length === 0 || patches > room) {
      passes.push([])
      room = limit
    }
    passes[passes.length - 1].push(image)
    room -= patches
  }
  return passes
}
