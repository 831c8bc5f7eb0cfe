/**
 * How fast the kernels are, beside what this machine can do at most, measured in the same minute.
 *
 *   npm run build && node bench/ops.mjs [--threads 1,2] [--builds native,relaxed,plain] [--stored f32,bf16,q8,q4]
 *                                       [--only linear|decode|pack|attention] [--ms 600]
 *
 * "native" is the best instruction set, "native:avx2" a certain one; "relaxed" and "plain" are those of WebAssembly.
 *
 * Numbers of a shared machine move by tens of percent: every row runs in turn with its limit; compare the percentages.
 */

import { readFile } from "node:fs/promises"
import { createRequire } from "node:module"
import { cpus } from "node:os"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { parseArgs } from "node:util"

const { values } = parseArgs({
  options: {
    threads: { type: "string", default: "1,2" },
    builds: { type: "string", default: "native,relaxed,plain" },
    stored: { type: "string", default: "f32,bf16,q8,q4" },
    only: { type: "string" },
    ms: { type: "string", default: "600" },
    dist: { type: "string", default: fileURLToPath(new URL("../dist/", import.meta.url)) },
  },
})
const dist = new URL("ops/cpu/", pathToFileURL(join(values.dist, "/")))
const [{ CpuBackend }, { createWasmEngine }, { enableRelaxedSimd, startWorker }, { NativeEngine }] = await Promise.all(
  ["cpu-backend.js", "wasm-engine.js", "load-wasm-node.js", "native-engine.js"].map(
    (file) => import(new URL(file, dist).href),
  ),
)
const STORED = values.stored.split(",")

async function createEngine(build, threads) {
  if (build.startsWith("native")) {
    const addon = createRequire(import.meta.url)(fileURLToPath(new URL("isaac.node", dist)))
    const instructionSet = build.split(":")[1] ?? addon.instructionSets()[0]
    return new NativeEngine({ addon, instructionSet, threads, memoryLimit: 2 ** 36 })
  }
  const relaxed = build === "relaxed"
  const support = enableRelaxedSimd()
  if (relaxed && !support.on) throw new Error(`no relaxed SIMD: ${support.why}`)
  const file = relaxed ? "kernels-relaxed-simd.wasm" : "kernels-simd128.wasm"
  return createWasmEngine({ binary: await readFile(new URL(file, dist)), relaxed, threads, startWorker })
}

const budget = Number(values.ms)

/** Seconds of the fastest call of each function, called in turn within the time budget, after one to warm up. */
function best(...functions) {
  const least = functions.map(() => Number.POSITIVE_INFINITY)
  const until = performance.now() + budget
  for (let n = -1; n < 3 || performance.now() < until; n++) {
    for (const [i, fn] of functions.entries()) {
      const start = performance.now()
      fn()
      if (n >= 0) least[i] = Math.min(least[i], (performance.now() - start) / 1000)
    }
  }
  return least
}

const random = (n) => Float32Array.from({ length: n }, () => Math.random() - 0.5)
const bytesOf = (x) => new Uint8Array(x.buffer, x.byteOffset, x.byteLength)
const print = (name, value, unit, note = "") =>
  console.log(`  ${name.padEnd(44)} ${value.toFixed(1).padStart(7)} ${unit}${note}`)

