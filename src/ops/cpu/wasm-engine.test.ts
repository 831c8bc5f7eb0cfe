import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { Worker } from "node:worker_threads"
import { afterEach, describe, expect, test } from "vitest"
import { IsaacError } from "../../errors"
import { numbers } from "../conformance/rig"
import { CpuBackend } from "./cpu-backend"
import { startWorker } from "./load-wasm-node"
import type { PoolWorker } from "./pool"
import type { PoolThreadData } from "./pool-thread"
import { createWasmEngine, type WasmEngine, type WasmEngineOptions } from "./wasm-engine"

const binary = readFileSync(fileURLToPath(new URL("../../../dist/ops/cpu/kernels-simd128.wasm", import.meta.url)))

const engines: WasmEngine[] = []
afterEach(async () => {
  for (const engine of engines.splice(0)) await engine.dispose()
})

async function engineWith(options: Partial<WasmEngineOptions>): Promise<WasmEngine> {
  const engine = await createWasmEngine({ binary, relaxed: false, threads: 2, startWorker, ...options })
  engines.push(engine)
  return engine
}

function errorOf(fn: () => unknown): IsaacError {
  try {
    fn()
  } catch (error) {
    expect(error).toBeInstanceOf(IsaacError)
    return error as IsaacError
  }
  throw new Error("nothing was thrown")
}

/** Work that is worth every thread, whatever the job. */
const MUCH = 1e6

describe("threads", () => {
  test("every part of thousands of short jobs is done, once, before run returns", async () => {
    for (const threads of [2, 4]) {
      const engine = await engineWith({ threads })
      expect(engine.threads).toBe(threads)
      const { start } = engine.grow(1 << 20)!
      const { elements } = engine.sizes
      for (let job = 0; job < 3000; job++) {
        // Parts run twice, or not at all, show: each adds 1 to its numbers in place.
        const size = elements * (1 + (job % 7)) - (job % 5)
        const x = engine.floats(start, size)
        const one = start + elements * 32
        engine.floats(one, size).fill(1)
        x.fill(job)
        const parts = Math.ceil(size / elements)
        engine.run("add_map", { x: start, y: one, out: start, size }, parts, MUCH)
        if (!x.every((v) => v === job + 1)) throw new Error(`job ${job} with ${threads} threads went wrong`)
      }
    }
  })

  test("a sleeping thread wakes for the next job", async () => {
    const engine = await engineWith({})
    const { start } = engine.grow(1 << 20)!
    for (let job = 0; job < 5; job++) {
      await new Promise((resolve) => setTimeout(resolve, 20))
      engine.floats(start, 8192).fill(job)
      engine.run("add_map", { x: start, y: start, out: start, size: 8192 }, 2, MUCH)
      expect(engine.floats(start, 8192).every((v) => v === 2 * job)).toBe(true)
    }
  })

  test("where workers are refused, one thread does it all and says why", async () => {
    const refuse = () => Promise.reject(new Error("no workers in here"))
    const engine = await engineWith({ threads: 4, startWorker: refuse })
    expect(engine.threads).toBe(1)
    expect(engine.refusal).toMatch(/no workers in here/)
    const b = new CpuBackend(engine)
    const t = b.upload(Float32Array.of(1, 2), [2])
    expect(await b.read(b.add(t, t))).toEqual(Float32Array.of(2, 4))
  })

  test("where some workers are refused, the others keep to their own scratch memory", async () => {
    const engine = await engineWith({
      threads: 3,
      startWorker: (data) => (data.thread === 1 ? Promise.reject(new Error("too many")) : startWorker(data)),
    })
    expect(engine.threads).toBe(2)
    const alone = await engineWith({ threads: 1 })
    const [T, heads, dim] = [100, 4, 24]
    const attend = async (engine: WasmEngine) => {
      const b = new CpuBackend(engine)
      const x = b.upload(numbers(T * heads * dim, 3), [T, heads * dim])
      // Numbers in bf16 are widened into the first bytes of the scratch memory.
      const kv = b.createKv({ layers: 1, kvHeads: heads, headDim: dim, stored: "bf16", maxTokens: T })
      const options = { kv, layer: 0, sequences: [{ slot: 0, start: 0, length: T }], scale: 0.2 }
      const results: Float32Array[] = []
      for (let i = 0; i < 8; i++) {
        const y = b.causalAttention(x, x, x, options)
        results.push(await b.read(y))
        b.free(y)
      }
      return results
    }
    expect(await attend(engine)).toEqual(await attend(alone))
  })

  test("a kernel that traps, in whatever thread, is an error; the next job works", async () => {
    for (const threads of [1, 2]) {
      const engine = await engineWith({ threads })
      const { start } = engine.grow(1 << 20)!
      const bad = { x: engine.memoryLimit - 64, y: 0, out: start, size: 4096 * 64 }
      expect(errorOf(() => engine.run("copy_map", bad, 64, MUCH)).code).toBe("internal")
      engine.floats(start, 8192).fill(1)
      engine.run("add_map", { x: start, y: start, out: start, size: 8192 }, 2, MUCH)
      expect(engine.floats(start, 8192).every((v) => v === 2)).toBe(true)
    }
  })

  test("traps leave nothing behind: neither their frames on the stacks, nor word of a failure", async () => {
    for (const threads of [1, 2]) {
      const engine = await engineWith({ threads })
      const b = new CpuBackend(engine)
      const w = b.loadWeight(new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer), "F32", [1, 4], "f32")
      const x = b.upload(Float32Array.of(1, 1, 1, 1), [1, 4])
      // A kernel with a large frame, on a weight of zeros and on one that lies behind the end of the memory.
      const [columns, k] = [4096, 64]
      const { start } = engine.grow(2 << 20)!
      const weight = start + (1 << 19)
      const sizes = { rows: 4, columns, k, kStart: 0, kEnd: k }
      const good = { x: start, weight, stored: 0, out: start + 65536, bias: 0, residual: 0, activation: 0, ...sizes }
      const bad = { ...good, weight: engine.memoryLimit - 64 }
      const panels = columns / engine.sizes.panel
      for (let i = 0; i < 200; i++) {
        expect(errorOf(() => engine.run("linear", bad, panels, MUCH)).message).toMatch(/kernel \d+ trapped/)
        expect(await b.read(b.linear(x, w))).toEqual(Float32Array.of(10))
        engine.run("linear", good, panels, MUCH)
      }
    }
  })

  test("a worker that ends by itself between two jobs is worker_lost", async () => {
    const workers: PoolWorker[] = []
    const engine = await engineWith({
      startWorker: async (data) => {
        const worker = await startWorker(data)
        workers.push(worker)
        return worker
      },
    })
    const { start } = engine.grow(1 << 20)!
    workers[0].terminate()
    await workers[0].ended
    const error = errorOf(() => engine.run("copy_map", { x: start, y: 0, out: start, size: 64 }, 1, 64))
    expect(error.code).toBe("worker_lost")
    expect(error.message).toMatch(/ended by itself/)
  })

  test("a worker that dies within a job is worker_lost after the time limit, not a hang", async () => {
    const engine = await engineWith({ startWorker: startMortal, stallMs: 300 })
    const { start } = engine.grow(1 << 20)!
    await new Promise((resolve) => setTimeout(resolve, 50))
    const job = () => engine.run("copy_map", { x: start, y: 0, out: start, size: 4096 * 8 }, 8, MUCH)
    const error = errorOf(() => {
      for (let i = 0; i < 1e6; i++) job()
    })
    expect(error.code).toBe("worker_lost")
    expect(error.message).toMatch(/not finished its part in 0\.3 s/)
    expect(errorOf(job).code).toBe("worker_lost")
  })
})

