/** Tensors in ordinary memory, and how many bytes are in use. */

import { IsaacError } from "../../errors"
import type { Tensor } from "../backend"
import { sizeOf } from "../op-shapes"
import { Scopes, type Storage, StoredTensor } from "../scopes"

interface HostStorage extends Storage {
  readonly bytes: number
}

export class HostTensor extends StoredTensor<HostStorage> {
  constructor(
    shape: readonly number[],
    readonly data: Float32Array,
    storage: HostStorage,
    isOwner: boolean,
  ) {
    super(shape, storage, isOwner)
  }
}

export class Memory {
  private used = 0
  private peak = 0
  private readonly scopes = new Scopes<HostStorage>(({ bytes }) => this.count(-bytes))

  /** A new tensor of zeros, owned by the innermost open scope. */
  tensor(shape: readonly number[]): HostTensor {
    const data = new Float32Array(sizeOf(shape))
    const storage: HostStorage = { bytes: data.byteLength, live: true }
    this.count(storage.bytes)
    this.scopes.add(storage)
    return new HostTensor(shape, data, storage, true)
  }

  /** Numbers of `source` under another shape, without a copy. */
  view(source: HostTensor, shape: readonly number[], data: Float32Array): HostTensor {
    return new HostTensor(shape, data, source.storage, false)
  }

  /** The tensor behind a handle. Throws bad_input when it was freed or is another backend's. */
  open(op: string, t: Tensor): HostTensor {
    if (!(t instanceof HostTensor)) {
      throw new IsaacError("bad_input", `${op}: this tensor was not made by the reference backend`)
    }
    t.checkLive(op)
    return t
  }

  freeTensor(t: HostTensor): void {
    this.scopes.free(t)
  }

  /** See Backend.scope. */
  scope<T>(fn: () => T): T {
    return this.scopes.run(fn)
  }

  /** Bytes taken (positive) or given back (negative). */
  count(bytes: number): void {
    this.used += bytes
    this.peak = Math.max(this.peak, this.used)
  }

  usage(): { used: number; peak: number } {
    return { used: this.used, peak: this.peak }
  }
}
