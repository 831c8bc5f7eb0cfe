/** Starts the engine's web worker and notices when it is lost. */

import { IsaacError } from "../errors"
import type { WorkerStart } from "./engine-worker-web"
import type { Port, Service } from "./protocol"
import { RpcClient } from "./rpc-client"

export interface WebWorkerHost<S extends Service> {
  readonly client: RpcClient<S>
  /** Stop the worker at once. Whatever is pending is rejected with worker_lost. */
  terminate(): Promise<void>
}

/**
 * Start the worker. Its file lies beside this one, which the expression below tells bundlers too: keep
 * `new Worker(new URL("…", import.meta.url))` literally so.
 */
export function startWorker<S extends Service>(): WebWorkerHost<S> {
  // The page's own shared memory is the abort flag, where there is any.
  const abortWord = globalThis.crossOriginIsolated ? new SharedArrayBuffer(4) : null
  const lifeLock = `isaac-vlm/worker/${Date.now()}-${Math.random()}`
  const { port1, port2 } = new MessageChannel()
  const worker = new Worker(new URL("./engine-worker-web.js", import.meta.url), { type: "module", name: "isaac-vlm" })
  const client = new RpcClient<S>(port1 as Port, {
    onAbort: () => {
      if (abortWord) Atomics.store(new Int32Array(abortWord), 0, 1)
    },
  })
  const lost = (why: string, cause?: unknown) => {
    client.fail(new IsaacError("worker_lost", `the engine's worker ${why}; load the model again`, { cause }))
    port1.close()
    worker.terminate()
  }
  worker.addEventListener("error", (event) => {
    if (event.message) lost(`crashed (${event.message})`, event.error)
    else lost("could not be started: is its script on this site, and does the page's content security policy allow it?")
  })
  worker.addEventListener("messageerror", () => lost("got a message that it cannot read"))
  worker.addEventListener("message", () => {
    // It holds the lock now: whoever gets it next knows that the worker has ended, whatever ended it.
    navigator.locks.request(lifeLock, () => lost("stopped")).catch(() => {}) // the page is going away
  })
  const start: WorkerStart = { port: port2, abortWord, lifeLock }
  worker.postMessage(start, [port2])
  return {
    client,
    async terminate() {
      worker.terminate()
      port1.close()
    },
  }
}
