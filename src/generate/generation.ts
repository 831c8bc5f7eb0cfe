/** The generation loop: prompt in, tokens out, one at a time. */

import { IsaacError } from "../errors"
import type { TensorStream } from "../stream"
import { type AbortFlag, yieldToEventLoop } from "./abort"
import { Continuation, type ContinuationSetup, type FinishReason, type GeneratedToken } from "./continuation"
import type { Session } from "./session"

export type { FinishReason, GeneratedToken, GenerationOptions } from "./continuation"
export type { Vocabulary } from "./vocabulary"

/** Most tokens that are taken over in one pass behind a prompt. */
const LARGEST_PASS = 64
/** The same where the logits behind each are wanted: the vocabulary has 150k columns. */
const MOST_ROWS = 16

/** What a generation needs beside its options' defaults. */
export interface GenerationSetup extends ContinuationSetup {
  readonly abort?: AbortFlag
  readonly onProgress?: (progress: AnswerProgress) => void
}

/** How far a generation is. */
export interface AnswerProgress {
  /** pictures: seen by the vision tower; prompt: its tokens computed; answer: tokens written. */
  readonly stage: "pictures" | "prompt" | "answer"
  readonly done: number
  /** Of an answer: the most tokens that it may have. */
  readonly total: number
}

/** How a generation went; complete when its iteration has ended. */
export interface GenerationReport {
  finishReason: FinishReason | undefined
  /** The stop text that ended it; null when something else did. */
  stopped: string | null
  /** What was written is complete by the rules of its guide, which a stop text and an abort may prevent. */
  whole: boolean
  readonly promptTokens: number
  readonly imageTokens: number
  /** Tokens of the prompt that the session held already. */
  reusedTokens: number
  completionTokens: number
  /** Of these, tokens that a guide left no choice about: they took no pass of their own. */
  forcedTokens: number
  visionMs: number
  prefillMs: number
  decodeMs: number
  /** What repeats a drawn answer. */
  readonly seed: number
  /** After an abort: text that was held back since it might have begun a stop text. Else empty. */
  heldText: string
}

/** A generation in progress: iterate over it once. */
export class Generation implements AsyncIterable<GeneratedToken> {
  readonly report: GenerationReport
  readonly #source: Session | (() => Session)
  readonly #prompt: TensorStream
  readonly #abort: AbortFlag | undefined
  readonly #continuation: Continuation
  readonly #onProgress: GenerationSetup["onProgress"]
  readonly #maxNewTokens: number
  #started = false

  /**
   * @param source the session to go on with, or how to open one for this generation alone
   * Throws bad_input for options out of range.
   */
  constructor(source: Session | (() => Session), prompt: TensorStream, setup: GenerationSetup) {
    this.#source = source
    this.#prompt = prompt
    this.#abort = setup.abort
    this.#onProgress = setup.onProgress
    this.#maxNewTokens = setup.maxNewTokens
    this.#continuation = new Continuation(prompt, setup)
    this.report = {
      finishReason: undefined,
      stopped: null,
      whole: false,
      promptTokens: prompt.shape[1],
      imageTokens: imageTokens(prompt),
      reusedTokens: 0,
      completionTokens: 0,
      forcedTokens: 0,
      visionMs: 0,
      prefillMs: 0,
      decodeMs: 0,
      seed: this.#continuation.seed,
      heldText: "",
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
      if (!(error instanceof IsaacError && error.code === "aborted" && this.#abort?.aborted)) {
        throw error
      }
      report.heldText = this.#continuation.abort()
      report.finishReason = "abort"
    } finally {
      release()
      if (own) {
        await session.dispose()
      }
    }
  }

  async *#tokens(session: Session): AsyncGenerator<GeneratedToken, void> {
    const { report } = this
    const continuation = this.#continuation

    // 1. The prompt.
    const told = this.#onProgress
    const prefilled = await session.prefill(this.#prompt, this.#abort, (stage, done, total) =>
      told?.({ stage, done, total }),
    )
    report.reusedTokens = prefilled.reused
    report.visionMs = prefilled.visionMs
    report.prefillMs = prefilled.prefillMs

    const room = session.room
    const held = session.length
    const next = (logits: Float32Array | undefined) => {
      const token = continuation.next(logits, room - continuation.tokens)
      report.completionTokens = continuation.tokens
      report.forcedTokens = continuation.forcedTokens
      report.finishReason = continuation.finishReason
      report.stopped = continuation.stopped
      report.whole = continuation.whole
      told?.({ stage: "answer", done: continuation.tokens, total: this.#maxNewTokens })
      return token
    }
    for (let rows = [prefilled.logits]; ; ) {
      // 2. Sample, and give the token out; with several rows, those that had to follow the one before.
      const pending: number[] = []
      for (const logits of rows) {
        const token = next(logits)
        pending[0] = token.id
        yield token
        if (report.finishReason !== undefined) {
          const whole = held + report.completionTokens - 1
          if (session.length > whole) session.truncate(whole)
          return
        }
      }

      // 3. What must follow goes the same way at once, unless logits are wanted for it too.
      while (continuation.forced.length > 0 && pending.length < LARGEST_PASS && !continuation.wantsLogits) {
        const token = next(undefined)
        pending.push(token.id)
        yield token
        if (report.finishReason !== undefined) {
          return
        }
      }

      // 4. Take all of it over in one pass, and compute the next logits.
      const start = performance.now()
      const ahead = continuation.ahead.slice(0, Math.max(0, Math.min(MOST_ROWS, session.room) - pending.length))
      const wanted = ahead.length === 0 ? "last" : "all"
      const logits = await session.steps([...pending, ...ahead], wanted, this.#abort) // [1 + ahead, V]
      const size = logits.length / (1 + ahead.length)
      rows = Array.from({ length: 1 + ahead.length }, (_, i) => logits.subarray(i * size, (i + 1) * size))
      report.decodeMs += performance.now() - start
      await yieldToEventLoop()
    }
  }
}

/** Tokens of a prompt that come from images. */
export function imageTokens(prompt: TensorStream): number {
  return prompt.modalityMask().reduce((sum, modality) => sum + (modality === 0 ? 1 : 0), 0)
}
