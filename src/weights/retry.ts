/** Downloads break off: what is worth another try, how often, and how the caller ends it. */

import { IsaacError } from "../errors"

/** How patient to be. */
export interface Patience {
  /** Tries in a row that bring nothing new. */
  readonly attempts: number
  /** Before the second try; doubles with each, up to 30 s. */
  readonly delayMs: number
  /** No byte for this long: the connection is given up. */
  readonly stallMs: number
}

export const PATIENCE: Patience = { attempts: 6, delayMs: 500, stallMs: 30_000 }

/** What went wrong may go well the next time. Never leaves this folder. */
export class TransientError extends Error {
  /** Milliseconds that the server asks to wait. */
  readonly retryAfterMs?: number

  constructor(message: string, { retryAfterMs, cause }: { retryAfterMs?: number; cause?: unknown } = {}) {
    super(message, { cause })
    this.retryAfterMs = retryAfterMs
  }
}

/**
 * Try until it works. Waits longer each time, or as long as the server asks; counts anew whenever `reached` (bytes, say)
 * has grown. Only TransientError is worth another try; after the last one it becomes an IsaacError `io`.
 */
export async function retrying<T>(
  { patience, signal }: { readonly patience: Patience; readonly signal?: AbortSignal },
  work: () => Promise<T>,
  reached: () => number = () => 0,
): Promise<T> {
  let failures = 0
  let furthest = reached()
  for (;;) {
    try {
      throwIfAborted(signal)
      return await work()
    } catch (error) {
      if (!(error instanceof TransientError)) throw error
      failures = reached() > furthest ? 1 : failures + 1
      furthest = Math.max(furthest, reached())
      if (failures >= patience.attempts) {
        throw new IsaacError("io", `${error.message} (tried ${failures} times)`, { cause: error })
      }
      // Up to a half more, so that many who failed together do not come back together.
      const delay = Math.min(30_000, patience.delayMs * 2 ** (failures - 1)) * (1 + Math.random() / 2)
      await sleep(Math.max(delay, Math.min(error.retryAfterMs ?? 0, 120_000)), signal)
    }
  }
}

/** @throws the IsaacError that is the signal's reason, else `aborted` */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortError(signal)
}

export function abortError(signal: AbortSignal): IsaacError {
  const { reason } = signal
  return reason instanceof IsaacError
    ? reason
    : new IsaacError("aborted", "the download was stopped; what has arrived is kept for the next time", {
        cause: reason,
      })
}

/** Resolves after so many milliseconds, or when the signal fires. */
function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) {
      resolve()
      return
    }
    const end = () => {
      clearTimeout(timer)
      signal?.removeEventListener("abort", end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    signal?.addEventListener("abort", end)
  })
}
