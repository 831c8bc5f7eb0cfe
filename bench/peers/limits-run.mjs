/**
 * What the machine can do at most with our instructions and threads, as one line of JSON:
 *
 *   node limits-run.mjs DIST native|wasm THREADS
 *
 * `{multiply, dot}` are operations a second of loops on registers, `read` bytes a second of a plain read loop.
 */

import { readFile } from "node:fs/promises"
import { createRequire } from "node:module"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"

const [folder, backend, threads] = process.argv.slice(2)
const dist = new URL("ops/cpu/", pathToFileURL(join(folder, "/")))
const load = (file) => import(new URL(file, dist).href)
const [{ measureLimits }, { TensorMemory }] = await Promise.all([load("machine-limits.js"), load("tensor-memory.js")])

async function createEngine() {
  if (backend === "native") {
    const { NativeEngine } = await load("native-engine.js")
    const addon = createRequire(import.meta.url)(fileURLToPath(new URL("isaac.node", dist)))
    const [instructionSet] = addon.instructionSets()
    return new NativeEngine({ addon, instructionSet, threads: Number(threads), memoryLimit: 2 ** 33 })
  }
  const [{ createWasmEngine }, { enableRelaxedSimd, startWorker }] = await Promise.all([
    load("wasm-engine.js"),
    load("load-wasm-node.js"),
  ])
  const relaxed = enableRelaxedSimd().on
  const binary = await readFile(new URL(relaxed ? "kernels-relaxed-simd.wasm" : "kernels-simd128.wasm", dist))
  return createWasmEngine({ binary, relaxed, threads: Number(threads), startWorker })
}

const engine = await createEngine()
const { multiply, dot, read } = measureLimits(engine, new TensorMemory(engine), 600)
console.log(JSON.stringify({ isa: engine.isa, multiply, dot, read }))
process.exit(0)
