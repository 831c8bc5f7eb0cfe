/** The worker thread of the engine: waits for its port, then serves. */

import { type MessagePort, parentPort, workerData } from "node:worker_threads"
import { loadEngine } from "../engine-node"
import type { LoadProgress } from "../isaac"
import { engineService } from "./engine-service"
import type { Port } from "./protocol"
import { serve } from "./rpc-server"

/** What the host passes as workerData. */
export interface WorkerData {
  /** One Int32 that kernels look at; see `Platform.abortWord`. */
  readonly abortWord: SharedArrayBuffer
}

const { abortWord } = workerData as WorkerData

const service = engineService(({ model, options }, { signal, progress }) =>
  loadEngine(
    model,
    { ...options, signal, onProgress: (step: LoadProgress) => progress(step) },
    new Int32Array(abortWord),
  ),
)

parentPort?.once("message", (port: MessagePort) => serve(port as unknown as Port, service))
