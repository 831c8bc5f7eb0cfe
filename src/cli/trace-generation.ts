/** Greedy decoding with everything a golden records of it. */

import type { DecoderCache, IsaacModel, TensorStream } from "../internal"

export interface GreedyTrace {
  /** [S] the likeliest id of each step, and the one after it. */
  readonly ids: Int32Array
  readonly secondIds: Int32Array
  /** [S] how far apart their logits are. */
  readonly gaps: Float32Array
  /** [S-1] the position at which each id but the last was fed back. */
  readonly positions: Int32Array
  /** [S·V] the logits that each id was taken from. */
  readonly logits: Float32Array
}

/**
 * Prefill, then `steps` greedy ids through the KV cache. Stop tokens are ignored and every row of the embedding may
 * be chosen, also those without a token: this compares numbers, it does not write an answer.
 */
export async function generateGreedy(
  model: IsaacModel,
  tensorStream: TensorStream,
  steps: number,
  signal?: AbortSignal,
): Promise<GreedyTrace> {
  const cache = model.newCache(tensorStream.shape[1] + steps)
  try {
    const vocabulary = model.config.text.vocabSize
    const [ids, secondIds] = [new Int32Array(steps), new Int32Array(steps)]
    const gaps = new Float32Array(steps)
    const positions = new Int32Array(steps - 1)
    const logits = new Float32Array(steps * vocabulary)
    for (let step = 0; step < steps; step++) {
      signal?.throwIfAborted()
      if (step > 0) positions[step - 1] = cache.nextPosition()
      const input = step === 0 ? { tensorStream } : { inputIds: ids.subarray(step - 1, step) }
      const row = await lastLogits(model, input, cache) // [V]
      const [first, second] = largestTwo(row)
      ids[step] = first
      secondIds[step] = second
      gaps[step] = row[first] - row[second]
      logits.set(row, step * vocabulary)
    }
    return { ids, secondIds, gaps, positions, logits }
  } finally {
    cache.free()
  }
}

async function lastLogits(
  model: IsaacModel,
  input: { readonly tensorStream: TensorStream } | { readonly inputIds: Int32Array },
  cache: DecoderCache,
): Promise<Float32Array> {
  const { logits } = model.forward({ ...input, cache, logits: "last" }) // [1, V]
  try {
    return await model.backend.read(logits!)
  } finally {
    model.backend.free(logits!)
  }
}

/** Indices of the largest and the second largest number; of equal ones the first counts as larger. */
export function largestTwo(row: Float32Array): readonly [first: number, second: number] {
  let [first, second] = row[1] > row[0] ? [1, 0] : [0, 1]
  for (let i = 2; i < row.length; i++) {
    if (row[i] > row[first]) {
      second = first
      first = i
    } else if (row[i] > row[second]) second = i
  }
  return [first, second]
}
