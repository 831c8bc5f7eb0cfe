/**
 * Compiles kernels/ as an addon for Node to dist/ops/cpu/isaac.node, with the machine's C++ compiler. Every kernel is
 * compiled once for each instruction set; the addon takes the best that the processor has. Without a compiler, and on
 * systems that the addon does not know, nothing is built and WebAssembly serves.
 *
 * What was compiled is kept by the hash of everything that goes in, so that a build which only wiped dist/ copies a file.
 *
 *   node tools/build-native.mjs [--soft] [--here] [--only SET,SET] [--sanitize] [--out FILE]
 *
 *   --soft      a failure is one line, not an exit code: an install goes on without the addon
 *   --here      the best instruction set of this processor and the plainest one, not all: a third of the time
 *   --only      some of the instruction sets, by their ids below
 *   --sanitize  with AddressSanitizer and UndefinedBehaviorSanitizer, to isaac-sanitized.node
 *
 * CXX names another compiler. Needs no more than this file, kernel-sources.mjs, kernels/ and the package node-api-headers.
 */

import { execFile, execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs"
import { createRequire } from "node:module"
import { availableParallelism, tmpdir } from "node:os"
import { dirname, join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { kernelSources, kernels } from "./kernel-sources.mjs"

const root = fileURLToPath(new URL("..", import.meta.url))
const cache = join(root, "node_modules/.cache/isaac-vlm/native")
const run = promisify(execFile)

/** Instruction sets of a processor architecture, best first. Ids are those of what they need in kernels/node/cpu.h, macros
 * what a compiler defines for a processor that has it. */
const INSTRUCTION_SETS = {
  x64: [
    {
      id: "avx512_bf16",
      macro: "__AVX512BF16__",
      name: "avx-512 vnni bf16",
      flags: ["-mavx512vnni", "-mavx512bf16"],
      base: "avx512",
    },
    { id: "avx512_vnni", macro: "__AVX512VNNI__", name: "avx-512 vnni", flags: ["-mavx512vnni"], base: "avx512" },
    {
      id: "avx512",
      macro: "__AVX512BW__",
      name: "avx-512",
      flags: ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"],
      base: "avx2",
    },
    { id: "avx2_vnni", macro: "__AVXVNNI__", name: "avx2 vnni", flags: ["-mavxvnni"], base: "avx2" },
    { id: "avx2", macro: "__AVX2__", name: "avx2", flags: ["-mavx2", "-mfma", "-mf16c", "-mbmi", "-mbmi2", "-mlzcnt"] },
  ],
  arm64: [
    { id: "neon_dotprod", macro: "__ARM_FEATURE_DOTPROD", name: "neon dotprod", flags: ["-march=armv8.2-a+dotprod"] },
    { id: "neon", macro: "__ARM_NEON", name: "neon", flags: ["-march=armv8-a"] },
  ],
}

/** For all files. A product and a sum become one instruction where the processor has it, as the other build does too. */
const FLAGS = [
  "-std=c++20",
  "-O3",
  "-Wall",
  "-Wextra",
  "-fPIC",
  "-fvisibility=hidden",
  "-fno-math-errno",
  "-fno-trapping-math",
  "-ffp-contract=fast",
]
const KERNEL_FLAGS = ["-fno-exceptions", "-fno-rtti", "-fno-stack-protector"]
const SANITIZE_FLAGS = [
  "-O1",
  "-g",
  "-fsanitize=address,undefined",
  "-fno-sanitize-recover=undefined",
  "-fno-omit-frame-pointer",
]

/** Why there is no addon; `expected` where nothing is wrong with the sources. */
class NotBuilt extends Error {
  constructor(message, expected) {
    super(message)
    this.expected = expected
  }
}

/** The compiler's name and what it says of itself. */
function findCompiler() {
  const names = process.env.CXX ? [process.env.CXX] : ["c++", "clang++", "g++"]
  for (const name of names) {
    try {
      return {
        name,
        version: execFileSync(name, ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }),
      }
    } catch {
      // The next one.
    }
  }
  throw new NotBuilt(`no C++ compiler (${names.join(", ")}): WebAssembly serves instead`, true)
}

/** The best of these sets that this processor has, and the last one, for a processor that this build is moved to. */
function setsOfThisProcessor(compiler, sets) {
  let macros = ""
  try {
    const options = { encoding: "utf8", input: "", stdio: ["pipe", "pipe", "ignore"] }
    macros = execFileSync(compiler.name, ["-march=native", "-dM", "-E", "-x", "c++", "-"], options)
  } catch {
    // A compiler that does not know: all sets.
    return sets
  }
  const best = sets.find(({ macro }) => macros.includes(`#define ${macro} `))
  return sets.filter((set) => set === best || set === sets.at(-1))
}

function findHeaders() {
  try {
    return join(dirname(createRequire(import.meta.url).resolve("node-api-headers/package.json")), "include")
  } catch (error) {
    throw new NotBuilt(`the package node-api-headers is not installed: run \`npm ci\` (${error.message})`, false)
  }
}

/** The kernels and sizes that the sources define, as macros for tables: kernels/node/isa.cpp. */
function nameTable(files) {
  const lines = []
  for (const file of files.filter((name) => !/^node[\\/]/.test(name) && name.endsWith(".cpp"))) {
    const text = readFileSync(join(kernels, file), "utf8")
    for (const [, name, args] of text.matchAll(/^ISAAC_KERNEL\((\w+), (\w+)\)/gm))
      lines.push(`KERNEL(${name}, ${args})`)
    for (const [, name] of text.matchAll(/^ISAAC_SIZE\((\w+)\)/gm)) lines.push(`SIZE(${name})`)
  }
  return `${lines.join("\n")}\n`
}

/** One hash over everything that goes in. */
function fingerprint(files, compiler, sets, sanitize) {
  const ids = sets.map(({ id }) => id).join()
  const hash = createHash("sha256").update(
    `${compiler.name}\0${compiler.version}\0${process.platform}\0${process.arch}\0${ids}\0${sanitize}`,
  )
  hash.update(readFileSync(fileURLToPath(import.meta.url)))
  for (const file of files) hash.update(`\0${file}\0`).update(readFileSync(join(kernels, file)))
  return hash.digest("hex").slice(0, 16)
}

async function compile(compiler, sets, files, sanitize, target) {
  const headers = findHeaders()
  const work = mkdtempSync(join(tmpdir(), "isaac-native-"))
  try {
    writeFileSync(join(work, "names.h"), nameTable(files))
    writeFileSync(join(work, "sets.h"), sets.map(({ id }) => `SET(${id}, ${id})\n`).join(""))
    const extra = sanitize ? SANITIZE_FLAGS : []
    const flagsOf = (set) => [
      ...(set.base ? flagsOf(INSTRUCTION_SETS[process.arch].find(({ id }) => id === set.base)) : []),
      ...set.flags,
    ]
    const jobs = [
      {
        object: join(work, "addon.o"),
        args: [
          ...FLAGS,
          ...extra,
          "-pthread",
          `-I${headers}`,
          `-I${work}`,
          "-DNAPI_VERSION=8",
          "-c",
          join(kernels, "node/addon.cpp"),
        ],
      },
      ...sets.map((set) => ({
        object: join(work, `${set.id}.o`),
        args: [
          ...[...FLAGS, ...KERNEL_FLAGS, ...flagsOf(set), ...extra],
          ...[
            `-I${work}`,
            `-DISAAC_ISA=${set.id}`,
            `-DISAAC_ISA_NAME="${set.name}"`,
            "-c",
            join(kernels, "node/isa.cpp"),
          ],
        ],
      })),
    ]
    const waiting = [...jobs]
    const worker = async () => {
      for (let job = waiting.shift(); job; job = waiting.shift())
        await run(compiler.name, [...job.args, "-o", job.object])
    }
    await Promise.all(Array.from({ length: Math.min(jobs.length, availableParallelism()) }, worker))
    const link =
      process.platform === "darwin" ? ["-bundle", "-undefined", "dynamic_lookup"] : ["-shared", "-Wl,-z,defs,-z,now"]
    // The functions of Node-API are in the program that loads the addon.
    const linux =
      process.platform === "linux"
        ? ["-Wl,-z,undefs", "-static-libgcc", ...(sanitize ? [] : ["-static-libstdc++", "-s"])]
        : []
    const built = join(work, "isaac.node")
    await run(compiler.name, [...link, ...linux, ...extra, "-pthread", ...jobs.map((job) => job.object), "-o", built])
    copyFileSync(built, `${target}.${process.pid}`)
    // Renamed into place, so that a build beside this one never reads half a file.
    renameSync(`${target}.${process.pid}`, target)
  } catch (error) {
    if (error instanceof NotBuilt) throw error
    throw new NotBuilt(`${compiler.name} failed: ${(error.stderr || error.message).trim()}`, false)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/**
 * Build the addon and return what was done, in a line. Throws an Error that says why there is none.
 *
 * @param options out: the file to write; only: ids of instruction sets, default all; here:
 * the best one of this processor and the plainest; sanitize: with sanitizers
 */
export async function buildNative({ out, only, here = false, sanitize = false } = {}) {
  const all = INSTRUCTION_SETS[process.arch]
  if (!all || !["linux", "darwin"].includes(process.platform)) {
    throw new NotBuilt(`the addon does not know ${process.platform}-${process.arch}: WebAssembly serves instead`, true)
  }
  const start = performance.now()
  const target = out ?? join(root, "dist/ops/cpu", sanitize ? "isaac-sanitized.node" : "isaac.node")
  const files = kernelSources("node")
  const compiler = findCompiler()
  const some = only ? all.filter(({ id }) => only.includes(id)) : all
  const sets = here ? setsOfThisProcessor(compiler, some) : some
  const cached = join(cache, fingerprint(files, compiler, sets, sanitize), "isaac.node")
  const fresh = existsSync(cached)
  mkdirSync(dirname(cached), { recursive: true })
  mkdirSync(dirname(target), { recursive: true })
  if (!fresh) await compile(compiler, sets, files, sanitize, cached)
  copyFileSync(cached, `${target}.${process.pid}`)
  renameSync(`${target}.${process.pid}`, target)
  const how = fresh ? "unchanged" : `compiled in ${((performance.now() - start) / 1000).toFixed(1)} s`
  return `${relative(root, target)}: ${sets.map(({ name }) => name).join(", ")}; ${readFileSync(target).length} bytes, ${how}`
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const flags = process.argv.slice(2)
  const optionOf = (flag) => (flags.includes(flag) ? flags[flags.indexOf(flag) + 1] : undefined)
  try {
    console.log(
      await buildNative({
        here: flags.includes("--here"),
        sanitize: flags.includes("--sanitize"),
        only: optionOf("--only")?.split(","),
        out: optionOf("--out"),
      }),
    )
  } catch (error) {
    if (!(error instanceof NotBuilt)) throw error
    const [first, ...rest] = error.message.split("\n")
    const soft = flags.includes("--soft")
    console.log(
      `build-native: ${first}${soft && rest.length > 0 ? " …; WebAssembly serves instead" : rest.map((line) => `\n${line}`).join("")}`,
    )
    if (!soft && !error.expected) process.exitCode = 1
  }
}
