/**
 * Compiles kernels/ to dist/ops/cpu/*.wasm with the npm package @yowasp/clang: no compiler to install.
 *
 * Two modules of the same source: plain SIMD128, and with relaxed SIMD (fused multiply-add, int8 dot products). What was
 * compiled is kept under node_modules/.cache by the hash of everything that goes in, so that a build which only wiped
 * dist/ copies two files.
 */

import { createHash } from "node:crypto"
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { kernelSources, kernels } from "./kernel-sources.mjs"

const root = fileURLToPath(new URL("..", import.meta.url))
const cache = join(root, "node_modules/.cache/isaac-vlm/wasm")
const target = join(root, "dist/ops/cpu")

const MODULES = [
  { file: "kernels-simd128.wasm", flags: ["-msimd128"] },
  { file: "kernels-relaxed-simd.wasm", flags: ["-msimd128", "-mrelaxed-simd"] },
]

const FLAGS = [
  "--target=wasm32",
  "-std=c++20",
  "-O3",
  "-Wall",
  "-Wextra",
  "-Werror",
  "-ffreestanding",
  "-nostdlib",
  "-nostdinc++",
  "-fno-exceptions",
  "-fno-rtti",
  // The virtual file system has no "..".
  "-I.",
  // Keeps the constant offsets of an unrolled loop in the load instructions instead of adding them up before each.
  "-mllvm",
  "-disable-lsr",
  // Memory is shared between threads; the instructions for that come in two features.
  "-matomics",
  "-mbulk-memory",
  "-Wl,--no-entry",
  "-Wl,--import-memory",
  "-Wl,--shared-memory",
  "-Wl,--max-memory=4294967296",
  // Each thread gets a stack of its own, set through this global.
  "-Wl,--export=__stack_pointer",
  "-Wl,--strip-all",
]

class BuildError extends Error {}

function compilerVersion() {
  try {
    // The package exports no package.json: find it beside its entry.
    const entry = createRequire(import.meta.url).resolve("@yowasp/clang")
    return JSON.parse(readFileSync(join(dirname(entry), "../package.json"), "utf8")).version
  } catch (error) {
    throw new BuildError(
      `the compiler (npm package @yowasp/clang, a development dependency) is not installed: run \`npm ci\` (${error.message})`,
    )
  }
}

/** One hash over the compiler, this file (its flags) and every source. */
function fingerprint(files, version) {
  const hash = createHash("sha256")
    .update(version)
    .update(readFileSync(fileURLToPath(import.meta.url)))
  for (const file of files) hash.update(`\0${file}\0`).update(readFileSync(join(kernels, file)))
  return hash.digest("hex").slice(0, 16)
}

/** Nested folders of file contents, as the compiler's virtual file system wants them. */
function sourceTree(files) {
  const tree = {}
  for (const file of files) {
    const path = file.split(/[\\/]/)
    let folder = tree
    for (const name of path.slice(0, -1)) {
      folder[name] ??= {}
      folder = folder[name]
    }
    folder[path.at(-1)] = readFileSync(join(kernels, file), "utf8")
  }
  return tree
}

async function compile({ file, flags }, files) {
  const { runClang } = await import("@yowasp/clang")
  const decoder = new TextDecoder()
  let messages = ""
  const collect = (bytes) => {
    if (bytes) messages += decoder.decode(bytes, { stream: true })
  }
  let result
  try {
    const options = { stdout: collect, stderr: collect, fetchProgress: () => {} }
    // Reads the compiler into memory; only a call like this one does so without a progress report.
    await runClang(["clang++", "--version"], {}, options)
    messages = ""
    result = await runClang(["clang++", ...FLAGS, ...flags, "wasm/module.cpp", "-o", file], sourceTree(files), options)
  } catch (error) {
    throw new BuildError(`${file} does not compile:\n${messages || error.stack}`)
  }
  const binary = result[file]
  if (!(binary instanceof Uint8Array)) throw new BuildError(`the compiler wrote no ${file}:\n${messages}`)
  checkBinary(file, binary)
  return binary
}

/**
 * A module must be code only: no data that each thread's instance would write into the shared memory again, no start
 * function, nothing imported but the memory.
 */
function checkBinary(file, binary) {
  const names = { 8: "a start function", 11: "data segments" }
  let at = 8
  while (at < binary.length) {
    const id = binary[at++]
    let size = 0
    for (let shift = 0; ; shift += 7) {
      const byte = binary[at++]
      size += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) break
    }
    if (names[id]) throw new BuildError(`${file} has ${names[id]}: kernels may have no initialised globals`)
    // The import section: a count, then "env" "memory", kind 2.
    if (id === 2 && binary[at] !== 1)
      throw new BuildError(`${file} imports more than the memory: a libc call slipped in`)
    at += size
  }
}

async function main() {
  const files = kernelSources("wasm")
  const folder = join(cache, fingerprint(files, compilerVersion()))
  mkdirSync(folder, { recursive: true })
  mkdirSync(target, { recursive: true })
  for (const module of MODULES) {
    const cached = join(folder, module.file)
    const fresh = existsSync(cached)
    const start = performance.now()
    if (!fresh) {
      const binary = await compile(module, files)
      // Renamed into place, so that a build beside this one never reads half a file.
      writeFileSync(`${cached}.${process.pid}`, binary)
      renameSync(`${cached}.${process.pid}`, cached)
    }
    const out = join(target, module.file)
    copyFileSync(cached, `${out}.${process.pid}`)
    renameSync(`${out}.${process.pid}`, out)
    const how = fresh ? "unchanged" : `compiled in ${((performance.now() - start) / 1000).toFixed(1)} s`
    console.log(`${relative(root, out)}: ${readFileSync(out).length} bytes, ${how}`)
  }
}

try {
  await main()
} catch (error) {
  if (!(error instanceof BuildError)) throw error
  console.error(`build-wasm: ${error.message}`)
  process.exitCode = 1
}
