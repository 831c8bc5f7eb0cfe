/** The web worker of the engine: waits for its port, then serves. */

import { loadEngine } from "../engine-web"
import type { LoadProgress } from "../isaac"
import { engineService } from "./engine-service"
import type { Port } from "./protocol"
import { serve } from "./rpc-server"

/** What the host sends first. */
export interface WorkerStart {
  readonly port: MessagePort
  /** One Int32 that kernels look at; null where there is no shared memory. */
  readonly abortWord: SharedArrayBuffer | null
  /** A lock to hold as long as this worker lives; the host waits for it. */
  readonly lifeLock: string
}

addEventListener(
  "message",
  ({ data: { port, abortWord, lifeLock } }: MessageEvent<WorkerStart>) => {
    const word = abortWord === null ? undefined : new Int32Array(abortWord)
    const service = engineService(({ model, options }, { signal, progress }) =>
      loadEngine(model, { ...options, signal, onProgress: (step: LoadProgress) => progress(step) }, word),
    )
    serve(port as Port, service)
    // Not on every page: locks need https.
    navigator.locks?.request(lifeLock, () => {
      postMessage("alive")
      return new Promise(() => {})
    })
  },
  { once: true },
)
