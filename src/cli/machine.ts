/** What the machine is: processor, features that kernels can use, memory. */

import { execFile } from "node:child_process"
import { readFile } from "node:fs/promises"
import { arch, availableParallelism, cpus, freemem, platform, totalmem } from "node:os"
import { promisify } from "node:util"

export interface Machine {
  readonly node: string
  readonly v8: string
  readonly platform: string
  readonly arch: string
  readonly cpu: string
  /** Hardware threads the process may use. */
  readonly cores: number
  /** Features that matter to the kernels; null where the system does not tell. */
  readonly cpu_features: readonly string[] | null
  readonly memory_total_bytes: number
  readonly memory_free_bytes: number
  /** What a container or job limit allows the process; null without a limit. */
  readonly memory_limit_bytes: number | null
}

/** Names as Linux prints them; macOS names are translated. */
const FEATURES = [
  ...["sse4_1", "ssse3", "avx", "f16c", "fma", "avx2", "avx_vnni", "avx512f", "avx512bw", "avx512vl"],
  ...["avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"],
  ...["asimd", "fphp", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2"],
]

const MACOS_FEATURES: Readonly<Record<string, string>> = {
  "hw.optional.avx2_0": "avx2",
  "hw.optional.avx512f": "avx512f",
  "hw.optional.neon": "asimd",
  "hw.optional.arm.AdvSIMD": "asimd",
  "hw.optional.arm.FEAT_FP16": "asimdhp",
  "hw.optional.arm.FEAT_DotProd": "asimddp",
  "hw.optional.arm.FEAT_I8MM": "i8mm",
  "hw.optional.arm.FEAT_BF16": "bf16",
}

export async function describeMachine(): Promise<Machine> {
  const total = totalmem()
  // 0 or a huge number stand for "no limit".
  const limit = process.constrainedMemory()
  return {
    node: process.versions.node,
    v8: process.versions.v8,
    platform: platform(),
    arch: arch(),
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    cpu_features: await cpuFeatures(),
    memory_total_bytes: total,
    memory_free_bytes: freemem(),
    memory_limit_bytes: limit > 0 && limit < total ? limit : null,
  }
}

async function cpuFeatures(): Promise<string[] | null> {
  try {
    if (platform() === "linux") return featuresOfCpuinfo(await readFile("/proc/cpuinfo", "utf8"))
    if (platform() === "darwin") {
      return featuresOfSysctl((await promisify(execFile)("sysctl", ["hw.optional"])).stdout)
    }
  } catch {
    // Not told: a sandbox without /proc, or no sysctl.
  }
  return null
}

/** From /proc/cpuinfo: the "flags" line (x86) or the "Features" line (ARM) of the first core. */
export function featuresOfCpuinfo(text: string): string[] | null {
  const line = /^(?:flags|Features)\s*:(.*)$/m.exec(text)
  if (!line) return null
  const present = new Set(line[1].trim().split(/\s+/))
  return FEATURES.filter((feature) => present.has(feature))
}

/** From `sysctl hw.optional`: lines "name: 1". */
export function featuresOfSysctl(text: string): string[] {
  const present = new Set<string>()
  for (const [, name] of text.matchAll(/^(\S+): 1$/gm)) {
    if (Object.hasOwn(MACOS_FEATURES, name)) present.add(MACOS_FEATURES[name])
  }
  return FEATURES.filter((feature) => present.has(feature))
}
