/** `isaac doctor`: what this machine has, which backends run on it, and what would be faster. */

import type { Command } from "commander"
import {
  type Backend,
  type BackendInfo,
  createReferenceBackend,
  enableRelaxedSimd,
  type Refusal,
  selectBackend,
} from "../internal"
import { Failed } from "./failure"
import { formatBytes, formatTable } from "./format"
import { describeMachine, type Machine } from "./machine"
import { type SelfTest, selfTest } from "./self-test"
import type { Terminal } from "./terminal"

/** Fastest first. */
const BACKENDS = ["native", "wasm", "reference"] as const
type Name = (typeof BACKENDS)[number]

export interface WorkingBackend extends Pick<BackendInfo, "isa" | "threads" | "stored"> {
  readonly name: Name
  readonly available: true
  /** Differences from the reference backend, operation by operation. */
  readonly self_test: readonly SelfTest[]
}

export interface RefusedBackend {
  readonly name: Name
  readonly available: false
  readonly why: string
}

export interface Diagnosis extends Machine {
  /** Whether WebAssembly may use relaxed SIMD here, and why or why not. */
  readonly relaxed_simd: { readonly on: boolean; readonly why: string }
  readonly backends: readonly (WorkingBackend | RefusedBackend)[]
  /** What `--backend auto` takes. */
  readonly auto: string
  /** What would be faster, and why it is not used. */
  readonly advice: readonly string[]
}

export function addDoctor(program: Command, terminal: Terminal): void {
  program
    .command("doctor")
    .description("the machine, the backends that run on it, and a self-test of each")
    .option("--json", "one line of JSON")
    .action(async ({ json }: { json?: true }) => {
      const diagnosis = await diagnose()
      terminal.out(json ? `${JSON.stringify(diagnosis)}\n` : diagnosisText(diagnosis))
      if (failures(diagnosis.backends).length > 0) throw new Failed()
    })
}

export async function diagnose(): Promise<Diagnosis> {
  const machine = await describeMachine()
  // Asked before a backend is made: what the process has to set for it is part of the answer.
  const relaxed_simd = enableRelaxedSimd()
  const backends: (WorkingBackend | RefusedBackend)[] = []
  for (const name of BACKENDS) backends.push(await examine(name))
  const { backend, refused } = await selectBackend({ backend: "auto" })
  const auto = backend.info.name
  await backend.dispose()
  return { ...machine, relaxed_simd, backends, auto, advice: advice(machine, backends, auto, refused) }
}

async function examine(name: Name): Promise<WorkingBackend | RefusedBackend> {
  let backend: Backend
  try {
    backend = (await selectBackend({ backend: name })).backend
  } catch (error) {
    return { name, available: false, why: error instanceof Error ? error.message : String(error) }
  }
  const reference = createReferenceBackend()
  try {
    const { isa, threads, stored } = backend.info
    return { name, available: true, isa, threads, stored, self_test: await selfTest(backend, reference) }
  } finally {
    await backend.dispose()
    await reference.dispose()
  }
}

function failures(backends: Diagnosis["backends"]): string[] {
  return backends.flatMap((backend) =>
    backend.available ? backend.self_test.filter(({ ok }) => !ok).map(({ name }) => `${backend.name}: ${name}`) : [],
  )
}

function advice(
  machine: Machine,
  backends: Diagnosis["backends"],
  auto: string,
  refused: readonly Refusal[],
): string[] {
  const lines = refused.map(({ name, why }) =>
    name === auto ? `${name} could be faster: ${why}` : `${name} would be faster: ${why}`,
  )
  const used = backends.find(({ name }) => name === auto)
  if (used?.available && auto !== "reference" && used.threads < machine.cores) {
    lines.push(`${auto} uses ${used.threads} of ${machine.cores} threads by default; --threads sets another number`)
  }
  for (const failure of failures(backends)) lines.push(`self-test failed: ${failure}; please report it`)
  return lines
}

function diagnosisText(diagnosis: Diagnosis): string {
  const { node, v8, platform, arch, cpu, cores, cpu_features, relaxed_simd, backends, auto, advice } = diagnosis
  const { memory_total_bytes: total, memory_free_bytes: free, memory_limit_bytes: limit } = diagnosis
  const facts = [
    ["node", `${node} (V8 ${v8}), ${platform} ${arch}`],
    ["processor", `${cpu}, ${cores} threads`],
    ["features", cpu_features === null ? "the system does not tell" : cpu_features.join(" ") || "none that matter"],
    [
      "memory",
      `${formatBytes(total)}, ${formatBytes(free)} free${limit === null ? "" : `, limited to ${formatBytes(limit)}`}`,
    ],
    ["relaxed SIMD", `${relaxed_simd.on ? "yes" : "no"}: ${relaxed_simd.why}`],
  ]
  const table = backends.map((backend) => [
    `${backend.name}${backend.name === auto ? " (auto)" : ""}`,
    backend.available ? describeBackend(backend) : `not available: ${backend.why}`,
  ])
  return `${[formatTable([...facts, ...table]), ...advice.map((line) => `note: ${line}`)].join("\n")}\n`
}

function describeBackend({ isa, threads, stored, self_test }: WorkingBackend): string {
  const passed = self_test.filter(({ ok }) => ok).length
  const worst = Math.max(...self_test.map(({ error }) => error))
  const ms = self_test.reduce((sum, test) => sum + test.ms, 0)
  const failed = self_test
    .filter(({ ok }) => !ok)
    .map(({ name, problem }) => `${name}${problem ? ` (${problem})` : ""}`)
  const test = failed.length > 0 ? `, FAILED: ${failed.join(", ")}` : `, largest difference ${worst.toExponential(1)}`
  return (
    `${isa}, ${threads} ${threads === 1 ? "thread" : "threads"}, ${stored.join(" ")}; ` +
    `self-test ${passed} of ${self_test.length} in ${Math.round(ms)} ms${test}`
  )
}