async function measure(build, threads) {
  const engine = await createEngine(build, threads)
  const b = new CpuBackend(engine)
  console.log(`\n${engine.isa}, ${threads} thread${threads > 1 ? "s" : ""}`)
  const wants = (name) => !values.only || values.only === name

  // 1. The limits, and what is measured in turn with one of them.
  const readFloats = 64 << 20
  const { start } = engine.grow(readFloats * 4 + 4096)
  // Pages that were never written are all the same page of zeros, in the cache.
  engine.floats(start, readFloats).fill(1)
  const steps = 200_000
  const parts = 1024
  const lanes = engine.sizes.panel / 2
  const arithmetic = {
    unit: "GFLOP/s",
    amount: 16 * threads * steps * 12 * 2 * lanes,
    run: () => engine.run("limit_multiply", { x: start, out: start, count: steps }, 16 * threads, 1e12),
  }
  const integer = {
    unit: "GOP/s",
    amount: 16 * threads * steps * 12 * 2 * 4 * lanes,
    run: () => engine.run("limit_dot", { x: start, out: start, count: steps }, 16 * threads, 1e12),
  }
  const memory = {
    unit: "GB/s",
    amount: readFloats * 4,
    run: () => engine.run("limit_read", { x: start, out: start, count: readFloats / parts }, parts, 1e9),
  }
  const row = (name, limit, amount, run) => {
    const [seconds, limitSeconds] = best(run, limit.run)
    const share = amount / seconds / (limit.amount / limitSeconds)
    print(name, amount / seconds / 1e9, limit.unit, `  ${(100 * share).toFixed(0).padStart(3)} % of the limit`)
  }
  print("limit: multiply-add on registers", arithmetic.amount / best(arithmetic.run)[0] / 1e9, arithmetic.unit)
  print("limit: int8 dot products on registers", integer.amount / best(integer.run)[0] / 1e9, integer.unit)
  print("limit: reading 256 MB", memory.amount / best(memory.run)[0] / 1e9, memory.unit)

  // 2. Prefill: 512 tokens through an MLP matrix of Isaac's decoder.
  if (wants("linear")) {
    const [T, K, N] = [512, 2048, 6144]
    const source = bytesOf(random(K * N))
    for (const stored of STORED) {
      const limit = stored.startsWith("q") ? integer : arithmetic
      const w = b.loadWeight(source, "F32", [N, K], stored)
      const x = b.upload(random(T * K), [T, K])
      row(`linear ${T}×${K}×${N} ${stored}`, limit, 2 * T * K * N, () => b.free(b.linear(x, w)))
      b.free(x, w)
    }
  }

  // 3. Decode: one token through distinct matrices, more of them than any cache holds.
  if (wants("decode")) {
    const [K, N, count] = [2048, 6144, 8]
    const source = bytesOf(random(K * N))
    for (const stored of STORED) {
      const weights = Array.from({ length: count }, () => b.loadWeight(source, "F32", [N, K], stored))
      for (const T of stored.startsWith("q") ? [1, 4, 8] : [1, 4]) {
        const x = b.upload(random(T * K), [T, K])
        row(`decode ${T}×${K}×${N} ${stored}`, memory, count * weights[0].bytes, () => {
          for (const w of weights) b.free(b.linear(x, w))
        })
        b.free(x)
      }
      b.free(...weights)
    }
  }

  // 4. Packing, in numbers of a checkpoint's matrix per second.
  if (wants("pack")) {
    const [K, N] = [2048, 6144]
    const source = new Uint8Array(random((K * N) / 2).buffer)
    for (const stored of STORED) {
      const [seconds] = best(() => b.free(b.loadWeight(source, "BF16", [N, K], stored)))
      print(`pack ${K}×${N} BF16 as ${stored}`, (K * N) / seconds / 1e6, "million/s")
    }
  }

  // 5. Attention: the vision tower's heads over one image; the decoder's over a prompt, and one token over a context.
  if (wants("attention")) {
    const [T, heads, dim] = [1200, 16, 72]
    const [q, k, v] = [0, 1, 2].map(() => b.upload(random(T * heads * dim), [T, heads * dim]))
    row(`attention ${T} patches, ${heads} heads of ${dim}`, arithmetic, 4 * T * T * heads * dim, () =>
      b.free(b.varlenAttention(q, k, v, Int32Array.of(0, T), heads, dim ** -0.5)),
    )
    b.free(q, k, v)
    for (const stored of ["f32", "bf16"]) {
      const [length, heads, kvHeads, headDim] = [1024, 16, 8, 128]
      const kv = b.createKv({ layers: 1, kvHeads, headDim, stored, maxTokens: length + 1 })
      const attend = (start, length, measure) =>
        b.scope(() => {
          const q = b.upload(random(length * heads * headDim), [length, heads * headDim])
          const k = b.upload(random(length * kvHeads * headDim), [length, kvHeads * headDim])
          const options = { kv, layer: 0, sequences: [{ slot: 0, start, length }], scale: headDim ** -0.5 }
          measure(() => b.free(b.causalAttention(q, k, k, options)))
        })
      const work = 2 * length ** 2 * heads * headDim
      attend(0, length, (run) => row(`causal attention ${length} tokens, ${stored}`, arithmetic, work, run))
      b.kvCommit(kv, 0, length)
      attend(length, 1, (run) => print(`one token after ${length}, ${stored}`, best(run)[0] * 1e6, "µs"))
      b.free(kv)
    }
  }
  await b.dispose()
}

console.log(`${cpus()[0].model}, ${cpus().length} cores, Node ${process.versions.node}`)
for (const build of values.builds.split(",")) {
  for (const threads of values.threads.split(",")) await measure(build, Number(threads))
}
