/**
 * The native backend in Node: where the addon lies, whether it can be trusted, and which instruction set it runs.
 *
 * An addon is code in the caller's process: one that was built for another machine, or is damaged, would take it down.
 * So each instruction set computes sums of known result in a child process before it is loaded here.
 */

import { execFile } from "node:child_process"
import { existsSync } from "node:fs"
import { createRequire } from "node:module"
import { availableParallelism, totalmem } from "node:os"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { IsaacError } from "../../errors"
import type { Backend } from "../backend"
import { CpuBackend } from "./cpu-backend"
import { type Addon, messageOf, NativeEngine, type NativeEngineOptions } from "./native-engine"
import { threadCount } from "./threads"

/** Of the machine's memory, or what this process may have of it. */
const MEMORY_SHARE = 0.9
const TRIAL_MS = 20_000

export interface NativeBackendOptions {
  /** The calling thread included. Default: what the machine has, at most 16. */
  readonly threads?: number
  /** Word 0 not 0: running operations end with `aborted`, within about 100 ms. */
  readonly abort?: Int32Array
  /** Default: the best that computes right. Also in the environment, as ISAAC_INSTRUCTION_SET. */
  readonly instructionSet?: string
  /** Most bytes the memory may grow to. Default: nine tenths of the machine's. */
  readonly memoryLimit?: number
  /** Told what is not as fast as it could be, and why. */
  readonly onNote?: (note: string) => void
  /** The addon's file. Default: the one that was built here, or the one of the package for this platform. */
  readonly path?: string
  /** For tests. */
  readonly growBytes?: NativeEngineOptions["growBytes"]
}

/** The cpu backend in native code. Throws backend_unavailable with the reason, bad_input for a senseless option. */
export async function createNativeBackend(options: NativeBackendOptions = {}): Promise<Backend> {
  const { abort, growBytes, onNote = () => {}, path = findAddon() } = options
  const threads = threadCount(options.threads, availableParallelism())
  const wanted = options.instructionSet ?? process.env.ISAAC_INSTRUCTION_SET
  const trial = await tryAddon(path, wanted)
  for (const note of trial.refused) onNote(note)
  const memoryLimit = options.memoryLimit ?? Math.floor(MEMORY_SHARE * processMemory())
  try {
    const addon = loadAddon(path)
    const engine = new NativeEngine({ addon, instructionSet: trial.passed, threads, abort, memoryLimit, growBytes })
    if (engine.threads < threads) onNote(`${engine.threads} of ${threads} threads: the system refused more`)
    return new CpuBackend(engine)
  } catch (cause) {
    throw new IsaacError("backend_unavailable", `the addon ${path} cannot be used: ${messageOf(cause)}`, { cause })
  }
}

/** Bytes that this process may have: what the machine has, or the container lets it have. */
function processMemory(): number {
  const limit = process.constrainedMemory()
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem()
}

/** Beside this file in the built package; from the sources, where the build put it; or from the platform's package. */
function findAddon(): string {
  for (const place of ["./isaac.node", "../../../dist/ops/cpu/isaac.node"]) {
    const path = fileURLToPath(new URL(place, import.meta.url))
    if (existsSync(path)) return path
  }
  const name = platformPackage()
  try {
    return createRequire(import.meta.url).resolve(`${name}/isaac.node`)
  } catch (cause) {
    const how = "run `npx isaac build-native` where there is a C++ compiler"
    throw new IsaacError(
      "backend_unavailable",
      `not built: there is no isaac.node here and no package ${name}; ${how}`,
      {
        cause,
      },
    )
  }
}

/** Name of the npm package that has the addon for this machine. */
export function platformPackage(platform: string = process.platform, arch: string = process.arch): string {
  return `isaac-vlm-${platform}-${arch}`
}

function loadAddon(path: string): Addon {
  return createRequire(import.meta.url)(path) as Addon
}

/** What the child process says: an instruction set that computed right, or why there is none. */
interface Trial {
  readonly passed: string
  /** Better ones that did not. */
  readonly refused: readonly string[]
}

/**
 * Try the addon's instruction sets, best first, or the one that is wanted, each in a process of its own. Throws
 * backend_unavailable if none passes.
 */
