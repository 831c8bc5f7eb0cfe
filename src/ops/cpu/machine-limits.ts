/** What this machine can do at most with the threads and the instructions of an engine: the kernels of limits.cpp. */

import { isIsaacError } from "../../errors"
import type { MachineLimits } from "../roofline"
import type { Engine } from "./engine"
import type { Borrowed, TensorMemory } from "./tensor-memory"

/** Steps of registers only in a part of a job, a few tenths of a millisecond. */
const STEPS = 100_000
const PARTS_PER_THREAD = 16
/** Bytes to read: more than caches hold, if there is so much memory left. */
const READ_BYTES = [256 << 20, 64 << 20, 16 << 20]
const READ_PARTS = 1024
/** Memory of the loops that stay in registers, and of what they tell. */
const SMALL_BYTES = 16 << 10

/** @param budgetMs time for each of the loops. Throws aborted, worker_lost, out_of_memory. */
export function measureLimits(engine: Engine, memory: TensorMemory, budgetMs: number): MachineLimits {
  return memory.borrow((borrowed) => {
    const x = borrowed.bytes(SMALL_BYTES, "limits: numbers")
    const out = borrowed.bytes(SMALL_BYTES, "limits: results")
    const parts = PARTS_PER_THREAD * engine.threads

    /** Operations a second of a loop on registers, which tells how many a step has. */
    const onRegisters = (kernel: "limit_multiply" | "limit_pairs" | "limit_dot") => {
      engine.floats(out, engine.threadNumbers).fill(0)
      const seconds = fastest(budgetMs, () => engine.run(kernel, { x, out, count: STEPS }, parts, 1e12))
      return (parts * STEPS * Math.max(...engine.floats(out, engine.threadNumbers))) / seconds
    }
    engine.floats(x, SMALL_BYTES / 4).fill(1)
    const multiply = onRegisters("limit_multiply")
    const pairs = onRegisters("limit_pairs") || undefined
    engine.bytes(x, SMALL_BYTES).fill(1)
    const dot = onRegisters("limit_dot")

    const { pointer, bytes } = readable(borrowed)
    // Pages that were never written are all the same page of zeros, in the cache.
    engine.bytes(pointer, bytes).fill(1)
    const count = bytes / 4 / READ_PARTS
    const seconds = fastest(budgetMs, () => engine.run("limit_read", { x: pointer, out, count }, READ_PARTS, 1e9))
    return { multiply, pairs, dot, read: bytes / seconds, readBytes: bytes }
  })
}

/** The largest of READ_BYTES that there is memory for. */
function readable(borrowed: Borrowed): { readonly pointer: number; readonly bytes: number } {
  for (const [i, bytes] of READ_BYTES.entries()) {
    try {
      return { pointer: borrowed.bytes(bytes, "limits: memory to read"), bytes }
    } catch (error) {
      const full = isIsaacError(error) && error.code === "out_of_memory"
      if (!full || i === READ_BYTES.length - 1) throw error
    }
  }
  throw new Error("unreachable")
}

/** Seconds of the fastest call within the time, of at least three. */
function fastest(budgetMs: number, run: () => void): number {
  let least = Number.POSITIVE_INFINITY
  const until = performance.now() + budgetMs
  for (let n = 0; n < 3 || performance.now() < until; n++) {
    const start = performance.now()
    run()
    least = Math.min(least, performance.now() - start)
  }
  return least / 1000
}
