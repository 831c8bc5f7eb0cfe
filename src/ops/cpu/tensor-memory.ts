/** Tensors in an engine's memory, and memory borrowed for one operation. */

import { IsaacError } from "../../errors"
import type { Tensor } from "../backend"
import { formatShape, sizeOf } from "../op-shapes"
import { Scopes, type Storage, StoredTensor } from "../scopes"
import { Allocator } from "./allocator"
import type { Engine } from "./engine"

interface CpuStorage extends Storage {
  readonly pointer: number
}

export class CpuTensor extends StoredTensor<CpuStorage> {
  constructor(
    shape: readonly number[],
    readonly pointer: number,
    storage: CpuStorage,
    readonly memory: TensorMemory,
    isOwner: boolean,
  ) {
    super(shape, storage, isOwner)
  }
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
  private readonly scopes = new Scopes<CpuStorage>(({ pointer }) => this.allocator.free(pointer))

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
    const storage: CpuStorage = { pointer, live: true }
    this.scopes.add(storage)
    return new CpuTensor(shape, pointer, storage, this, true)
  }

  /** Numbers of `source` from number `offset` on under another shape, without a copy. */
  view(source: CpuTensor, shape: readonly number[], offset: number): CpuTensor {
    return new CpuTensor(shape, source.pointer + offset * 4, source.storage, this, false)
  }

  /** The tensor behind a handle. Throws bad_input when it was freed or is another backend's. */
  open(op: string, t: Tensor): CpuTensor {
    this.checkOpen(op)
    if (!(t instanceof CpuTensor) || t.memory !== this) {
      throw new IsaacError("bad_input", `${op}: this tensor was not made by this backend`)
    }
    t.checkLive(op)
    return t
  }

  freeTensor(t: CpuTensor): void {
    if (t.memory === this) this.scopes.free(t)
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

  /** See Backend.scope. */
  scope<T>(fn: () => T): T {
    return this.scopes.run(fn)
  }
}
