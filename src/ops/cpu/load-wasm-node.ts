/**
 * WebAssembly in Node: where the module lies, how relaxed SIMD is had, how threads are started.
 *
 * Relaxed SIMD is on by itself from Node 22 on. Node 20 and 21 have it behind two process-wide V8 flags, which are set
 * here unless the environment says ISAAC_NO_V8_FLAGS=1: one admits the instructions, the other leaves out the baseline
 * compiler, which computes them wrongly there.
 */

import { existsSync } from "node:fs"
import { readFile } from "node:fs/promises"
import { availableParallelism } from "node:os"
import { fileURLToPath } from "node:url"
import { setFlagsFromString } from "node:v8"
import { Worker } from "node:worker_threads"
import { IsaacError } from "../../errors"
import type { Backend } from "../backend"
import { loadWasmBackend, type WasmBackendOptions } from "./load-wasm"
import type { PoolWorker } from "./pool"
import { type PoolThreadData, poolThread } from "./pool-thread"
import { RELAXED_PROBE } from "./wasm-module"

/** The cpu backend in WebAssembly. Throws backend_unavailable with the reason, bad_input for a senseless option. */
export function createWasmBackend(options: WasmBackendOptions = {}): Promise<Backend> {
  return loadWasmBackend(
    { processors: availableParallelism(), relaxedSimd: enableRelaxedSimd, readModule, startWorker },
    options,
  )
}

/** Whether relaxed SIMD can be compiled, after setting the flags of an engine that needs them; and how, or why not. */
export function enableRelaxedSimd(): { readonly on: boolean; readonly why: string } {
  if (WebAssembly.validate(RELAXED_PROBE)) return { on: true, why: "the engine has it" }
  const major = Number(process.versions.node.split(".")[0])
  if (major !== 20 && major !== 21) return { on: false, why: `the engine of Node ${process.versions.node} lacks it` }
  if (process.env.ISAAC_NO_V8_FLAGS === "1") {
    return { on: false, why: `Node ${major} needs V8 flags for it, and ISAAC_NO_V8_FLAGS=1 forbids to set them` }
  }
  setFlagsFromString("--experimental-wasm-relaxed-simd")
  setFlagsFromString("--no-liftoff")
  if (WebAssembly.validate(RELAXED_PROBE)) return { on: true, why: `by V8 flags, which Node ${major} needs` }
  return { on: false, why: `Node ${major} lacks it even with its V8 flags` }
}

/** Beside this file in the built package; from the sources, where the build put it. */
async function readModule(relaxed: boolean): Promise<Uint8Array> {
  const file = relaxed ? "kernels-relaxed-simd.wasm" : "kernels-simd128.wasm"
  for (const place of [`./${file}`, `../../../dist/ops/cpu/${file}`]) {
    const path = fileURLToPath(new URL(place, import.meta.url))
    if (existsSync(path)) return readFile(path)
  }
  throw new IsaacError("backend_unavailable", `${file} has not been built: run \`npm run build:wasm\``)
}

/** A worker that runs `poolThread` and does not keep the process alive. */
export async function startWorker(data: PoolThreadData): Promise<PoolWorker> {
  const source = `
    const { parentPort, workerData } = require("node:worker_threads");
    (${poolThread})(workerData, () => parentPort.postMessage("ready"));`
  const worker = new Worker(source, { eval: true, workerData: data, execArgv: [], stdin: false })
  const ended = new Promise<void>((resolve) => worker.once("exit", () => resolve()))
  await new Promise<void>((resolve, reject) => {
    worker.once("message", () => resolve())
    worker.once("error", reject)
    worker.once("exit", () => reject(new Error("the worker ended before it was ready")))
  })
  // An error from now on ends the worker, which `ended` tells.
  worker.on("error", () => {})
  worker.unref()
  return { ended, terminate: () => void worker.terminate() }
}
