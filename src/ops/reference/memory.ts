/** Tensors in ordinary memory: who owns the numbers, when they are freed, how many bytes are in use. */

import { IsaacError } from "../../errors"
import type { Tensor } from "../backend"
import { formatShape, sizeOf } from "../op-shapes"

/** The numbers behind a tensor and all of its views. */
interface Storage {
  readonly bytes: number
  live: boolean
}

export class HostTensor implements Tensor {
  constructor(
    readonly shape: readonly number[],
    readonly data: Float32Array,
    readonly storage: Storage,
    /** Freeing the owner frees the storage; freeing a view does nothing. */
    public isOwner: boolean,
  ) {}
}

export class Memory {
  private used = 0
  private peak = 0
  /** Innermost last: what was made in each open scope. */
  private readonly scopes: Set<Storage>[] = []

  /** A new tensor of zeros, owned by the innermost open scope. */
  tensor(shape: readonly number[]): HostTensor {
    const data = new Float32Array(sizeOf(shape))
    const storage: Storage = { bytes: data.byteLength, live: true }
    this.count(storage.bytes)
    this.scopes.at(-1)?.add(storage)
    return new HostTensor(Object.freeze([...shape]), data, storage, true)
  }

  /** Numbers of `source` under another shape, without a copy. */
  view(source: HostTensor, shape: readonly number[], data: Float32Array): HostTensor {
    return new HostTensor(Object.freeze([...shape]), data, source.storage, false)
  }

  /** The tensor behind a handle. Throws bad_input when it was freed or is another backend's. */
  open(op: string, t: Tensor): HostTensor {
    if (!(t instanceof HostTensor)) {
      throw new IsaacError("bad_input", `${op}: this tensor was not made by the reference backend`)
    }
    if (!t.storage.live) {
      throw new IsaacError(
        "bad_input",
        `${op}: the tensor ${formatShape(t.shape)} was freed already; return it from its scope to keep it`,
      )
    }
    return t
  }

  freeTensor(t: HostTensor): void {
    if (t.isOwner) this.release(t.storage)
  }

  /**
   * See Backend.scope. A view that is returned keeps its storage; when the tensor it looks at is not returned beside it,
   * the view is the owner from then on, or nobody could free it.
   */
  scope<T>(fn: () => T): T {
    const made = new Set<Storage>()
    this.scopes.push(made)
    let kept = new Map<Storage, HostTensor>()
    try {
      const result = fn()
      if (result instanceof Promise) {
        throw new IsaacError("bad_input", "scope: the function is asynchronous; a scope ends when it returns")
      }
      kept = ownersIn(result)
      return result
    } finally {
      this.scopes.pop()
      const around = this.scopes.at(-1)
      for (const storage of made) {
        const owner = kept.get(storage)
        if (owner) {
          owner.isOwner = true
          around?.add(storage)
        } else {
          this.release(storage)
        }
      }
    }
  }

  /** Bytes taken (positive) or given back (negative). */
  count(bytes: number): void {
    this.used += bytes
    this.peak = Math.max(this.peak, this.used)
  }

  usage(): { used: number; peak: number } {
    return { used: this.used, peak: this.peak }
  }

  private release(storage: Storage): void {
    if (!storage.live) return
    storage.live = false
    this.count(-storage.bytes)
  }
}

/**
 * Storages of all tensors in a value, looking into arrays and plain objects, each with its owner or, where that is not
 * among them, its first view.
 */
function ownersIn(value: unknown): Map<Storage, HostTensor> {
  const found = new Map<Storage, HostTensor>()
  const seen = new Set<object>()
  const visit = (v: unknown) => {
    if (v === null || typeof v !== "object" || seen.has(v)) return
    seen.add(v)
    if (v instanceof HostTensor) {
      if (v.isOwner || !found.has(v.storage)) found.set(v.storage, v)
    } else if (Array.isArray(v)) for (const item of v) visit(item)
    else if (Object.getPrototypeOf(v) === Object.prototype || Object.getPrototypeOf(v) === null) {
      for (const item of Object.values(v)) visit(item)
    }
  }
  visit(value)
  return found
}