async function tryAddon(path: string, wanted: string | undefined): Promise<Trial> {
  const refused: string[] = []
  const known = await inChild(path, [])
  if (typeof known === "string") throw new IsaacError("backend_unavailable", `the addon ${path} ${known}`)
  if (wanted !== undefined && !known.sets.includes(wanted)) {
    const sets = known.sets.length > 0 ? `it has ${known.sets.join(", ")}` : "it has none for this processor"
    throw new IsaacError("backend_unavailable", `the addon does not run "${wanted}" here: ${sets}`)
  }
  for (const set of wanted === undefined ? known.sets : [wanted]) {
    // The first was tried when the sets were asked for.
    const answer = set === known.tried ? known : await inChild(path, [set])
    if (typeof answer !== "string" && answer.wrong === undefined) return { passed: set, refused }
    refused.push(`no ${set}: the addon ${typeof answer === "string" ? answer : answer.wrong}`)
  }
  const why = refused.length > 0 ? refused.join("; ") : "this processor has none of its instruction sets"
  throw new IsaacError("backend_unavailable", `the addon ${path}: ${why}`)
}

interface ChildAnswer {
  readonly sets: readonly string[]
  /** The set that was tried. */
  readonly tried?: string
  /** What it computed wrongly. */
  readonly wrong?: string
}

/** Load the addon in a child process and try a set, the best by default. A string says how that ended otherwise. */
async function inChild(path: string, sets: readonly string[]): Promise<ChildAnswer | string> {
  const source = `(${trialMain})(require, ${JSON.stringify(path)}, ${JSON.stringify(sets[0] ?? null)})`
  const env = { ...process.env, NODE_OPTIONS: "", ELECTRON_RUN_AS_NODE: "1" }
  try {
    const { stdout } = await promisify(execFile)(process.execPath, ["-e", source], {
      env,
      timeout: TRIAL_MS,
      windowsHide: true,
    })
    return JSON.parse(stdout) as ChildAnswer
  } catch (error) {
    const { signal, code, stderr, killed } = error as {
      signal?: string
      code?: unknown
      stderr?: string
      killed?: boolean
    }
    if (killed) return `did not end its trial within ${TRIAL_MS / 1000} s`
    if (signal) return `died in a trial, of ${signal}`
    const line = stderr?.split("\n").find((text) => /Error/.test(text))
    return `failed in a trial: ${line ?? (code === undefined ? messageOf(error) : `it ended with ${code}`)}`
  }
}

/**
 * What the child runs, as text: it may use nothing from outside itself, not even `require`, which a bundler renames. Sums of products of small whole numbers, which
 * are exact in any order, on two threads.
 */
function trialMain(load: (path: string) => unknown, path: string, wanted: string | null): void {
  const addon = load(path) as Addon
  const sets = addon.instructionSets()
  const tried = wanted ?? sets[0]
  let wrong: string | undefined
  if (tried !== undefined) {
    const { engine, arguments: args } = addon.create(tried, 2, ["self_test_fma", "self_test_dot"])
    const steps = 24
    const lanes = addon.size(engine, "vector_lanes", 0)
    const vector = lanes * 4
    const region = addon.grow(vector * (2 * steps + 1))
    if (!region) throw new Error("there is no memory")
    const { start, buffer } = region
    const value = (i: number, seed: number) => ((i * 7919 + seed * 104729) % 127) - 63
    const at = { x: 0, y: vector * steps, out: vector * steps * 2 }
    new Float64Array(args).set([start + at.x, start + at.y, start + at.out, steps])

    const x = new Float32Array(buffer, at.x, lanes * steps).map((_, i) => value(i, 1))
    const y = new Float32Array(buffer, at.y, lanes * steps).map((_, i) => value(i, 2))
    new Float32Array(buffer, at.x, lanes * steps).set(x)
    new Float32Array(buffer, at.y, lanes * steps).set(y)
    addon.run(engine, 0, 0, 2, false)
    const sums = new Float32Array(buffer, at.out, lanes)
    for (let lane = 0; lane < lanes; lane++) {
      let want = 0
      for (let i = lane; i < lanes * steps; i += lanes) want += x[i] * y[i]
      if (sums[lane] !== want) wrong = `computes a sum of ${steps} products as ${sums[lane]}, it should be ${want}`
    }

    const a = new Int8Array(buffer, at.x, vector * steps)
    const b = new Int8Array(buffer, at.y, vector * steps)
    for (let i = 0; i < vector * steps; i++) {
      a[i] = value(i, 3) * 2
      b[i] = value(i, 4) + 63
    }
    addon.run(engine, 1, 0, 2, false)
    const dots = new Int32Array(buffer, at.out, lanes)
    for (let lane = 0; lane < lanes; lane++) {
      let want = 0
      for (let step = 0; step < steps; step++) {
        for (let i = 0; i < 4; i++) want += a[step * vector + lane * 4 + i] * b[step * vector + lane * 4 + i]
      }
      if (dots[lane] !== want) wrong = `computes an int8 dot product as ${dots[lane]}, it should be ${want}`
    }
    addon.dispose(engine)
  }
  process.stdout.write(JSON.stringify({ sets, tried, wrong }))
}
