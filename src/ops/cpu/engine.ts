/**
 * What the cpu backend needs of the machine under it: memory reached by pointers that are numbers, and kernels run over
 * it by all threads. WebAssembly is one engine (wasm-engine.ts); the backend knows nothing of it.
 */

import type { BackendInfo } from "../backend"
import type { KernelArgs, KernelName, KernelSizes } from "./kernels"

/** A range of memory: [start, start + bytes). */
export interface Region {
  readonly start: number
  readonly bytes: number
}

export interface Engine {
  readonly name: BackendInfo["name"]
  /** Instruction set in use, for people. */
  readonly isa: string
  readonly threads: number
  /** Kernels are called with thread numbers below this. May exceed `threads`: those that were refused leave gaps. */
  readonly threadNumbers: number
  readonly sizes: KernelSizes
  /** Bytes the memory can grow to, for the message when it is full. */
  readonly memoryLimit: number

  /** Views of memory. They are for use at once: growing the memory may leave them behind. */
  floats(pointer: number, length: number): Float32Array
  doubles(pointer: number, length: number): Float64Array
  ints(pointer: number, length: number): Int32Array
  bytes(pointer: number, length: number): Uint8Array
  /** More memory, at least so many bytes, 64-byte aligned; undefined when there is none. */
  grow(bytes: number): Region | undefined

  /**
   * The first `bytes` of a file as memory; what is written to it stays in this process. Throws io. Absent, as `unmap` is,
   * where the engine cannot.
   */
  map?(path: string, bytes: number): Region
  /** Give back what `map` returned. */
  unmap?(region: Region): void

  /**
   * Do parts 0 … parts-1 of a job on all threads and return when all are done. `work` is the arithmetic of the whole job
   * (multiplications and additions, or what takes as long): it decides how many threads are worth waking and how often
   * the abort flag is looked at. Throws aborted, worker_lost.
   */
  run<K extends KernelName>(kernel: K, args: KernelArgs<K>, parts: number, work: number): void
  /** End the threads. */
  dispose(): Promise<void>
}
