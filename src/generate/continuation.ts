/** One answer as it grows: from a row of logits to a token and its text, until something ends it. */

import { IsaacError } from "../errors"
import type { TensorStream } from "../stream"
import { checkLogprobs, describeToken, LogDistribution, type TokenAlternative } from "./logprobs"
import { Sampler, type SamplingOptions } from "./sampler"
import { checkStop, StopStrings } from "./stop-strings"
import { TextStream } from "./text-stream"
import type { Vocabulary } from "./vocabulary"

/** stop: the model or a stop text ended it; length: `maxNewTokens` or the context was reached; abort: the caller's signal fired. */
export type FinishReason = "stop" | "length" | "abort"

/** One generated token; a stop token is the last one. */
export interface GeneratedToken {
  readonly id: number
  /**
   * The text that became certain with this token: never half a character, empty while one is still open, and nothing
   * that may become a stop text.
   */
  readonly text: string
  /** Natural logarithm of the token's probability at temperature 1, before bias and penalties; only with `logprobs`. */
  readonly logprob?: number
  /** The likeliest tokens at this place, in descending order; only with `logprobs` of at least 1. */
  readonly top?: readonly TokenAlternative[]
}

export interface GenerationOptions extends SamplingOptions {
  /** Default: max_new_tokens of the checkpoint's generation_config.json, else 1024. */
  readonly maxNewTokens?: number
  /** Ids that end the answer; default: those of the checkpoint. */
  readonly stopIds?: readonly number[]
  /**
   * Texts that end the answer and are no part of it, reasoning and tags included: up to 64 of up to 1024 characters.
   * Text that may be the beginning of one comes out when it is known not to be.
   */
  readonly stop?: string | readonly string[]
  /** Also give each token's log-probability; a number asks for so many alternatives too (up to 20). */
  readonly logprobs?: boolean | number
}

/** What a continuation needs beside its options' defaults. */
export interface ContinuationSetup extends GenerationOptions {
  readonly maxNewTokens: number
  readonly stopIds: readonly number[]
  readonly vocabulary: Vocabulary
}

export class Continuation {
  /** What ended it; undefined while it goes on. */
  finishReason: FinishReason | undefined
  readonly #setup: ContinuationSetup
  readonly #sampler: Sampler
  readonly #text = new TextStream()
  readonly #stops: StopStrings
  readonly #logprobs: number | undefined
  #tokens = 0

  /**
   * @param prompt what is continued
   * Throws bad_input for options out of range.
   */
  constructor(prompt: TensorStream, setup: ContinuationSetup) {
    const { maxNewTokens, stopIds, vocabulary } = setup
    if (!Number.isInteger(maxNewTokens) || maxNewTokens < 1) {
      throw new IsaacError("bad_input", `maxNewTokens is ${String(maxNewTokens)}; it must be an integer of at least 1`)
    }
    if (!Array.isArray(stopIds) || !stopIds.every((id) => Number.isInteger(id) && id >= 0)) {
      throw new IsaacError("bad_input", `stopIds is ${String(stopIds)}; it must be an array of token ids`)
    }
    this.#setup = setup
    this.#stops = new StopStrings(checkStop(setup.stop))
    this.#logprobs = checkLogprobs(setup.logprobs)
    this.#sampler = new Sampler(vocabulary.size, setup, {
      prompt: () => textIds(prompt, vocabulary.size),
      idsOf: vocabulary.encode && ((text) => vocabulary.encode!(text)),
    })
  }

  get seed(): number {
    return this.#sampler.seed
  }

  /** Tokens so far, an end token included. */
  get tokens(): number {
    return this.#tokens
  }

  /** The stop text that ended it. */
  get stopped(): string | null {
    return this.#stops.hit
  }

  /**
   * The next token, and the last one if `finishReason` is set afterwards.
   *
   * @param logits [V]
   * @param full there is no room for this token before another one
   */
  next(logits: Float32Array, full: boolean): GeneratedToken {
    const { vocabulary, stopIds, maxNewTokens } = this.#setup
    // 1. Sample.
    const id = this.#sampler.next(logits)
    this.#tokens++
    const ends = stopIds.includes(id)
    const last = ends || full || this.#tokens === maxNewTokens

    // 2. Its text; the last one brings what was held back.
    let piece = ends || vocabulary.isSpecial(id) ? "" : this.#text.push(vocabulary.tokenBytes(id))
    if (last) piece += this.#text.end()
    let text = this.#stops.push(piece)
    if (this.#stops.hit !== null) {
      this.finishReason = "stop"
    } else if (last) {
      text += this.#stops.end()
      this.finishReason = ends ? "stop" : "length"
    }

    // 3. What the model made of it.
    if (this.#logprobs === undefined) return { id, text }
    const distribution = new LogDistribution(logits, vocabulary.size)
    const logprob = distribution.of(id)
    if (this.#logprobs === 0) return { id, text, logprob }
    const top = distribution
      .top(this.#logprobs)
      .map((other) => describeToken(other, distribution.of(other), vocabulary))
    return { id, text, logprob, top }
  }

  /** Broken off: the text that was held back since it might have begun a stop text. */
  abort(): string {
    this.finishReason = "abort"
    return this.#stops.end()
  }
}

/** The ids of a prompt's text. Its pictures have none: their part of the token view is no vocabulary. */
function* textIds(prompt: TensorStream, size: number): Generator<number> {
  for (const { type, data, idxRange } of prompt.events) {
    if (type !== "text") continue
    for (const id of data.values.subarray(...idxRange)) {
      if (id >= 0 && id < size) yield id
    }
  }
}
