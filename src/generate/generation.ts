/** The generation loop: prompt in, tokens out, one at a time. */

import { IsaacError } from "../errors"
import type { TensorStream } from "../stream"
import { type AbortFlag, yieldToEventLoop } from "./abort"
import { logProbability, Sampler, type SamplingOptions } from "./sampler"
import type { Session } from "./session"
import { TextStream } from "./text-stream"

/** stop: the model ended; length: `maxNewTokens` or the context was reached; abort: the caller's signal fired. */
export type FinishReason = "stop" | "length" | "abort"

/** One generated token; a stop token is the last one. */
export interface GeneratedToken {
  readonly id: number
  /** The text that became complete with this token: never half a character, empty while one is still open. */
  readonly text: string
  /** Natural logarithm of the token's probability at temperature 1; only with `logprobs`. */
  readonly logprob?: number
}

export interface GenerationOptions extends SamplingOptions {
  /** Default: max_new_tokens of the checkpoint's generation_config.json, else 1024. */
  readonly maxNewTokens?: number
  /** Ids that end the answer; default: those of the checkpoint. */
  readonly stopIds?: readonly number[]
  /** Also give each token's log-probability. */
  readonly logprobs?: boolean
}

/** The part of a tokenizer that is needed here. */
export interface Vocabulary {
  /** Ids 0 … size-1 exist. */
  readonly size: number
  tokenBytes(id: number): Uint8Array
  /** Special tokens steer the model and are no text. */
  isSpecial(id: number): boolean
}

/** What a generation needs beside its options' defaults. */
export interface GenerationSetup extends GenerationOptions {
  readonly maxNewTokens: number
  readonly stopIds: readonly number[]
  readonly vocabulary: Vocabulary
  readonly abort?: AbortFlag
}

/** How a generation went; complete when its iteration has ended. */
export interface GenerationReport {
  finishReason: FinishReason | undefined
  readonly promptTokens: number
  readonly imageTokens: number
  /** Tokens of the prompt that the session held already. */
  reusedTokens: number
  completionTokens: number
  visionMs: number
  prefillMs: number
  decodeMs: number
  /** What repeats a drawn answer. */
  readonly seed: number
}

/** A generation in progress: iterate over it once. */
export class Generation implements AsyncIterable<GeneratedToken> {
  readonly report: GenerationReport
  readonly #source: Session | (() => Session)
  readonly #prompt: TensorStream
  readonly #setup: GenerationSetup
  readonly #sampler: Sampler
  #started = false

  /**
   * @param source the session to go on with, or how to open one for this generation alone
   * Throws bad_input for options out of range.
   */
  constructor(source: Session | (() => Session), prompt: TensorStream, setup: GenerationSetup) {
    const { maxNewTokens, stopIds } = setup
    if (!Number.isInteger(maxNewTokens) || maxNewTokens < 1) {
      throw new IsaacError("bad_input", `maxNewTokens is ${String(maxNewTokens)}; it must be an integer of at least 1`)
    }
    if (!Array.isArray(stopIds) || !stopIds.every((id) => Number.isInteger(id) && id >= 0)) {
      throw new IsaacError("bad_input", `stopIds is ${String(stopIds)}; it must be an array of token ids`)
    }
    this.#source = source
    this.#prompt = prompt
    this.#setup = setup
    this.#sampler = new Sampler(setup.vocabulary.size, setup)
    this.report = {
      finishReason: undefined,
      promptTokens: prompt.shape[1],
      imageTokens: prompt.modalityMask().reduce((sum, modality) => sum + (modality === 0 ? 1 : 0), 0),
      reusedTokens: 0,
      completionTokens: 0,
      visionMs: 0,
      prefillMs: 0,
      decodeMs: 0,
      seed: this.#sampler.seed,
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<GeneratedToken, void> {
    const { report } = this
    if (this.#started) {
      throw new IsaacError("bad_input", "a generation is iterated over once; start another one")
    }
    this.#started = true
    const own = typeof this.#source === "function"
    const session = typeof this.#source === "function" ? this.#source() : this.#source
    const release = session.claim()
    try {
      yield* this.#tokens(session)
    } catch (error) {
      if (!(error instanceof IsaacError && error.code === "aborted" && this.#setup.abort?.aborted)) {
        throw error
      }
      report.finishReason = "abort"
    } finally {
      release()
      if (own) {
        await session.dispose()
      }
    }
  }

  async *#tokens(session: Session): AsyncGenerator<GeneratedToken, void> {
    const { vocabulary, stopIds, maxNewTokens, logprobs, abort } = this.#setup
    const { report } = this
    const text = new TextStream()

    // 1. The prompt.
    const prefilled = await session.prefill(this.#prompt, abort)
    report.reusedTokens = prefilled.reused
    report.visionMs = prefilled.visionMs
    report.prefillMs = prefilled.prefillMs

    for (let { logits } = prefilled; ; ) {
      // 2. Sample.
      const id = this.#sampler.next(logits)
      report.completionTokens++
      const stop = stopIds.includes(id)
      const last = stop || report.completionTokens === maxNewTokens || session.full

      // 3. Give it out; the last one brings what the text stream held back.
      let piece = vocabulary.isSpecial(id) || stop ? "" : text.push(vocabulary.tokenBytes(id))
      if (last) {
        piece += text.end()
        report.finishReason = stop ? "stop" : "length"
      }
      yield logprobs ? { id, text: piece, logprob: logProbability(logits, id, vocabulary.size) } : { id, text: piece }
      if (last) {
        return
      }

      // 4. Take it over and compute the next logits.
      const start = performance.now()
      logits = await session.step(id, abort)
      report.decodeMs += performance.now() - start
      await yieldToEventLoop()
    }
  }
}
