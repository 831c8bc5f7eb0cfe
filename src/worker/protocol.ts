/**
 * What crosses the border between the caller's thread and the engine's: requests with an id one way, replies with the
 * same id back. Nothing here knows which kind of worker it is.
 *
 * A request is a call (one reply) or a stream (items by pull: one reply per pull, so a slow reader slows the engine).
 * Each request carries one word of shared memory as its abort flag, since a thread that computes reads no messages.
 */

import { IsaacError, type IsaacErrorCode, isIsaacError } from "../errors"
import type { AbortFlag } from "../isaac"

/** The part of a MessagePort that is used; node:worker_threads and browsers both have it. */
export interface Port {
  postMessage(message: unknown, transfer?: ArrayBuffer[]): void
  addEventListener(type: "message", listener: (event: { data: unknown }) => void): void
  start?(): void
  close(): void
}

/** What a method gets beside its input. */
export interface CallContext {
  /** Set as soon as the caller gives up, also in the middle of a computation. */
  readonly abort: AbortFlag
  /** The same for whoever waits on the event loop (downloads); it fires later. */
  readonly signal: AbortSignal
  /** Something to tell the caller while the call runs. */
  progress(value: unknown): void
}

/** The methods on the engine's side. Inputs and results must survive structured clone. */
export interface Service {
  readonly calls: Readonly<Record<string, (input: never, context: CallContext) => Promise<unknown>>>
  readonly streams: Readonly<Record<string, (input: never, context: CallContext) => AsyncIterable<unknown>>>
}

export type CallName<S extends Service> = keyof S["calls"] & string
export type CallInput<S extends Service, K extends CallName<S>> = Parameters<S["calls"][K]>[0]
export type CallResult<S extends Service, K extends CallName<S>> = Awaited<ReturnType<S["calls"][K]>>
export type StreamName<S extends Service> = keyof S["streams"] & string
export type StreamInput<S extends Service, K extends StreamName<S>> = Parameters<S["streams"][K]>[0]
export type StreamItem<S extends Service, K extends StreamName<S>> =
  ReturnType<S["streams"][K]> extends AsyncIterable<infer T> ? T : never

export interface CallOptions {
  readonly signal?: AbortFlag
  readonly onProgress?: (value: unknown) => void
}

/** Somebody who carries out the methods of a service: over a port, or directly in this thread. */
export interface Caller<S extends Service> {
  call<K extends CallName<S>>(name: K, input: CallInput<S, K>, options?: CallOptions): Promise<CallResult<S, K>>
  iterate<K extends StreamName<S>>(
    name: K,
    input: StreamInput<S, K>,
    options?: CallOptions,
  ): AsyncGenerator<StreamItem<S, K>, void>
  /** Resolves when no request is being worked on. */
  idle(): Promise<void>
  /** Refuse everything from now on with this error, pending requests too. */
  fail(error: IsaacError): void
}

export type Request =
  /** A call, or a stream together with its first pull. */
  | {
      readonly kind: "call" | "stream"
      readonly id: number
      readonly name: string
      readonly input: unknown
      /** One Int32; not 0 means give up. null where shared memory is missing: then only messages abort. */
      readonly flag: SharedArrayBuffer | null
      /** Given up already. */
      readonly aborted: boolean
    }
  | { readonly kind: "pull"; readonly id: number }
  /** The reader left: end the stream, reply when it has ended. */
  | { readonly kind: "return"; readonly id: number }
  | { readonly kind: "abort"; readonly id: number }

export type Reply =
  /** The result of a call, or the next item of a stream. */
  | { readonly kind: "value"; readonly id: number; readonly value: unknown }
  | { readonly kind: "end"; readonly id: number }
  | { readonly kind: "error"; readonly id: number; readonly error: PlainError }
  | { readonly kind: "progress"; readonly id: number; readonly value: unknown }

/** An error as plain data: structured clone would drop its code. */
export interface PlainError {
  readonly code: IsaacErrorCode
  readonly message: string
  /** Where it was thrown, for bug reports. */
  readonly stack?: string
}

export function toPlainError(error: unknown): PlainError {
  if (isIsaacError(error)) {
    return { code: error.code, message: error.message, stack: error.stack }
  }
  if (error instanceof Error) {
    return { code: "internal", message: `${error.name}: ${error.message}`, stack: error.stack }
  }
  return { code: "internal", message: String(error) }
}

export function fromPlainError(plain: PlainError): IsaacError {
  return new IsaacError(plain.code, plain.message, plain.stack === undefined ? undefined : { cause: plain.stack })
}
