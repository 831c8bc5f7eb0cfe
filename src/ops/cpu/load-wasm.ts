/** The cpu backend in WebAssembly, on any host: which build runs here, with how many threads, and what it goes without. */

import { IsaacError } from "../../errors"
import type { Backend } from "../backend"
import { CpuBackend } from "./cpu-backend"
import type { PoolWorker } from "./pool"
import type { PoolThreadData } from "./pool-thread"
import { threadCount } from "./threads"
import { createWasmEngine, SelfTestError, type WasmEngineOptions } from "./wasm-engine"
import { SIMD_PROBE } from "./wasm-module"

export interface WasmBackendOptions {
  /** The calling thread included. Default: what the machine has, at most 16. */
  readonly threads?: number
  /** Word 0 not 0: running operations end with `aborted`, within about 100 ms. */
  readonly abort?: Int32Array
  /** Default: where the engine has it and computes it right. */
  readonly relaxedSimd?: boolean
  /** Most bytes the memory may grow to. Default 4 GiB. */
  readonly memoryLimit?: number
  /** Told what is not as fast as it could be, and why. */
  readonly onNote?: (note: string) => void
  /** For tests. */
  readonly inject?: Pick<WasmEngineOptions, "selfTest" | "stallMs"> & {
    readonly startWorker?: WasmHost["startWorker"]
  }
}

/** What differs between Node and browsers. */
export interface WasmHost {
  /** Processors that this program may use. */
  readonly processors: number
  /** Why there can be only one thread. */
  readonly singleThread?: string
  /** Whether relaxed SIMD can be compiled, and how, or why not. */
  relaxedSimd(): { readonly on: boolean; readonly why: string }
  /** The compiled kernels. Throws backend_unavailable, io. */
  readModule(relaxed: boolean): Promise<Uint8Array>
  /** Start a thread that runs `poolThread`. Rejects where threads are refused. */
  startWorker(data: PoolThreadData): Promise<PoolWorker>
}

/** Throws backend_unavailable with the reason, bad_input for a senseless option. */
export async function loadWasmBackend(host: WasmHost, options: WasmBackendOptions = {}): Promise<Backend> {
  const { abort, memoryLimit, inject = {}, onNote = () => {} } = options
  const wanted = threadCount(options.threads, host.singleThread ? 1 : host.processors)
  if (!WebAssembly.validate(SIMD_PROBE)) {
    throw new IsaacError("backend_unavailable", "this engine's WebAssembly has no SIMD: use the reference backend")
  }
  const threads = host.singleThread ? 1 : wanted
  const start = async (relaxed: boolean) => {
    const engine = await createWasmEngine({
      binary: await host.readModule(relaxed),
      relaxed,
      threads,
      abort,
      memoryLimit,
      startWorker: inject.startWorker ?? ((data) => host.startWorker(data)),
      selfTest: inject.selfTest,
      stallMs: inject.stallMs,
    })
    const might = options.threads ?? host.processors
    const refusal = might > 1 ? (host.singleThread ?? engine.refusal) : undefined
    if (refusal) onNote(`${engine.threads} of ${might} threads: ${refusal}`)
    return new CpuBackend(engine)
  }

  const support = options.relaxedSimd === false ? { on: false, why: "it was not asked for" } : host.relaxedSimd()
  if (support.on) {
    try {
      return await start(true)
    } catch (error) {
      if (!(error instanceof SelfTestError)) throw error
      onNote(`no relaxed SIMD: this engine computes it wrongly (${error.message})`)
    }
  } else {
    onNote(`no relaxed SIMD: ${support.why}`)
  }
  try {
    return await start(false)
  } catch (error) {
    if (!(error instanceof SelfTestError)) throw error
    throw new IsaacError("backend_unavailable", `this engine's WebAssembly computes wrongly: ${error.message}`)
  }
}
