/**
 * Hands out memory in 64-byte units and takes it back: first fit from the lowest address, neighbours merged when freed.
 * Weights, which come first and stay, so lie together at the bottom, and the activations above them reuse one another.
 */

import { IsaacError } from "../../errors"
import type { Region } from "./engine"

/** A cache line; also the widest vector. */
export const ALIGNMENT = 64

export class Allocator {
  private inUse = 0
  private most = 0
  /** Free ranges by address; no two of them touch. */
  private readonly starts: number[] = []
  private readonly sizes: number[] = []
  /** Bytes of every live pointer. */
  private readonly live = new Map<number, number>()

  /** `grow` gives more memory or undefined; `limit` is what it can grow to, for the message. */
  constructor(
    private readonly grow: (bytes: number) => Region | undefined,
    private readonly limit: number,
  ) {}

  get used(): number {
    return this.inUse
  }

  get peak(): number {
    return this.most
  }

  /** Bytes that a request really takes. */
  static rounded(bytes: number): number {
    return Math.max(1, Math.ceil(bytes / ALIGNMENT)) * ALIGNMENT
  }

  /** Aligned memory, its content unspecified. `purpose` names the request in the message when there is none. */
  allocate(bytes: number, purpose: string): number {
    // NaN compares with nothing: once among the free ranges it would hide all that lie behind it, for good.
    if (!Number.isSafeInteger(bytes) || bytes < 0) {
      throw new IsaacError("internal", `${purpose}: ${bytes} is no number of bytes`)
    }
    const size = Allocator.rounded(bytes)
    let at = this.sizes.findIndex((free) => free >= size)
    if (at < 0) {
      const region = this.grow(size)
      if (region) this.insert(region.start, region.bytes)
      at = this.sizes.findIndex((free) => free >= size)
    }
    if (at < 0) {
      throw new IsaacError(
        "out_of_memory",
        `${purpose} needs ${megabytes(size)}, but ${megabytes(this.inUse)} are in use and this backend's memory ends at ` +
          `${megabytes(this.limit)}: use a smaller stored type, a shorter context or smaller images, or free what is not needed`,
      )
    }
    const pointer = this.starts[at]
    if (this.sizes[at] === size) {
      this.starts.splice(at, 1)
      this.sizes.splice(at, 1)
    } else {
      this.starts[at] += size
      this.sizes[at] -= size
    }
    this.live.set(pointer, size)
    this.inUse += size
    this.most = Math.max(this.most, this.inUse)
    return pointer
  }

  free(pointer: number): void {
    const size = this.live.get(pointer)
    if (size === undefined) throw new IsaacError("internal", `memory at ${pointer} was freed twice or never allocated`)
    this.live.delete(pointer)
    this.inUse -= size
    this.insert(pointer, size)
  }

  private insert(start: number, size: number): void {
    // First free range behind the new one.
    let low = 0
    let high = this.starts.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.starts[middle] < start) low = middle + 1
      else high = middle
    }
    this.starts.splice(low, 0, start)
    this.sizes.splice(low, 0, size)
    this.mergeWithNext(low)
    if (low > 0) this.mergeWithNext(low - 1)
  }

  private mergeWithNext(i: number): void {
    if (this.starts[i] + this.sizes[i] !== this.starts[i + 1]) return
    this.sizes[i] += this.sizes[i + 1]
    this.starts.splice(i + 1, 1)
    this.sizes.splice(i + 1, 1)
  }
}

function megabytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(bytes < 10 * 2 ** 20 ? 2 : 0)} MiB`
}
