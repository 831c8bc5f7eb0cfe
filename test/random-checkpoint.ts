/** A small random checkpoint of any shape, in memory, for laws that must hold at every size. */

import { parameterTable, parseConfig } from "../src/model"
import { encodeSafetensors, type TensorData } from "../src/weights/safetensors"
import { bytesFiles, type FileSet } from "../src/weights/source"

/** Numbers in [-1, 1) from a seed (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let x = Math.imul(state ^ (state >>> 15), state | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 31 - 1
  }
}

/** No size here is one of the published model's: patch 10, shuffle 3, head_dim 16, vision heads of 6, table 7×7. */
export const ODD_CONFIG: Readonly<Record<string, unknown>> = {
  hidden_size: 40,
  intermediate_size: 56,
  num_hidden_layers: 2,
  num_attention_heads: 6,
  num_key_value_heads: 2,
  head_dim: 16,
  vocab_size: 97,
  rms_norm_eps: 1e-5,
  rope_parameters: { rope_theta: 500 },
  max_sequence_length: 256,
  eos_token_id: 3,
  tie_word_embeddings: false,
  pixel_shuffle_scale: 3,
  vision_patch_size: 10,
  video_patch_size: 10,
  vision_min_num_patches: 9,
  vision_max_num_patches: 90,
  vision_config: {
    hidden_size: 24,
    intermediate_size: 31,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_patches: 49,
    patch_size: 10,
    layer_norm_eps: 1e-5,
    pixel_shuffle_scale_factor: 3,
  },
}

/** Weights of about unit gain, norms around 1, by canonical name. */
export function randomTensors(config: Readonly<Record<string, unknown>>, seed = 1): Map<string, TensorData> {
  const next = randomNumbers(seed)
  const tensors = new Map<string, TensorData>()
  for (const [name, { axes }] of parameterTable(parseConfig(config))) {
    const shape = axes.map(([, size]) => size)
    const isNorm = shape.length === 1 && name.endsWith(".weight")
    const spread = isNorm
      ? 0.3
      : shape.length === 1
        ? 0.2
        : /(?:embed_tokens|position_embedding)\.weight$/.test(name)
          ? 1
          : 1.5 / Math.sqrt(shape[1])
    const data = Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => (isNorm ? 1 : 0) + spread * next())
    tensors.set(name, { shape, data })
  }
  return tensors
}

/** The files of a checkpoint folder. */
export function checkpointFiles(
  config: Readonly<Record<string, unknown>>,
  tensors: ReadonlyMap<string, TensorData>,
): FileSet {
  return bytesFiles("random", {
    "config.json": new TextEncoder().encode(JSON.stringify(config)),
    "model.safetensors": encodeSafetensors(Object.fromEntries(tensors)),
  })
}
