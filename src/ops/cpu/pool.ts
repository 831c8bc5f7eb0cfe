/**
 * Threads over one shared memory that do the parts of a job together with the thread that calls.
 *
 * A job is a kernel, a pointer to its arguments and a number of parts. Threads take runs of neighbouring parts from a
 * shared counter; the caller takes runs too, and returns when none is left and nobody is at work. Idle threads look for
 * the next job for some microseconds, then sleep.
 */

import { IsaacError } from "../../errors"
import { checkAbort } from "./check-abort"
import { CLOSED, CONTROL, CONTROL_WORDS } from "./pool-thread"

/** A started thread. */
export interface PoolWorker {
  /** Resolves when the thread has ended, whatever ended it. */
  readonly ended: Promise<void>
  terminate(): void
}

export interface PoolOptions {
  /** The control block, CONTROL_WORDS words of shared memory. */
  readonly control: Int32Array
  readonly workers: readonly PoolWorker[]
  /** Do parts first … end-1 in the calling thread. */
  readonly call: (kernel: number, args: number, first: number, end: number) => void
  /** Not 0: stop working. */
  readonly abort?: Int32Array
  /** A worker that has not finished a run of parts for so long is given up. Default 20 s. */
  readonly stallMs?: number
}

/** Work of one run of parts is at most this: some ten milliseconds of a slow core, so that an abort is soon seen. */
const RUN_WORK = 2.5e8
/** A job of less work than this is done before a thread is awake. */
const ALONE_WORK = 4e4
/** Runs of parts for each thread: more even out what threads get done, fewer cost less. */
const RUNS_PER_THREAD = 8
const SLICE_MS = 100

export class Pool {
  private readonly control: Int32Array
  private readonly workers: readonly PoolWorker[]
  private readonly call: PoolOptions["call"]
  private readonly abort: Int32Array | undefined
  private readonly stallSlices: number
  /** Why the pool is of no more use. */
  private lost: string | undefined
  private stopping = false

  constructor({ control, workers, call, abort, stallMs = 20_000 }: PoolOptions) {
    if (control.length !== CONTROL_WORDS) throw new IsaacError("internal", "the pool's control block has a wrong size")
    this.control = control
    this.workers = workers
    this.call = call
    this.abort = abort
    this.stallSlices = Math.max(1, Math.round(stallMs / SLICE_MS))
    for (const worker of workers) {
      worker.ended.then(() => {
        if (!this.stopping) this.lost ??= "one of its threads ended by itself"
      })
    }
  }

  /** The calling thread included. */
  get threads(): number {
    return this.workers.length + 1
  }

  /** Do parts 0 … parts-1. Throws aborted, worker_lost, internal for a kernel that trapped. */
  run(kernel: number, args: number, parts: number, work: number): void {
    if (this.lost) throw workerLost(this.lost)
    checkAbort(this.abort)
    if (parts === 0) return
    const threads = work < ALONE_WORK || parts === 1 ? 1 : this.threads
    const even = Math.ceil(parts / (threads * (threads === 1 ? 1 : RUNS_PER_THREAD)))
    const grain = Math.max(1, Math.min(even, Math.floor((parts * RUN_WORK) / Math.max(1, work))))
    if (threads === 1) this.runAlone(kernel, args, parts, grain)
    else this.runTogether(kernel, args, parts, grain)
  }

  /** End the threads. */
  async dispose(): Promise<void> {
    if (this.stopping) return
    this.stopping = true
    this.lost ??= "it was disposed"
    // Without workers the control block may be gone: unshared memory that grew leaves its old views behind.
    if (this.workers.length === 0) return
    Atomics.store(this.control, CONTROL.stop, 1)
    Atomics.add(this.control, CONTROL.epoch, 1)
    Atomics.notify(this.control, CONTROL.epoch)
    const timer = setTimeout(() => {
      for (const worker of this.workers) worker.terminate()
    }, 1000)
    await Promise.all(this.workers.map((worker) => worker.ended))
    clearTimeout(timer)
  }

  private runAlone(kernel: number, args: number, parts: number, grain: number): void {
    for (let first = 0; first < parts; first += grain) {
      if (first > 0) checkAbort(this.abort)
      this.callHere(kernel, args, first, Math.min(first + grain, parts))
    }
  }

  private runTogether(kernel: number, args: number, parts: number, grain: number): void {
    const { control } = this
    control[CONTROL.kernel] = kernel
    control[CONTROL.args] = args
    control[CONTROL.parts] = parts
    control[CONTROL.grain] = grain
    // The calling thread may have failed in the job before as well: then its own error was thrown and this one is left.
    control[CONTROL.failed] = 0
    Atomics.store(control, CONTROL.next, 0)
    Atomics.add(control, CONTROL.epoch, 1)
    if (Atomics.load(control, CONTROL.parked) > 0) Atomics.notify(control, CONTROL.epoch)
    try {
      for (;;) {
        checkAbort(this.abort)
        const first = Atomics.add(control, CONTROL.next, 1) * grain
        if (first >= parts) break
        this.callHere(kernel, args, first, Math.min(first + grain, parts))
      }
    } finally {
      // Whatever happened here, nobody may be at work on the caller's memory when this returns.
      Atomics.store(control, CONTROL.next, CLOSED)
      this.awaitWorkers()
    }
    const failed = Atomics.load(control, CONTROL.failed)
    if (failed !== 0) throw new IsaacError("internal", `kernel ${kernel} trapped in thread ${failed}`)
  }

  private callHere(kernel: number, args: number, first: number, end: number): void {
    try {
      this.call(kernel, args, first, end)
    } catch (cause) {
      throw new IsaacError("internal", `kernel ${kernel} trapped in the calling thread: ${cause}`, { cause })
    }
  }

  /** Until no thread is at work. One that shows no sign of life in many slices of time is given up. */
  private awaitWorkers(): void {
    const { control } = this
    for (let spin = 0; spin < 20_000; spin++) if (Atomics.load(control, CONTROL.active) === 0) return
    Atomics.store(control, CONTROL.waiting, 1)
    let progress = Atomics.load(control, CONTROL.progress)
    // Slices are counted, not time: a machine that slept through the night has used up one of them.
    let idle = 0
    for (;;) {
      const active = Atomics.load(control, CONTROL.active)
      if (active === 0) break
      Atomics.wait(control, CONTROL.active, active, SLICE_MS)
      const now = Atomics.load(control, CONTROL.progress)
      idle = now === progress ? idle + 1 : 0
      progress = now
      if (idle >= this.stallSlices) {
        this.lost = `one of its threads has not finished its part in ${(idle * SLICE_MS) / 1000} s`
        throw workerLost(this.lost)
      }
    }
    Atomics.store(control, CONTROL.waiting, 0)
  }
}

function workerLost(why: string): IsaacError {
  return new IsaacError("worker_lost", `the backend cannot go on: ${why}. Create a new backend`)
}
