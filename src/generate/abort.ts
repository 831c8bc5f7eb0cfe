/** Giving up in the middle of a computation, and letting the event loop breathe. */

import { IsaacError } from "../errors"

/** Anything that says whether to give up: an AbortSignal, or a word of memory shared with another thread. */
export interface AbortFlag {
  readonly aborted: boolean
  /** For whoever waits on the event loop (a download), if the flag is no AbortSignal itself. */
  readonly signal?: AbortSignal
}

/** The flag as something that can be listened to. */
export function signalOf(flag: AbortFlag | undefined): AbortSignal | undefined {
  return flag instanceof AbortSignal ? flag : flag?.signal
}

/** Throws aborted when the flag is set. */
export function checkAborted(flag: AbortFlag | undefined): void {
  if (flag?.aborted) throw abortedBy(flag)
}

/** The promise; or `aborted` when the flag is set, as soon as its signal fires. What the promise waits for goes on. */
export async function orAborted<T>(promise: Promise<T>, flag: AbortFlag | undefined): Promise<T> {
  checkAborted(flag)
  const signal = signalOf(flag)
  if (signal === undefined) return promise
  let stop = () => {}
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(abortedBy(signal))
    signal.addEventListener("abort", stop, { once: true })
  })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener("abort", stop)
  }
}

function abortedBy(flag: AbortFlag): IsaacError {
  return new IsaacError("aborted", "the caller's signal was aborted", { cause: (flag as { reason?: unknown }).reason })
}

/**
 * The word that kernels look at while they compute: [1], not 0 means give up. There is one for the whole engine, since
 * a kernel does not know for whom it works.
 */
export class KernelFlag {
  readonly word: Int32Array

  constructor(word: Int32Array = new Int32Array(1)) {
    this.word = word
  }

  /** Whether another thread can set it, so that it is seen during a computation. */
  get shared(): boolean {
    return typeof SharedArrayBuffer !== "undefined" && this.word.buffer instanceof SharedArrayBuffer
  }

  /**
   * Run a computation that the flag may break off. If it was broken off for somebody else's sake (`own` is not set),
   * it starts again; nothing of a broken-off computation is kept, so that is safe.
   */
  run<T>(compute: () => T, own: AbortFlag | undefined): T {
    for (;;) {
      checkAborted(own)
      try {
        return compute()
      } catch (error) {
        if (!(error instanceof IsaacError && error.code === "aborted")) {
          throw error
        }
        Atomics.store(this.word, 0, 0)
        if (own?.aborted) {
          throw error
        }
      }
    }
  }
}

/** Let timers, messages and aborts of this thread have their turn. */
export function yieldToEventLoop(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === "function") {
      setImmediate(resolve)
    } else {
      // Browsers: a message to ourselves; timers are held back to 4 ms there.
      const { port1, port2 } = new MessageChannel()
      port1.onmessage = () => {
        port1.close()
        resolve()
      }
      port2.postMessage(null)
    }
  })
}
