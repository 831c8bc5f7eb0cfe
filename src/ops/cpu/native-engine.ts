/** The engine over the native addon (kernels/node/). How the addon is found and trusted is the loader's business. */

import { IsaacError } from "../../errors"
import { checkAbort } from "./check-abort"
import type { Engine, Region } from "./engine"
import { KERNEL_NAMES, KERNELS, type KernelArgs, type KernelName, readSizes, type SizeExports } from "./kernels"

/** Memory of the addon, as large as the buffer over it, at an address. */
interface NativeRegion {
  readonly start: number
  readonly buffer: ArrayBuffer
}

/** An engine of the addon: nothing to see from here. */
type EngineHandle = object & { readonly __engine: never }

/** What the addon exports. Its errors have a code: unavailable, io, internal. */
export interface Addon {
  /** Instruction sets that run here, best first. */
  instructionSets(): string[]
  create(
    instructionSet: string,
    threads: number,
    kernels: readonly string[],
  ): { readonly engine: EngineHandle; readonly threads: number; readonly arguments: ArrayBuffer }
  size(engine: EngineHandle, name: string, n: number): number
  /** Undefined if the system has no more. */
  grow(bytes: number): NativeRegion | undefined
  /** The first bytes of a file; what is written to the buffer stays in this process. */
  map(path: string, bytes: number): NativeRegion
  /** Give a region's memory back; its buffer has no bytes afterwards. */
  release(buffer: ArrayBuffer): void
  /** By the calling thread alone, or by all: the pool shares the parts out. */
  run(engine: EngineHandle, kernel: number, first: number, end: number, alone: boolean): void
  dispose(engine: EngineHandle): void
}

export interface NativeEngineOptions {
  readonly addon: Addon
  /** One of the addon's. */
  readonly instructionSet: string
  /** The calling thread included. */
  readonly threads: number
  readonly abort?: Int32Array
  /** Most the memory may grow to, files that are mapped not counted. */
  readonly memoryLimit: number
  /** Memory grows by at least this. Default 64 MiB. */
  readonly growBytes?: number
}

/** The memory grows by at least this, so that it seldom does. */
const GROW_BYTES = 64 << 20
/** Work of a thread between two looks at the abort flag: a tenth of a second of a slow core. */
const SLICE_WORK = 3e9
/** A job of less work than this is done before a thread is awake. */
const ALONE_WORK = 1e5

const NOWHERE: NativeRegion = { start: 0, buffer: new ArrayBuffer(0) }

const KERNEL_NUMBERS = new Map(KERNEL_NAMES.map((name, i) => [name, i]))

export class NativeEngine implements Engine {
  readonly name = "native"
  readonly isa: string
  readonly threads: number
  readonly sizes
  readonly memoryLimit: number
  private readonly addon: Addon
  private readonly handle: EngineHandle
  private readonly args: Float64Array
  private readonly abort: Int32Array | undefined
  /** By address. */
  private regions: NativeRegion[] = []
  /** The one that was looked at last. */
  private recent = NOWHERE
  private grown = 0
  private readonly growBytes: number
  private disposed = false

  constructor({ addon, instructionSet, threads, abort, memoryLimit, growBytes = GROW_BYTES }: NativeEngineOptions) {
    const made = addon.create(instructionSet, threads, KERNEL_NAMES)
    this.addon = addon
    this.handle = made.engine
    this.args = new Float64Array(made.arguments)
    this.isa = instructionSet
    this.threads = made.threads
    this.abort = abort
    this.memoryLimit = memoryLimit
    this.growBytes = growBytes
    this.sizes = readSizes(sizeExports(addon, made.engine))
  }

  get threadNumbers(): number {
    return this.threads
  }

  floats(pointer: number, length: number): Float32Array {
    const { start, buffer } = this.regionOf(pointer, length * 4)
    return new Float32Array(buffer, pointer - start, length)
  }

