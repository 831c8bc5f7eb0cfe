/** Starts the engine's worker thread in Node and notices when it is lost. */

import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { MessageChannel, Worker } from "node:worker_threads"
import { IsaacError } from "../errors"
import type { WorkerData } from "./engine-worker-node"
import type { Port, Service } from "./protocol"
import { RpcClient } from "./rpc-client"

/** A running worker: its methods, and its end. */
export interface WorkerHost<S extends Service> {
  readonly client: RpcClient<S>
  /** Stop the thread at once. Whatever is pending is rejected with worker_lost. */
  terminate(): Promise<void>
}

/**
 * Start the thread. While a request is pending it keeps the process alive, otherwise it does not: a program that
 * forgets to dispose ends all the same.
 *
 * @param file what the thread runs; default: the engine
 */
export function startWorker<S extends Service>(file: URL = workerFile()): WorkerHost<S> {
  const abortWord = new SharedArrayBuffer(4)
  const workerData: WorkerData = { abortWord }
  const worker = new Worker(file, { name: "isaac", execArgv: [], workerData })
  const { port1, port2 } = new MessageChannel()
  const client = new RpcClient<S>(port1 as unknown as Port, {
    onBusy: (busy) => (busy ? worker.ref() : worker.unref()),
    onAbort: () => Atomics.store(new Int32Array(abortWord), 0, 1),
  })
  const lost = (why: string, cause?: unknown) => {
    client.fail(
      new IsaacError(
        "worker_lost",
        `the engine's worker ${why}; load the model again${cause instanceof Error ? ` (${cause.message})` : ""}`,
        { cause },
      ),
    )
    port1.close()
  }
  worker.on("error", (error: NodeJS.ErrnoException) =>
    lost(error.code === "ERR_WORKER_OUT_OF_MEMORY" ? "ran out of memory" : "crashed", error),
  )
  worker.on("exit", (code) => lost(`stopped (exit code ${code})`))
  worker.postMessage(port2, [port2])
  worker.unref()
  port1.unref()
  return {
    client,
    async terminate() {
      await worker.terminate()
    },
  }
}

/**
 * The worker's file lies beside this one. Run from the TypeScript sources (which a worker thread of Node 20 cannot
 * load) it is the built file of the same path.
 */
function workerFile(): URL {
  const here = import.meta.url
  const url = here.endsWith(".ts")
    ? new URL("../../dist/worker/engine-worker-node.js", here)
    : new URL("./engine-worker-node.js", here)
  if (!existsSync(fileURLToPath(url))) {
    throw new IsaacError(
      "not_found",
      `${fileURLToPath(url)} is missing; run "npm run build", or load with worker: false`,
    )
  }
  return url
}
