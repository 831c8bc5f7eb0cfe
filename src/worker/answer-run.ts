/** A running answer that can be iterated over and awaited, also both, also later. */

import { IsaacError } from "../errors"
import type { Answer, AnswerEvent, AnswerStream } from "../isaac"

/** Starts when somebody reads or waits. All readers see all events; the fastest one pulls. */
export class AnswerRun<T extends Answer = Answer> implements AnswerStream<T> {
  readonly #source: AsyncIterator<AnswerEvent<T>>
  readonly #events: AnswerEvent<T>[] = []
  /** The next event is on its way. */
  #pull: Promise<void> | undefined
  #ended = false
  #failure: { readonly error: unknown } | undefined
  #readers = 0

  constructor(source: AsyncIterator<AnswerEvent<T>>) {
    this.#source = source
  }

  /** The whole answer. Rejects with the error that ended it. */
  async answer(): Promise<T> {
    let answer: T | undefined
    // To the very end: leaving at the final event would count as giving up.
    for await (const event of this) {
      if (event.type === "final") answer = event.answer
    }
    if (answer !== undefined) return answer
    throw new IsaacError("aborted", "the answer's iteration was left before its end")
  }

  // biome-ignore lint/suspicious/noThenProperty: being awaitable is what it is for
  then<A = T, B = never>(
    onAnswer?: ((answer: T) => A | PromiseLike<A>) | null,
    onError?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.answer().then(onAnswer, onError)
  }

  catch<B = never>(onError?: ((error: unknown) => B | PromiseLike<B>) | null): Promise<T | B> {
    return this.answer().catch(onError)
  }

  finally(onEnd?: (() => void) | null): Promise<T> {
    return this.answer().finally(onEnd)
  }

  get [Symbol.toStringTag](): string {
    return "AnswerRun"
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<AnswerEvent<T>, void> {
    this.#readers++
    try {
      for (let i = 0; ; ) {
        if (i < this.#events.length) {
          yield this.#events[i++]
        } else if (this.#ended) {
          if (this.#failure) throw this.#failure.error
          return
        } else {
          this.#pull ??= this.#next()
          await this.#pull
        }
      }
    } finally {
      this.#readers--
      // The last reader leaves early: the engine can stop.
      if (this.#readers === 0 && !this.#ended) {
        this.#ended = true
        await this.#source.return?.()
      }
    }
  }

  async #next(): Promise<void> {
    try {
      const { done, value } = await this.#source.next()
      if (done) this.#ended = true
      else this.#events.push(value)
    } catch (error) {
      this.#ended = true
      this.#failure = { error }
    } finally {
      this.#pull = undefined
    }
  }
}