  doubles(pointer: number, length: number): Float64Array {
    const { start, buffer } = this.regionOf(pointer, length * 8)
    return new Float64Array(buffer, pointer - start, length)
  }

  ints(pointer: number, length: number): Int32Array {
    const { start, buffer } = this.regionOf(pointer, length * 4)
    return new Int32Array(buffer, pointer - start, length)
  }

  bytes(pointer: number, length: number): Uint8Array {
    const { start, buffer } = this.regionOf(pointer, length)
    return new Uint8Array(buffer, pointer - start, length)
  }

  grow(bytes: number): Region | undefined {
    for (const wanted of [Math.max(bytes, this.growBytes), bytes]) {
      if (this.disposed || this.grown + wanted > this.memoryLimit) continue
      const region = this.addon.grow(wanted)
      if (!region) continue
      this.grown += region.buffer.byteLength
      return this.add(region)
    }
    return undefined
  }

  /**
   * The first `bytes` of a file as memory, read when it is first touched. It must not be changed by others as long as it
   * is mapped, and must not get shorter. Throws io.
   */
  map(path: string, bytes: number): Region {
    try {
      return this.add(this.addon.map(path, bytes))
    } catch (cause) {
      throw new IsaacError("io", `${path} cannot be mapped into memory: ${messageOf(cause)}`, { cause })
    }
  }

  unmap(region: Region): void {
    const i = this.regions.findIndex(({ start }) => start === region.start)
    if (i < 0) return
    const [{ buffer }] = this.regions.splice(i, 1)
    if (this.recent.buffer === buffer) this.recent = NOWHERE
    this.addon.release(buffer)
  }

  run<K extends KernelName>(kernel: K, args: KernelArgs<K>, parts: number, work: number): void {
    if (this.disposed)
      throw new IsaacError("worker_lost", "the backend cannot go on: it was disposed. Create a new backend")
    const names: readonly string[] = KERNELS[kernel]
    const values: Readonly<Record<string, number>> = args
    for (let i = 0; i < names.length; i++) this.args[i] = values[names[i]]
    const number = KERNEL_NUMBERS.get(kernel)!
    const alone = work < ALONE_WORK
    const threads = alone ? 1 : this.threads
    const fitting = Math.floor((parts * SLICE_WORK * threads) / Math.max(1, work))
    const slice = Math.max(threads, Math.min(parts, fitting))
    for (let first = 0; first === 0 || first < parts; first += slice) {
      checkAbort(this.abort)
      if (parts > 0) this.addon.run(this.handle, number, first, Math.min(first + slice, parts), alone)
    }
  }

  async dispose(): Promise<void> {
    if (this.disposed) return
    this.disposed = true
    this.addon.dispose(this.handle)
    for (const { buffer } of this.regions) this.addon.release(buffer)
    this.regions = []
    this.recent = NOWHERE
  }

  private add(region: NativeRegion): Region {
    this.regions.push(region)
    this.regions.sort((a, b) => a.start - b.start)
    return { start: region.start, bytes: region.buffer.byteLength }
  }

  /** The region in which all of [pointer, pointer + bytes) lies. */
  private regionOf(pointer: number, bytes: number): NativeRegion {
    const inside = ({ start, buffer }: NativeRegion) => pointer >= start && pointer + bytes <= start + buffer.byteLength
    if (inside(this.recent)) return this.recent
    let low = 0
    let high = this.regions.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.regions[middle].start <= pointer) low = middle + 1
      else high = middle
    }
    const region = this.regions[low - 1]
    if (!region || !inside(region)) {
      throw new IsaacError("internal", `${bytes} bytes at ${pointer} are not in this engine's memory`)
    }
    this.recent = region
    return region
  }
}

function sizeExports(addon: Addon, engine: EngineHandle): SizeExports {
  // Any name is a size: the addon refuses those it does not know.
  return new Proxy({} as SizeExports, {
    get:
      (_, name) =>
      (n = 0) =>
        addon.size(engine, String(name), n),
  })
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
