/** The same methods without a border: the service runs in the caller's thread. */

import type { IsaacError } from "../errors"
import type {
  CallContext,
  Caller,
  CallInput,
  CallName,
  CallOptions,
  CallResult,
  Service,
  StreamInput,
  StreamItem,
  StreamName,
} from "./protocol"

export class LocalCaller<S extends Service> implements Caller<S> {
  readonly #service: S
  readonly #busy = new Set<Promise<unknown>>()
  #failed: IsaacError | undefined

  constructor(service: S) {
    this.#service = service
  }

  async call<K extends CallName<S>>(
    name: K,
    input: CallInput<S, K>,
    options: CallOptions = {},
  ): Promise<CallResult<S, K>> {
    this.#check()
    const result = this.#service.calls[name](input as never, context(options))
    return (await this.#track(result)) as CallResult<S, K>
  }

  async *iterate<K extends StreamName<S>>(
    name: K,
    input: StreamInput<S, K>,
    options: CallOptions = {},
  ): AsyncGenerator<StreamItem<S, K>, void> {
    this.#check()
    const iterator = this.#service.streams[name](input as never, context(options))[Symbol.asyncIterator]()
    let ended = false
    try {
      for (;;) {
        this.#check()
        const item = await this.#track(iterator.next())
        if (item.done) {
          ended = true
          return
        }
        yield item.value as StreamItem<S, K>
      }
    } catch (error) {
      ended = true
      throw error
    } finally {
      if (!ended) {
        await iterator.return?.()
      }
    }
  }

  async idle(): Promise<void> {
    while (this.#busy.size > 0) {
      await Promise.allSettled(this.#busy)
      // A reader that has just been served gets a turn to pull again before we call it idle.
      await new Promise((resolve) => setTimeout(resolve, 0))
    }
  }

  fail(error: IsaacError): void {
    this.#failed ??= error
  }

  #check(): void {
    if (this.#failed !== undefined) {
      throw this.#failed
    }
  }

  #track<T>(promise: Promise<T>): Promise<T> {
    this.#busy.add(promise)
    const done = () => this.#busy.delete(promise)
    promise.then(done, done)
    return promise
  }
}

function context({ signal, onProgress }: CallOptions): CallContext {
  const events = signal instanceof AbortSignal ? signal : new AbortController().signal
  return { abort: signal ?? events, signal: events, progress: (value) => onProgress?.(value) }
}