/** A worker that takes part in its first job and dies in the middle of it. */
async function startMortal(data: PoolThreadData): Promise<PoolWorker> {
  const source = `
    const { parentPort, workerData: { memory, control, words } } = require("node:worker_threads");
    const c = new Int32Array(memory.buffer, control, 256);
    const epoch = Atomics.load(c, words.epoch);
    parentPort.postMessage("ready");
    Atomics.wait(c, words.epoch, epoch);
    Atomics.add(c, words.active, 1);
    process.exit(1);`
  const worker = new Worker(source, { eval: true, workerData: data })
  const ended = new Promise<void>((resolve) => worker.once("exit", () => resolve()))
  await new Promise((resolve) => worker.once("message", resolve))
  // It waits without being counted as asleep: let the pool find it so.
  Atomics.add(new Int32Array(data.memory.buffer, data.control, 256), data.words.parked, 1)
  return { ended, terminate: () => void worker.terminate() }
}

describe("abort", () => {
  /** Sets the flag after `ms`, and the time of it, while this thread is busy. */
  function abortAfter(ms: number, flag: Int32Array, at: Float64Array): Worker {
    const source = `
      const { workerData: { flag, at, ms } } = require("node:worker_threads");
      setTimeout(() => { at[0] = Date.now(); Atomics.store(flag, 0, 1) }, ms);`
    return new Worker(source, { eval: true, workerData: { flag, at, ms } })
  }

  // By the clock: a machine that is busy otherwise may need another try.
  test.each([1, 2])("a running operation ends within about 100 ms, %i threads", { retry: 2 }, async (threads) => {
    const flag = new Int32Array(new SharedArrayBuffer(4))
    const at = new Float64Array(new SharedArrayBuffer(8))
    const engine = await engineWith({ threads, abort: flag })
    const b = new CpuBackend(engine)
    const [T, heads, dim] = [6144, 16, 72]
    const [q, k, v] = [1, 2, 3].map(() => b.upload(new Float32Array(T * heads * dim), [T, heads * dim]))
    const used = b.memory().used
    // Seconds of work.
    const attend = () => b.varlenAttention(q, k, v, Int32Array.of(0, T), heads, 1)
    // Late enough to fall into the attention itself, not into what is done before.
    const worker = abortAfter(500, flag, at)
    await new Promise((resolve) => worker.once("online", resolve))
    const error = errorOf(attend)
    expect(error.code).toBe("aborted")
    expect(Date.now() - at[0]).toBeLessThan(400)
    // Nothing is left behind; while the flag is up nothing starts; after that all goes on.
    expect(b.memory().used).toBe(used)
    expect(errorOf(() => b.silu(q)).code).toBe("aborted")
    Atomics.store(flag, 0, 0)
    b.free(b.silu(q))
    await worker.terminate()
  })
})

