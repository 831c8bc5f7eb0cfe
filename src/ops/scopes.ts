/** Who owns the numbers behind tensors and when they are freed: the books behind Backend.scope and Backend.free. */

import { IsaacError } from "../errors"
import type { Tensor } from "./backend"
import { formatShape } from "./op-shapes"

/** The numbers behind a tensor and all of its views; a backend adds where they are. */
export interface Storage {
  live: boolean
}

/** A tensor or a view of one. */
export class StoredTensor<S extends Storage = Storage> implements Tensor {
  readonly shape: readonly number[]

  constructor(
    shape: readonly number[],
    readonly storage: S,
    /** Freeing the owner frees the storage; freeing a view does nothing. */
    public isOwner: boolean,
  ) {
    this.shape = Object.freeze([...shape])
  }

  /** Throws bad_input, naming the operation, when the numbers were freed. */
  checkLive(op: string): void {
    if (this.storage.live) return
    throw new IsaacError(
      "bad_input",
      `${op}: the tensor ${formatShape(this.shape)} was freed already; return it from its scope to keep it`,
    )
  }
}

/** The open scopes of one backend. */
export class Scopes<S extends Storage> {
  /** Innermost last: what was made in each open scope. */
  private readonly open: Set<S>[] = []

  /** `onRelease` gives the numbers back; it is called once for each storage. */
  constructor(private readonly onRelease: (storage: S) => void) {}

  /** New numbers belong to the innermost open scope; outside of any they live until `free`. */
  add(storage: S): void {
    this.open.at(-1)?.add(storage)
  }

  free(tensor: StoredTensor<S>): void {
    if (tensor.isOwner) this.release(tensor.storage)
  }

  /**
   * See Backend.scope. A view that is returned keeps its storage; when the tensor it looks at is not returned beside it,
   * the view is the owner from then on, or nobody could free it.
   */
  run<T>(fn: () => T): T {
    const made = new Set<S>()
    this.open.push(made)
    let kept = new Map<Storage, StoredTensor>()
    try {
      const result = fn()
      if (result instanceof Promise) {
        throw new IsaacError("bad_input", "scope: the function is asynchronous; a scope ends when it returns")
      }
      kept = ownersIn(result)
      return result
    } finally {
      this.open.pop()
      for (const storage of made) {
        const owner = kept.get(storage)
        if (owner) {
          owner.isOwner = true
          this.add(storage)
        } else {
          this.release(storage)
        }
      }
    }
  }

  private release(storage: S): void {
    if (!storage.live) return
    storage.live = false
    this.onRelease(storage)
  }
}

/**
 * Storages of all tensors in a value, looking into arrays and plain objects, each with its owner or, where that is not
 * among them, its first view.
 */
function ownersIn(value: unknown): Map<Storage, StoredTensor> {
  const found = new Map<Storage, StoredTensor>()
  const seen = new Set<object>()
  const visit = (v: unknown) => {
    if (v === null || typeof v !== "object" || seen.has(v)) return
    seen.add(v)
    if (v instanceof StoredTensor) {
      if (v.isOwner || !found.has(v.storage)) found.set(v.storage, v)
    } else if (Array.isArray(v)) for (const item of v) visit(item)
    else if (Object.getPrototypeOf(v) === Object.prototype || Object.getPrototypeOf(v) === null) {
      for (const item of Object.values(v)) visit(item)
    }
  }
  visit(value)
  return found
}
