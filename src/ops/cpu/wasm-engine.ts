/** The engine over WebAssembly. How the module, its memory and its threads come to be is the loader's business. */

import { IsaacError } from "../../errors"
import { ALIGNMENT } from "./allocator"
import type { Engine, Region } from "./engine"
import { KERNEL_NAMES, KERNELS, type KernelArgs, type KernelName, readSizes, type SizeExports } from "./kernels"
import { Pool, type PoolWorker } from "./pool"
import { CLOSED, CONTROL, CONTROL_WORDS, type PoolThreadData } from "./pool-thread"
import { SELF_TEST_BYTES, type SelfTestExports, selfTest, withUnsharedMemory } from "./wasm-module"

const PAGE = 65536
/** Kernels keep tiles and small tables on the stack, at most some 30 KiB. */
const STACK_BYTES = 128 << 10
const ARGS_BYTES = 512
/** Nothing lies at 0, so that a null pointer is no pointer. */
const CONTROL_AT = 1024
const ARGS_AT = CONTROL_AT + CONTROL_WORDS * 4
const SELF_TEST_AT = ARGS_AT + ARGS_BYTES
const STACKS_AT = SELF_TEST_AT + SELF_TEST_BYTES
/** How often an idle thread looks for a job before it sleeps: some fifty microseconds. */
const SPINS = 20_000
/** The memory grows by at least this, so that it seldom does. */
const GROW_BYTES = 32 << 20

export interface WasmEngineOptions {
  readonly binary: Uint8Array
  /** The build has relaxed SIMD. */
  readonly relaxed: boolean
  /** The calling thread included. */
  readonly threads: number
  readonly abort?: Int32Array
  readonly stallMs?: number
  /** Most the memory may grow to. Default 4 GiB. */
  readonly memoryLimit?: number
  /** Start a thread and resolve when it is ready. Rejects where threads are refused. */
  readonly startWorker: (data: PoolThreadData) => Promise<PoolWorker>
  /** For tests of what happens when the self-test fails. */
  readonly selfTest?: typeof selfTest
}

/** The engine's own results are wrong: another build may do. */
export class SelfTestError extends Error {}

/**
 * Compile, test and start. One thread, and unshared memory, where the machine refuses threads or shared memory. Throws
 * SelfTestError, or backend_unavailable if there is no memory to be had.
 */
export async function createWasmEngine(options: WasmEngineOptions): Promise<WasmEngine> {
  const stacks = Math.max(1, options.threads)
  const heap = STACKS_AT + stacks * STACK_BYTES
  const { memory, limit, shared } = createMemory(heap, options.memoryLimit ?? 4 * 2 ** 30, options.threads > 1)
  const binary = shared ? new Uint8Array(options.binary) : withUnsharedMemory(options.binary)
  const module = await WebAssembly.compile(binary)
  const instance = await WebAssembly.instantiate(module, { env: { memory } })
  ;(instance.exports.__stack_pointer as WebAssembly.Global).value = stackOf(0)

  // Cold: before anything else has run.
  const exports = instance.exports as unknown as SelfTestExports
  const wrong = (options.selfTest ?? selfTest)(exports, memory.buffer, SELF_TEST_AT)
  if (wrong) throw new SelfTestError(wrong)

  const workers: PoolWorker[] = []
  const control = new Int32Array(memory.buffer, CONTROL_AT, CONTROL_WORDS)
  Atomics.store(control, CONTROL.next, CLOSED)
  let refusal: string | undefined
  if (shared) {
    const starting = Array.from({ length: options.threads - 1 }, (_, i) =>
      options.startWorker({
        module,
        memory,
        control: CONTROL_AT,
        words: CONTROL,
        closed: CLOSED,
        kernels: KERNEL_NAMES,
        thread: i + 1,
        stack: stackOf(i + 1),
        spins: SPINS,
      }),
    )
    for (const start of await Promise.allSettled(starting)) {
      if (start.status === "fulfilled") workers.push(start.value)
      else refusal = String(start.reason)
    }
  }
  if (options.threads > 1 && workers.length === 0) refusal ??= "this machine refuses shared memory"
  return new WasmEngine(instance, memory, limit, heap, workers, options, refusal)
}

