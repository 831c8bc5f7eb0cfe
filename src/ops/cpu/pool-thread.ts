/**
 * The life of a pool's thread. Its text is what the thread runs (a worker's file would need a bundler to find it), so
 * `poolThread` may use nothing from outside itself but what it is given.
 */

/** Word offsets into the control block; words that different threads write lie in different cache lines. */
export const CONTROL = {
  /** Rises with every job; threads wait for it. */
  epoch: 0,
  /** Not 0: end. */
  stop: 1,
  /** The job: number of the kernel, pointer to its arguments, parts, parts taken at a time. */
  kernel: 32,
  args: 33,
  parts: 34,
  grain: 35,
  /** Next run of parts to take. CLOSED between jobs. */
  next: 64,
  /** Threads that may be working on a part. */
  active: 96,
  /** Not 0: the calling thread sleeps until `active` is 0. */
  waiting: 128,
  /** Threads that sleep until `epoch` changes. */
  parked: 160,
  /** Rises with every run of parts that a thread did: a sign of life. */
  progress: 192,
  /** Number of the thread whose kernel trapped, 0 for none. */
  failed: 224,
} as const

export const CONTROL_WORDS = 256

/** Far above any number of runs, far below 2³¹: nothing left to take. */
export const CLOSED = 1 << 30

/** What a thread is started with; all of it survives structured cloning. */
export interface PoolThreadData {
  readonly module: WebAssembly.Module
  readonly memory: WebAssembly.Memory
  /** Byte offset of the control block. */
  readonly control: number
  readonly words: typeof CONTROL
  readonly closed: number
  /** Exported functions in the order of their numbers. */
  readonly kernels: readonly string[]
  /** 1 for the first worker: the calling thread is 0. */
  readonly thread: number
  /** Where its stack begins; it grows down. */
  readonly stack: number
  /** How often to look for a job before going to sleep. */
  readonly spins: number
}

/** Instantiate the kernels, say so, do parts of jobs until told to stop. */
export function poolThread(data: PoolThreadData, ready: () => void): void {
  const { module, memory, words, closed, thread, spins } = data
  const control = new Int32Array(memory.buffer, data.control, 256)
  const instance = new WebAssembly.Instance(module, { env: { memory } })
  const stackPointer = instance.exports.__stack_pointer as WebAssembly.Global
  stackPointer.value = data.stack
  type Kernel = (args: number, first: number, end: number, thread: number) => void
  const kernels = data.kernels.map((name) => instance.exports[name] as Kernel)
  let epoch = Atomics.load(control, words.epoch)
  ready()
  for (;;) {
    // 1. Wait for a job: a while awake, then asleep.
    for (let spin = 0; Atomics.load(control, words.epoch) === epoch; spin++) {
      if (spin < spins) continue
      Atomics.add(control, words.parked, 1)
      Atomics.wait(control, words.epoch, epoch)
      Atomics.sub(control, words.parked, 1)
    }
    epoch = Atomics.load(control, words.epoch)
    if (Atomics.load(control, words.stop) !== 0) return
    // 2. Do parts of it. `active` comes before `next`: a thread that took a part is seen to be at work. The job's words
    //    are read after `next`: a run below CLOSED can only be taken once they are all written.
    Atomics.add(control, words.active, 1)
    for (;;) {
      const run = Atomics.add(control, words.next, 1)
      const parts = control[words.parts]
      const grain = control[words.grain]
      const first = run * grain
      if (run >= closed || first >= parts) break
      try {
        kernels[control[words.kernel]](control[words.args], first, Math.min(first + grain, parts), thread)
      } catch {
        // A trap leaves the frames it broke off on the stack.
        stackPointer.value = data.stack
        Atomics.store(control, words.failed, thread)
        Atomics.store(control, words.next, closed)
      }
      Atomics.add(control, words.progress, 1)
    }
    // 3. The last one to leave wakes the calling thread.
    if (Atomics.sub(control, words.active, 1) === 1 && Atomics.load(control, words.waiting) !== 0) {
      Atomics.notify(control, words.active)
    }
  }
}
