/** Facts about this machine and engine that decide how fast a backend is: shown by `isaac doctor`. */

import { readFileSync } from "node:fs"
import { availableParallelism, cpus, freemem, totalmem } from "node:os"
import { enableRelaxedSimd } from "./cpu/load-wasm-node"
import { RELAXED_PROBE, SIMD_PROBE } from "./cpu/wasm-module"

export interface MachineDescription {
  readonly cpu: string
  /** "x64", "arm64" … */
  readonly architecture: string
  readonly platform: string
  /** Threads that can run at a time; what `threads` is chosen by. */
  readonly cores: number
  /** Of the instruction sets that matter here, those the CPU has; undefined where the system does not tell. */
  readonly features: readonly string[] | undefined
  readonly memoryBytes: number
  readonly freeMemoryBytes: number
  /** "Node 20.20.2, V8 11.3" */
  readonly engine: string
  readonly wasmSimd: boolean
  readonly relaxedSimd: {
    /** The engine compiles it as it was started. */
    readonly builtIn: boolean
    /** It can be had, if need be by flags. */
    readonly usable: boolean
    readonly why: string
  }
}

/** Instruction sets kernels can make use of, as Linux names them. */
const FEATURES = [
  ...["sse4_2", "fma", "f16c", "avx2", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "amx_int8"],
  ...["asimd", "asimddp", "i8mm", "bf16", "sve"],
]

/** Describe the machine. Where relaxed SIMD needs V8 flags, they are set, as loading the backend would do. */
export function describeMachine(): MachineDescription {
  const builtIn = WebAssembly.validate(RELAXED_PROBE)
  const { on, why } = enableRelaxedSimd()
  return {
    cpu: cpus()[0]?.model.trim() || "unknown",
    architecture: process.arch,
    platform: process.platform,
    cores: availableParallelism(),
    features: cpuFeatures(),
    memoryBytes: totalmem(),
    freeMemoryBytes: freemem(),
    engine: `Node ${process.versions.node}, V8 ${process.versions.v8}`,
    wasmSimd: WebAssembly.validate(SIMD_PROBE),
    relaxedSimd: { builtIn, usable: on, why },
  }
}

function cpuFeatures(): string[] | undefined {
  if (process.platform !== "linux") return undefined
  try {
    const line = /^(?:flags|Features)\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))
    const flags = new Set(line?.[1].trim().split(/\s+/))
    return FEATURES.filter((feature) => flags.has(feature))
  } catch {
    return undefined
  }
}