/** Shared memory if it is needed and can be had, otherwise an ordinary one; as large a limit as the machine grants. */
function createMemory(bytes: number, most: number, threads: boolean) {
  const initial = Math.ceil(bytes / PAGE)
  let problem: unknown
  for (const shared of threads ? [true, false] : [false]) {
    for (let maximum = Math.floor(most / PAGE); maximum >= initial; maximum = Math.floor(maximum / 2)) {
      try {
        return { memory: new WebAssembly.Memory({ initial, maximum, shared }), limit: maximum * PAGE, shared }
      } catch (error) {
        problem = error
      }
    }
  }
  throw new IsaacError("backend_unavailable", `WebAssembly gets no memory here: ${problem}`, { cause: problem })
}

/** Where the stack of a thread begins; it grows down. */
function stackOf(thread: number): number {
  return STACKS_AT + (thread + 1) * STACK_BYTES
}

type KernelFunction = (args: number, first: number, end: number, thread: number) => void

export class WasmEngine implements Engine {
  readonly name = "wasm"
  readonly isa: string
  readonly sizes
  readonly threadNumbers: number
  private readonly pool: Pool
  private readonly numbers = new Map(KERNEL_NAMES.map((name, i) => [name, i]))
  private readonly args: Float64Array
  /** Views of all memory, made anew when it grows. */
  private f32!: Float32Array
  private f64!: Float64Array
  private i32!: Int32Array
  private u8!: Uint8Array
  private heap: number

  constructor(
    instance: WebAssembly.Instance,
    private readonly memory: WebAssembly.Memory,
    readonly memoryLimit: number,
    heap: number,
    workers: readonly PoolWorker[],
    { relaxed, threads, abort, stallMs }: WasmEngineOptions,
    /** Why there are fewer threads than were asked for. */
    readonly refusal: string | undefined,
  ) {
    const { exports } = instance
    this.isa = relaxed ? "simd128 + relaxed-simd" : "simd128"
    this.sizes = readSizes(exports as unknown as SizeExports)
    this.threadNumbers = workers.length > 0 ? threads : 1
    const kernels = KERNEL_NAMES.map((name) => exports[name] as KernelFunction)
    const stackPointer = exports.__stack_pointer as WebAssembly.Global
    this.pool = new Pool({
      control: new Int32Array(memory.buffer, CONTROL_AT, CONTROL_WORDS),
      workers,
      call: (kernel, args, first, end) => {
        try {
          kernels[kernel](args, first, end, 0)
        } catch (error) {
          // A trap leaves the frames it broke off on the stack.
          stackPointer.value = stackOf(0)
          throw error
        }
      },
      abort,
      stallMs,
    })
    this.heap = Math.ceil(heap / ALIGNMENT) * ALIGNMENT
    this.view()
    this.args = new Float64Array(ARGS_BYTES / 8)
  }

  get threads(): number {
    return this.pool.threads
  }

  floats(pointer: number, length: number): Float32Array {
    return this.f32.subarray(pointer / 4, pointer / 4 + length)
  }

  doubles(pointer: number, length: number): Float64Array {
    return this.f64.subarray(pointer / 8, pointer / 8 + length)
  }

  ints(pointer: number, length: number): Int32Array {
    return this.i32.subarray(pointer / 4, pointer / 4 + length)
  }

  bytes(pointer: number, length: number): Uint8Array {
    return this.u8.subarray(pointer, pointer + length)
  }

  grow(bytes: number): Region | undefined {
    const start = this.heap
    const size = this.u8.length
    for (const wanted of [Math.max(bytes, GROW_BYTES), bytes]) {
      const pages = Math.ceil((start + wanted - size) / PAGE)
      if (size + pages * PAGE > this.memoryLimit) continue
      try {
        if (pages > 0) this.memory.grow(pages)
      } catch {
        continue
      }
      this.view()
      this.heap = Math.max(size, size + pages * PAGE)
      return { start, bytes: this.heap - start }
    }
    return undefined
  }

  run<K extends KernelName>(kernel: K, args: KernelArgs<K>, parts: number, work: number): void {
    const names: readonly string[] = KERNELS[kernel]
    const values: Readonly<Record<string, number>> = args
    for (let i = 0; i < names.length; i++) this.args[i] = values[names[i]]
    this.f64.set(this.args, ARGS_AT / 8)
    this.pool.run(this.numbers.get(kernel)!, ARGS_AT, parts, work)
  }

  async dispose(): Promise<void> {
    await this.pool.dispose()
  }

  private view(): void {
    const { buffer } = this.memory
    this.f32 = new Float32Array(buffer)
    this.f64 = new Float64Array(buffer)
    this.i32 = new Int32Array(buffer)
    this.u8 = new Uint8Array(buffer)
  }
}