describe("memory", () => {
  test("a hundred rounds of scopes leave nothing behind and need no more memory than the first", async () => {
    const b = new CpuBackend(await engineWith({}))
    const w = b.loadWeight(new Uint8Array(300 * 130 * 4), "F32", [300, 130], "bf16")
    const round = () =>
      b.scope(() => {
        const x = b.upload(numbers(70 * 130, 1), [70, 130])
        const kept = b.scope(() => b.linear(x, w, { activation: "silu" }))
        b.topK(b.rows(b.add(kept, kept), 3, 9), 5)
        b.free(b.varlenAttention(x, x, x, Int32Array.of(0, 20, 70), 13, 0.3))
      })
    round()
    const { used, peak } = b.memory()
    for (let i = 0; i < 100; i++) {
      round()
      expect(b.memory()).toEqual({ used, peak })
    }
  })

  test("full memory is out_of_memory with the numbers, and what is freed can be used again", async () => {
    const b = new CpuBackend(await engineWith({ memoryLimit: 48 << 20 }))
    const keep = b.upload(Float32Array.of(1, 2, 3), [3])
    const big = b.upload(new Float32Array(6 << 20), [6, 1 << 20])
    const { used } = b.memory()
    const error = errorOf(() => b.add(big, big))
    expect(error.code).toBe("out_of_memory")
    expect(error.message).toMatch(/add: a result \[6, 1048576\] needs 24 MiB, but 24 MiB are in use.*48 MiB/)
    expect(b.memory().used).toBe(used)
    b.free(big)
    b.free(b.upload(new Float32Array(6 << 20), [6 << 20]))
    expect(await b.read(keep)).toEqual(Float32Array.of(1, 2, 3))
  })

  test.each([1, 2])("addresses above 2 GiB, %i threads", async (threads) => {
    const engine = await engineWith({ threads })
    // Never written, so never really taken from the machine.
    expect(engine.grow(2 ** 31 + 2 ** 20)).toBeDefined()
    const b = new CpuBackend(engine)
    const data = numbers(6 * 33, 5)
    const x = b.upload(data, [6, 33])
    const eye = Float32Array.from({ length: 33 * 33 }, (_, i) => (i % 34 === 0 ? 1 : 0))
    const w = b.loadWeight(new Uint8Array(eye.buffer), "F32", [33, 33], "f32")
    expect(await b.read(b.linear(x, w))).toEqual(data)
    expect(await b.read(b.embed(Int32Array.of(32, 0), w))).toEqual(
      Float32Array.from([...eye.slice(32 * 33), ...eye.slice(0, 33)]),
    )
    expect(await b.read(b.gatherRows(x, Int32Array.of(5)))).toEqual(data.slice(5 * 33))
    const kv = b.createKv({ layers: 1, kvHeads: 3, headDim: 11, maxTokens: 6 })
    const options = { kv, layer: 0, sequences: [{ slot: 0, start: 0, length: 6 }], scale: 1 }
    const attended = await b.read(b.causalAttention(x, x, x, options))
    // The first token sees itself only.
    for (let i = 0; i < 33; i++) expect(attended[i]).toBeCloseTo(data[i], 6)
  })
})

describe("e^x", () => {
  test("at most 2 units in the last place off", async () => {
    const engine = await engineWith({})
    const count = 1 << 18
    const { start } = engine.grow(count * 8)!
    const x = Float32Array.from({ length: count }, (_, i) => -87.33 + ((87.33 + 88.37) * i) / count)
    engine.floats(start, count).set(x)
    const out = start + count * 4
    engine.run("exp_map", { x: start, y: 0, out, size: count }, count / engine.sizes.elements, MUCH)
    const got = engine.floats(out, count)
    let worst = 0
    for (let i = 0; i < count; i++) {
      const want = Math.exp(x[i])
      const unit = 2 ** (Math.floor(Math.log2(want)) - 23)
      worst = Math.max(worst, Math.abs(got[i] - want) / unit)
    }
    expect(worst).toBeLessThanOrEqual(2)
  })

  test("0 and ∞ outside, NaN for NaN", async () => {
    const engine = await engineWith({})
    const { start } = engine.grow(1024)!
    const x = [Number.NEGATIVE_INFINITY, -1000, -88, 89, 1e30, Number.POSITIVE_INFINITY, Number.NaN, 0]
    engine.floats(start, 8).set(x)
    engine.run("exp_map", { x: start, y: 0, out: start + 64, size: 8 }, 1, 1)
    const inf = Number.POSITIVE_INFINITY
    expect([...engine.floats(start + 64, 8)]).toEqual([0, 0, 0, inf, inf, inf, Number.NaN, 1])
  })
})
