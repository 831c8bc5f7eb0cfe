/** Tensors in an engine's memory: who owns the numbers, when they are freed, and memory borrowed for one operation. */

import { IsaacError } from "../../errors"
import type { Tensor } from "../backend"
import { formatShape, sizeOf } from "../op-shapes"
import { Allocator } from "./allocator"
import type { Engine } from "./engine"

/** The numbers behind a tensor and all of its views. */
interface Storage {
  readonly pointer: number
  live: boolean
}

export class CpuTensor implements Tensor {
  constructor(
    readonly shape: readonly number[],
    readonly pointer: number,
    readonly storage: Storage,
    readonly memory: TensorMemory,
    /** Freeing the owner frees the storage; freeing a view does nothing. */
    public isOwner: boolean,
  ) {}
}

/** Memory that an operation borrows, given back when it is over. */
export interface Borrowed {
  bytes(size: number, purpose: string): number
  /** A copy of these numbers. */
  ints(data: Int32Array, purpose: string): number
  doubles(data: ArrayLike<number>, purpose: string): number
}

export class TensorMemory {
  readonly allocator: Allocator
  private disposed = false
  /** Innermost last: what was made in each open scope. */
  private readonly scopes: Set<Storage>[] = []

  constructor(private readonly engine: Engine) {
    this.allocator = new Allocator((bytes) => engine.grow(bytes), engine.memoryLimit)
  }

  /** Everything is refused from now on. */
  close(): void {
    this.disposed = true
  }

  checkOpen(op: string): void {
    if (this.disposed) throw new IsaacError("bad_input", `${op}: this backend was disposed; create a new one`)
  }

  /**
   * A new tensor, owned by the innermost open scope; `fill` writes its numbers, at a pointer. If it throws, there is no
   * tensor.
   */
  tensor(op: string, shape: readonly number[], fill: (pointer: number) => void): CpuTensor {
    this.checkOpen(op)
    const pointer = this.allocator.allocate(sizeOf(shape) * 4, `${op}: a result ${formatShape(shape)}`)
    try {
      fill(pointer)
    } catch (error) {
      this.allocator.free(pointer)
      throw error
    }
    const storage: Storage = { pointer, live: true }
    this.scopes.at(-1)?.add(storage)
    return new CpuTensor(Object.freeze([...shape]), pointer, storage, this, true)
  }

  /** Numbers of `source` from number `offset` on under another shape, without a copy. */
  view(source: CpuTensor, shape: readonly number[], offset: number): CpuTensor {
    return new CpuTensor(Object.freeze([...shape]), source.pointer + offset * 4, source.storage, this, false)
  }

  /** The tensor behind a handle. Throws bad_input when it was freed or is another backend's. */
  open(op: string, t: Tensor): CpuTensor {
    this.checkOpen(op)
    if (!(t instanceof CpuTensor) || t.memory !== this) {
      throw new IsaacError("bad_input", `${op}: this tensor was not made by this backend`)
    }
    if (!t.storage.live) {
      throw new IsaacError(
        "bad_input",
        `${op}: the tensor ${formatShape(t.shape)} was freed already; return it from its scope to keep it`,
      )
    }
    return t
  }

  freeTensor(t: CpuTensor): void {
    if (t.isOwner && t.memory === this) this.release(t.storage)
  }

  /** Run `fn` with memory that is given back when it returns or throws. */
  borrow<T>(fn: (memory: Borrowed) => T): T {
    const pointers: number[] = []
    const bytes = (size: number, purpose: string) => {
      const pointer = this.allocator.allocate(size, purpose)
      pointers.push(pointer)
      return pointer
    }
    try {
      return fn({
        bytes,
        ints: (data, purpose) => {
          const pointer = bytes(data.byteLength, purpose)
          this.engine.ints(pointer, data.length).set(data)
          return pointer
        },
        doubles: (data, purpose) => {
          const pointer = bytes(data.length * 8, purpose)
          this.engine.doubles(pointer, data.length).set(data)
          return pointer
        },
      })
    } finally {
      for (const pointer of pointers) this.allocator.free(pointer)
    }
  }

  /**
   * See Backend.scope. A view that is returned keeps its storage; when the tensor it looks at is not returned beside it,
   * the view is the owner from then on, or nobody could free it.
   */
  scope<T>(fn: () => T): T {
    const made = new Set<Storage>()
    this.scopes.push(made)
    let kept = new Map<Storage, CpuTensor>()
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

  private release(storage: Storage): void {
    if (!storage.live) return
    storage.live = false
    this.allocator.free(storage.pointer)
  }
}

/**
 * Storages of all tensors in a value, looking into arrays and plain objects, each with its owner or, where that is not
 * among them, its first view.
 */
function ownersIn(value: unknown): Map<Storage, CpuTensor> {
  const found = new Map<Storage, CpuTensor>()
  const seen = new Set<object>()
  const visit = (v: unknown) => {
    if (v === null || typeof v !== "object" || seen.has(v)) return
    seen.add(v)
    if (v instanceof CpuTensor) {
      if (v.isOwner || !found.has(v.storage)) found.set(v.storage, v)
    } else if (Array.isArray(v)) for (const item of v) visit(item)
    else if (Object.getPrototypeOf(v) === Object.prototype || Object.getPrototypeOf(v) === null) {
      for (const item of Object.values(v)) visit(item)
    }
  }
  visit(value)
  return found
}
