/**
 * WebAssembly in a browser: the modules and the pool's worker are found beside this file, by expressions that bundlers
 * know: keep `new URL("…", import.meta.url)` and `new Worker(new URL(…))` literally so.
 *
 * Threads need shared memory, which browsers give only to pages that are cross-origin isolated.
 */

import { IsaacError } from "../../errors"
import type { Backend } from "../backend"
import { loadWasmBackend, type WasmBackendOptions } from "./load-wasm"
import type { PoolWorker } from "./pool"
import type { PoolThreadData } from "./pool-thread"
import type { PoolThreadMessage } from "./pool-thread-web"
import { RELAXED_PROBE } from "./wasm-module"

const NOT_ISOLATED =
  "the page is not cross-origin isolated, so there is no shared memory; " +
  "serve it with Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp"

/** The cpu backend in WebAssembly. Throws backend_unavailable with the reason, bad_input for a senseless option. */
export function createWasmBackend(options: WasmBackendOptions = {}): Promise<Backend> {
  const on = WebAssembly.validate(RELAXED_PROBE)
  return loadWasmBackend(
    {
      processors: navigator.hardwareConcurrency || 1,
      singleThread: globalThis.crossOriginIsolated ? undefined : NOT_ISOLATED,
      relaxedSimd: () => ({ on, why: on ? "the browser has it" : "this browser lacks it" }),
      readModule,
      startWorker,
    },
    options,
  )
}

async function readModule(relaxed: boolean): Promise<Uint8Array> {
  const url = relaxed
    ? new URL("./kernels-relaxed-simd.wasm", import.meta.url)
    : new URL("./kernels-simd128.wasm", import.meta.url)
  const response = await fetch(url).catch((cause: unknown) => {
    throw new IsaacError("io", `cannot fetch the kernels from ${url}: ${(cause as Error).message}`, { cause })
  })
  const bytes = new Uint8Array(response.ok ? await response.arrayBuffer() : [])
  // A server that answers a missing file with its start page says 200 as well.
  if (bytes.length < 4 || bytes[0] !== 0 || bytes[1] !== 0x61 || bytes[2] !== 0x73 || bytes[3] !== 0x6d) {
    throw new IsaacError(
      "backend_unavailable",
      `${url} is no WebAssembly (the server answered ${response.status}): ` +
        "the kernels must be served beside the script that uses them",
    )
  }
  return bytes
}

function startWorker(data: PoolThreadData): Promise<PoolWorker> {
  const worker = new Worker(new URL("./pool-thread-web.js", import.meta.url), {
    type: "module",
    name: "isaac-vlm-pool",
  })
  return new Promise((resolve, reject) => {
    const ended = new Promise<void>((end) => {
      const terminate = () => {
        worker.terminate()
        end()
      }
      worker.addEventListener("message", ({ data: message }: MessageEvent<PoolThreadMessage>) => {
        if (message === "ready") resolve({ ended, terminate })
        else end()
      })
      worker.addEventListener("error", (event) => {
        reject(new Error(event.message || "the pool's worker could not be started"))
        terminate()
      })
    })
    worker.postMessage(data)
  })
}
