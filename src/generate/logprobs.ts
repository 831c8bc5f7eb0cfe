/**
 * How likely the model itself found a token: natural logarithms of softmax probabilities at temperature 1, over the ids
 * that can be sampled, before bias, penalties and whatever else is made of them.
 */

import { numberIn } from "./option-ranges"
import { largest } from "./sampler"
import type { Vocabulary } from "./vocabulary"

/** Most alternatives for each token. */
const MOST = 20

export interface TokenAlternative {
  readonly id: number
  /** What the token stands for; U+FFFD for parts of characters. */
  readonly text: string
  /** The same in UTF-8, exactly. */
  readonly bytes: Uint8Array
  readonly logprob: number
}

/** A token of an answer. */
export interface TokenLogprob extends TokenAlternative {
  /** The likeliest tokens at its place, in descending order; there when asked for. */
  readonly top?: readonly TokenAlternative[]
}

/** How many alternatives are asked for; undefined when no log-probabilities are. Throws bad_input. */
export function checkLogprobs(logprobs: unknown): number | undefined {
  if (logprobs === undefined || logprobs === false) return undefined
  return logprobs === true ? 0 : numberIn("logprobs", logprobs, { low: 0, high: MOST, integer: true })
}

/** One row of logits [V] as a distribution over ids 0 … size-1. */
export class LogDistribution {
  readonly #logits: Float32Array
  readonly #size: number
  readonly #max: number
  readonly #logSum: number

  /** Throws not_finite for logits that are not numbers. */
  constructor(logits: Float32Array, size: number) {
    this.#logits = logits
    this.#size = size
    this.#max = logits[largest(logits, size)]
    let sum = 0
    for (let id = 0; id < size; id++) sum += Math.exp(logits[id] - this.#max)
    this.#logSum = Math.log(sum)
  }

  of(id: number): number {
    return this.#logits[id] - this.#max - this.#logSum
  }

  /** The `count` likeliest ids in descending order, the lower id first on a tie. */
  top(count: number): number[] {
    const best: number[] = []
    for (let id = 0; id < this.#size; id++) {
      if (best.length === count && !(this.#logits[id] > this.#logits[best[count - 1]])) continue
      let at = best.length
      while (at > 0 && this.#logits[id] > this.#logits[best[at - 1]]) at--
      best.splice(at, 0, id)
      best.length = Math.min(best.length, count)
    }
    return best
  }
}

/** A token of an answer with what it stands for, from what generation tells of it. */
export function tokenLogprob(
  { id, logprob, top }: { readonly id: number; readonly logprob?: number; readonly top?: readonly TokenAlternative[] },
  vocabulary: Vocabulary,
): TokenLogprob {
  const token = describeToken(id, logprob ?? Number.NaN, vocabulary)
  return top === undefined ? token : { ...token, top }
}

/** A token with what it stands for. */
export function describeToken(id: number, logprob: number, vocabulary: Vocabulary): TokenAlternative {
  const bytes = vocabulary.tokenBytes(id).slice()
  return { id, text: new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes), bytes, logprob }
}
