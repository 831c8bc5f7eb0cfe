/** The caller's side of the protocol: turns method calls into requests and replies into promises and iterators. */

import { IsaacError } from "../errors"
import type {
  Caller,
  CallInput,
  CallName,
  CallOptions,
  CallResult,
  Port,
  Reply,
  Request,
  Service,
  StreamInput,
  StreamItem,
  StreamName,
} from "./protocol"
import { fromPlainError } from "./protocol"

interface Pending {
  resolve(reply: Reply): void
  reject(error: unknown): void
}

export interface RpcClientEvents {
  /** The first request waits, or none waits any more: to keep a process alive as long as needed. */
  readonly onBusy?: (busy: boolean) => void
  /** Some request was aborted, its own flag is set already: to interrupt what is being computed. */
  readonly onAbort?: () => void
}

export class RpcClient<S extends Service> implements Caller<S> {
  readonly #port: Port
  /** Requests that wait for a reply now; an open stream waits only while it is being pulled. */
  readonly #pending = new Map<number, Pending>()
  readonly #progress = new Map<number, (value: unknown) => void>()
  readonly #events: RpcClientEvents
  #lastId = 0
  #failed: IsaacError | undefined
  #idleWaiters: (() => void)[] = []

  constructor(port: Port, events: RpcClientEvents = {}) {
    this.#port = port
    this.#events = events
    port.addEventListener("message", (event) => this.#receive(event.data as Reply))
    port.start?.()
  }

  async call<K extends CallName<S>>(
    name: K,
    input: CallInput<S, K>,
    options: CallOptions = {},
  ): Promise<CallResult<S, K>> {
    const request = this.#open("call", name, input, options)
    try {
      const reply = await this.#reply(request.id, request.message)
      return (reply as { value: unknown }).value as CallResult<S, K>
    } finally {
      request.close()
    }
  }

  async *iterate<K extends StreamName<S>>(
    name: K,
    input: StreamInput<S, K>,
    options: CallOptions = {},
  ): AsyncGenerator<StreamItem<S, K>, void> {
    const request = this.#open("stream", name, input, options)
    let ended = false
    try {
      // The request itself is the first pull.
      for (let message: Request = request.message; ; message = { kind: "pull", id: request.id }) {
        // A flag that is no AbortSignal tells nobody when it changes: look at it before each pull.
        if (options.signal?.aborted && !(options.signal instanceof AbortSignal)) request.abort()
        const reply = await this.#reply(request.id, message)
        if (reply.kind === "end") {
          ended = true
          return
        }
        yield (reply as { value: unknown }).value as StreamItem<S, K>
      }
    } catch (error) {
      ended = true
      throw error
    } finally {
      request.close()
      if (!ended && this.#failed === undefined) {
        request.abort() // the step that runs ahead of the reader need not be finished
        // Wait until it has ended there, so that what it used (a session) is free; how it ended is nobody's business.
        await this.#reply(request.id, { kind: "return", id: request.id }).catch(() => {})
      }
    }
  }

  async idle(): Promise<void> {
    while (this.#pending.size > 0) {
      await new Promise<void>((resolve) => this.#idleWaiters.push(resolve))
      // A reader that has just been served gets a turn to pull again before we call it idle.
      await new Promise((resolve) => setTimeout(resolve, 0))
    }
  }

  fail(error: IsaacError): void {
    this.#failed ??= error
    for (const { reject } of this.#takeAll()) {
      reject(error)
    }
    this.#progress.clear()
    this.#settled()
  }

  /** Number a request and watch its signal. */
  #open(kind: "call" | "stream", name: string, input: unknown, { signal, onProgress }: CallOptions) {
    if (this.#failed !== undefined) {
      throw this.#failed
    }
    const id = ++this.#lastId
    const flag = typeof SharedArrayBuffer === "undefined" ? null : new SharedArrayBuffer(4)
    const abort = () => {
      if (flag !== null) {
        Atomics.store(new Int32Array(flag), 0, 1)
      }
      if (this.#failed === undefined) {
        this.#events.onAbort?.()
        this.#send({ kind: "abort", id })
      }
    }
    if (onProgress !== undefined) {
      this.#progress.set(id, onProgress)
    }
    const events = signal instanceof AbortSignal ? signal : undefined
    events?.addEventListener("abort", abort, { once: true })
    const close = () => {
      events?.removeEventListener("abort", abort)
      this.#progress.delete(id)
    }
    const message: Request = { kind, id, name, input, flag, aborted: signal?.aborted === true }
    return { id, message, abort, close }
  }

  /** Send and wait for the next reply to `id`; an error reply rejects. */
  #reply(id: number, message: Request): Promise<Reply> {
    return new Promise((resolve, reject) => {
      if (this.#failed !== undefined) {
        reject(this.#failed)
        return
      }
      this.#pending.set(id, { resolve, reject })
      if (this.#pending.size === 1) {
        this.#events.onBusy?.(true)
      }
      try {
        this.#send(message)
      } catch (error) {
        this.#pending.delete(id)
        this.#settled()
        reject(error)
      }
    })
  }

  #send(message: Request): void {
    try {
      this.#port.postMessage(message)
    } catch (cause) {
      // Functions, promises and the like cannot be cloned.
      throw new IsaacError("bad_input", `an argument cannot be sent to the worker: ${(cause as Error).message}`, {
        cause,
      })
    }
  }

  #receive(reply: Reply): void {
    if (reply.kind === "progress") {
      try {
        this.#progress.get(reply.id)?.(reply.value)
      } catch (error) {
        this.#pending.get(reply.id)?.reject(error) // the caller's own function threw: its call fails with that
      }
      return
    }
    const pending = this.#pending.get(reply.id)
    if (pending === undefined) {
      return // an answer to a request that nobody waits for any more
    }
    this.#pending.delete(reply.id)
    if (reply.kind === "error") {
      pending.reject(fromPlainError(reply.error))
    } else {
      pending.resolve(reply)
    }
    this.#settled()
  }

  #takeAll(): Pending[] {
    const all = [...this.#pending.values()]
    this.#pending.clear()
    return all
  }

  #settled(): void {
    if (this.#pending.size > 0) {
      return
    }
    this.#events.onBusy?.(false)
    const waiters = this.#idleWaiters
    this.#idleWaiters = []
    for (const resolve of waiters) {
      resolve()
    }
  }
}
