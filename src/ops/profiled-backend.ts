/** A backend that tells how long its operations take. */

import type { Backend } from "./backend"
import { OP_WORK, type OpWork } from "./op-work"

/** All calls of one operation with the same shapes; work and bytes are sums. */
export interface OperationTotal extends OpWork {
  readonly calls: number
  readonly ms: number
}

/** Calls and their times. What a call is gets worked out when somebody asks: it takes as long as a small operation. */
export class OperationLog {
  readonly #calls: { readonly work: () => OpWork; readonly ms: number }[] = []

  add(work: () => OpWork, ms: number): void {
    this.#calls.push({ work, ms })
  }

  /** Calls added up by what they are, the longest first. */
  totals(): OperationTotal[] {
    const totals = new Map<string, OperationTotal>()
    for (const { work, ms } of this.#calls) {
      const one = work()
      const key = `${one.kind} ${one.detail}`
      const so = totals.get(key)
      totals.set(key, {
        ...one,
        multiplyAdds: one.multiplyAdds + (so?.multiplyAdds ?? 0),
        bytes: one.bytes + (so?.bytes ?? 0),
        calls: 1 + (so?.calls ?? 0),
        ms: ms + (so?.ms ?? 0),
      })
    }
    return [...totals.values()].sort((a, b) => b.ms - a.ms)
  }
}

export interface ProfiledBackend {
  /** The same backend; its operations are watched. */
  readonly backend: Backend
  /** Where operations are noted from now on; undefined: they are not timed. */
  record(into: OperationLog | undefined): void
}

/**
 * Put a watch on a backend. Operations are timed from call to return, which is all of their time where they are done
 * when they return, as on the cpu backends.
 */
export function profiledBackend(backend: Backend): ProfiledBackend {
  let log: OperationLog | undefined
  const members = new Map<string | symbol, unknown>()

  /** A method of the backend, bound to it since it may have private parts; watched if it is an operation. */
  const member = (name: string | symbol): unknown => {
    const method: unknown = Reflect.get(backend, name)
    if (typeof method !== "function") return method
    const bound = method.bind(backend) as (...args: unknown[]) => unknown
    const describe = Object.hasOwn(OP_WORK, name)
      ? (OP_WORK[name as keyof typeof OP_WORK] as (...args: unknown[]) => OpWork)
      : undefined
    if (!describe) return bound
    return (...args: unknown[]) => {
      if (!log) return bound(...args)
      const start = performance.now()
      const result = bound(...args)
      const ms = performance.now() - start
      log.add(() => describe(...args), ms)
      return result
    }
  }

  const watched = new Proxy(backend, {
    get(_target, name) {
      if (!members.has(name)) {
        const value = member(name)
        if (typeof value !== "function") return value
        members.set(name, value)
      }
      return members.get(name)
    },
  })
  const record = (into: OperationLog | undefined) => {
    log = into
  }
  return { backend: watched, record }
}
