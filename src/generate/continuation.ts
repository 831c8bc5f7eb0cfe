/** One answer as it grows: from a row of logits to a token and its text, until something ends it. */

import { IsaacError } from "../errors"
import type { TensorStream } from "../stream"
import type { Guide } from "./guide"
import { checkLogprobs, describeToken, LogDistribution, type TokenAlternative } from "./logprobs"
import { Sampler, type SamplingOptions } from "./sampler"
import { checkStop, StopStrings } from "./stop-strings"
import { TextStream } from "./text-stream"
import type { Vocabulary } from "./vocabulary"

/**
 * stop: the model or a stop text ended it; length: `maxNewTokens` or the context was reached, or a guided answer had no
 * room for what was to come; abort: the caller's signal fired.
 */
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
  /** Keeps each answer within rules of its own: where an answer begins. */
  readonly guide?: { start(): Guide }
}

export class Continuation {
  /** What ended it; undefined while it goes on. */
  finishReason: FinishReason | undefined
  readonly #setup: ContinuationSetup
  readonly #sampler: Sampler
  readonly #text = new TextStream()
  readonly #stops: StopStrings
  readonly #logprobs: number | undefined
  readonly #guide: Guide | undefined
  /** Tokens that come next in any case, the first one first. */
  #forced: number[] = []
  #tokens = 0
  #forcedTokens = 0
  /** What should come next had no room. */
  #cut = false

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
    this.#guide = setup.guide?.start()
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

  /** Of the tokens so far, those that the guide left no choice about. */
  get forcedTokens(): number {
    return this.#forcedTokens
  }

  /** The stop text that ended it. */
  get stopped(): string | null {
    return this.#stops.hit
  }

  /** Whether the answer has ended as its guide's rules allow, if it has one. */
  get whole(): boolean {
    const ended = this.finishReason === "stop" || this.finishReason === "length"
    return ended && this.stopped === null && (this.#guide?.mayEnd ?? true)
  }

  /** Tokens that come next in any case: `next` gives them, the first one first, and looks at no logits for them. */
  get forced(): readonly number[] {
    return this.#forced
  }

  /** Of these, the ones that something may follow: not the end token, which is the last if it is among them. */
  get ahead(): readonly number[] {
    return this.#forced.filter((id) => !this.#setup.stopIds.includes(id))
  }

  /** Whether `next` needs logits for a token that is forced. */
  get wantsLogits(): boolean {
    return this.#logprobs !== undefined
  }

  /**
   * The next token, and the last one if `finishReason` is set afterwards.
   *
   * @param logits [V]; undefined will do for a forced token, unless logits are wanted for it too
   * @param room how many tokens the context takes yet: this one needs none if it is the last
   */
  next(logits: Float32Array | undefined, room: number): GeneratedToken {
    const { vocabulary, stopIds, maxNewTokens } = this.#setup
    const left = Math.min(maxNewTokens - this.#tokens, room + 1)
    // 1. Sample, or take what must come.
    const id = this.#pick(logits, left)
    this.#tokens++
    const ends = stopIds.includes(id)
    const last = ends || left === 1

    // 2. Its text; the last one brings what was held back.
    let piece = ends || vocabulary.isSpecial(id) ? "" : this.#text.push(vocabulary.tokenBytes(id))
    if (!ends) this.#guideOn(id, left - 1)
    const complete = last || this.#complete
    if (complete) piece += this.#text.end()
    let text = this.#stops.push(piece)
    if (this.#stops.hit !== null) {
      this.finishReason = "stop"
    } else if (complete) {
      text += this.#stops.end()
      this.finishReason = this.#cut || (last && !ends) ? "length" : "stop"
    }

    // 3. What the model made of it.
    if (this.#logprobs === undefined || logits === undefined) return { id, text }
    const distribution = new LogDistribution(logits, vocabulary.size)
    const logprob = distribution.of(id)
    if (this.#logprobs === 0) return { id, text, logprob }
    const top = distribution
      .top(this.#logprobs)
      .map((other) => describeToken(other, distribution.of(other), vocabulary))
    return { id, text, logprob, top }
  }

  /** Nothing may follow, and there is no end token that could say so. */
  get #complete(): boolean {
    return (this.#guide?.mustEnd ?? false) && this.#setup.stopIds.every((id) => this.#sampler.bans(id))
  }

  #pick(logits: Float32Array | undefined, left: number): number {
    const forced = this.#forced.shift()
    if (forced !== undefined) {
      this.#forcedTokens++
      this.#sampler.take(forced)
      return forced
    }
    if (logits === undefined) throw new IsaacError("internal", "a token is to be sampled without logits")
    if (this.#guide === undefined) return this.#sampler.next(logits)
    const { stopIds } = this.#setup
    const { mayEnd } = this.#guide
    const tokens = this.#guide.allowed(left)
    const end = stopIds.find((id) => !this.#sampler.bans(id))
    if (!mayEnd || end === undefined) return this.#sampler.next(logits, { tokens, stopIds, mayEnd })
    // It may end here. If the model wants something for which there is no room any more, it does.
    const wished = this.#sampler.next(logits, {
      tokens: this.#guide.allowed(Number.POSITIVE_INFINITY),
      stopIds,
      mayEnd,
    })
    if (tokens.has(wished) || stopIds.includes(wished)) return wished
    this.#cut = true
    return end
  }

  /** The guide sees a token; of several that are forced it was the last, it tells what must follow. */
  #guideOn(id: number, left: number): void {
    if (this.#guide === undefined) return
    this.#guide.accept(id)
    if (this.#forced.length > 0) return
    const { stopIds } = this.#setup
    const forced = this.#guide.mustEnd ? stopIds.slice(0, 1) : this.#guide.forced(left)
    const banned = forced.findIndex((id) => this.#sampler.bans(id) || (stopIds.includes(id) && !this.#guide!.mustEnd))
    this.#forced = forced.slice(0, banned < 0 ? left : Math.min(banned, left))
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
