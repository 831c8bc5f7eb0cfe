/** The engine's side of the protocol: carries out requests one after another or side by side, as they await. */

import type { AbortFlag } from "../isaac"
import type { CallContext, Port, Reply, Request, Service } from "./protocol"
import { toPlainError } from "./protocol"

interface Running {
  readonly controller: AbortController
  /** Only streams: the items, and the one being made. */
  iterator?: AsyncIterator<unknown>
  next?: Promise<IteratorResult<unknown>>
}

/** Answer the requests that arrive at `port` until it closes. */
export function serve(port: Port, service: Service): void {
  const running = new Map<number, Running>()
  const send = (reply: Reply) => port.postMessage(reply, transferable(reply))

  const pull = async (id: number): Promise<void> => {
    const entry = running.get(id)
    if (entry?.iterator === undefined) {
      send({ kind: "end", id })
      return
    }
    const item = await (entry.next ?? entry.iterator.next())
    entry.next = undefined
    if (item.done) {
      running.delete(id)
      send({ kind: "end", id })
      return
    }
    send({ kind: "value", id, value: item.value })
    // Work one item ahead while the reader is busy with this one; its failure shows at the next pull.
    entry.next = entry.iterator.next()
    entry.next.catch(() => {})
  }

  const receive = async (request: Request): Promise<void> => {
    const { id } = request
    switch (request.kind) {
      case "call": {
        const run = method(service.calls, request.name)
        const value = await run(request.input as never, open(request))
        running.delete(id)
        send({ kind: "value", id, value })
        return
      }
      case "stream": {
        const run = method(service.streams, request.name)
        const items = run(request.input as never, open(request))
        running.get(id)!.iterator = items[Symbol.asyncIterator]()
        return pull(id)
      }
      case "pull":
        return pull(id)
      case "return": {
        const entry = running.get(id)
        running.delete(id)
        await entry?.next?.catch(() => {})
        await entry?.iterator?.return?.()
        send({ kind: "end", id })
        return
      }
      case "abort":
        running.get(id)?.controller.abort()
    }
  }

  /** Note a new request and make what its method gets. */
  const open = ({ id, flag, aborted }: Extract<Request, { kind: "call" | "stream" }>): CallContext => {
    const controller = new AbortController()
    running.set(id, { controller })
    const word = flag === null ? undefined : new Int32Array(flag)
    if (aborted || (word !== undefined && Atomics.load(word, 0) !== 0)) {
      controller.abort()
    }
    const abort: AbortFlag = {
      get aborted() {
        return controller.signal.aborted || (word !== undefined && Atomics.load(word, 0) !== 0)
      },
    }
    return { abort, signal: controller.signal, progress: (value) => send({ kind: "progress", id, value }) }
  }

  port.addEventListener("message", (event) => {
    const request = event.data as Request
    receive(request).catch((error) => {
      running.delete(request.id)
      send({ kind: "error", id: request.id, error: toPlainError(error) })
    })
  })
  port.start?.()
}

function method<T>(methods: Readonly<Record<string, T>>, name: string): T {
  if (!Object.hasOwn(methods, name)) {
    throw new Error(`the service has no method ${name}`)
  }
  return methods[name]
}

/**
 * Buffers that may move to the caller instead of being copied: those of numbers read from the backend and of saved
 * sessions, which nobody else holds (logits of a long prompt are gigabytes).
 */
function transferable(reply: Reply): ArrayBuffer[] {
  if (reply.kind !== "value" || typeof reply.value !== "object" || reply.value === null) {
    return []
  }
  if (reply.value instanceof Uint8Array) {
    return reply.value.byteLength === reply.value.buffer.byteLength ? [reply.value.buffer as ArrayBuffer] : []
  }
  return [reply.value, ...Object.values(reply.value)].flatMap((value: unknown) => {
    const data = (value as { data?: unknown; shape?: unknown } | null)?.data
    const whole = data instanceof Float32Array && data.byteLength === data.buffer.byteLength
    return whole && Array.isArray((value as { shape?: unknown }).shape) ? [data.buffer as ArrayBuffer] : []
  })
}
