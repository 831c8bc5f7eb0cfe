/** Causal language model loss: how surprised the model is by the next token. */

import { IsaacError } from "../errors"

/** A label that does not count: image tokens, padding, whatever is not to be learned. */
export const IGNORED_LABEL = -100

/** Negative log likelihoods added up, and how many there are. */
export interface LossSum {
  readonly sum: number
  readonly count: number
}

/**
 * What logits row t must predict: the label of token t + 1 of the same sequence; the last row of each predicts nothing.
 *
 * @param labels [B·T]
 * @returns [B·T], IGNORED_LABEL where nothing counts
 */
export function shiftLabels(labels: Int32Array, batch: number): Int32Array {
  const tokens = labels.length / batch
  const targets = new Int32Array(labels.length).fill(IGNORED_LABEL)
  for (let b = 0; b < batch; b++) targets.set(labels.subarray(b * tokens + 1, (b + 1) * tokens), b * tokens)
  return targets
}

/**
 * −log softmax(logits)[target] summed over the rows whose target counts, in float64.
 *
 * @param logits [N, V]
 * @param targets [N]
 */
export function negativeLogLikelihood(logits: Float32Array, targets: Int32Array): LossSum {
  const vocabulary = logits.length / targets.length
  let sum = 0
  let count = 0
  for (let t = 0; t < targets.length; t++) {
    const target = targets[t]
    if (target === IGNORED_LABEL) continue
    if (target < 0 || target >= vocabulary) {
      throw new IsaacError(
        "bad_input",
        `label ${target} is outside the vocabulary of ${vocabulary}; ${IGNORED_LABEL} marks a label that does not count`,
      )
    }
    const row = logits.subarray(t * vocabulary, (t + 1) * vocabulary)
    let largest = Number.NEGATIVE_INFINITY
    for (let v = 0; v < vocabulary; v++) if (row[v] > largest) largest = row[v]
    let total = 0
    for (let v = 0; v < vocabulary; v++) total += Math.exp(row[v] - largest)
    sum += Math.log(total) + largest - row[target]
    count++
  }
  return { sum, count }
}

/** The mean over all that counts; NaN when nothing does, as in the reference. */
export function meanLoss(parts: readonly LossSum[]): number {
  let sum = 0
  let count = 0
  for (const part of parts) {
    sum += part.sum
    count += part.count
  }
  return sum / count
}

/**
 * Cross entropy of logits[:, :-1] against labels[:, 1:].
 *
 * @param logits [B, T, V]
 * @param labels [B·T]
 */
export function crossEntropy(logits: Float32Array, labels: Int32Array, batch: number): number {
  return meanLoss([negativeLogLikelihood(logits, shiftLabels(labels, batch))])
}
