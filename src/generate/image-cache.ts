/** Image embeddings by content: asking again about the same picture skips the vision tower. */

import type { Backend, Tensor } from "../ops/backend"

interface Entry {
  readonly embeddings: Tensor
  readonly bytes: number
  /** Prompts that are using it now; only entries of none may go. */
  users: number
}

/** Least recently used images go first when there are more than `maxBytes` of them. */
export class ImageCache {
  readonly #backend: Backend
  readonly maxBytes: number
  /** In order of their last use. */
  readonly #entries = new Map<string, Entry>()
  #bytes = 0

  constructor(backend: Backend, maxBytes: number) {
    this.#backend = backend
    this.maxBytes = maxBytes
  }

  get bytes(): number {
    return this.#bytes
  }

  /** The embeddings [n, D] of an image, kept until `release`; undefined when unknown. */
  acquire(hash: string): Tensor | undefined {
    const entry = this.#entries.get(hash)
    if (entry === undefined) {
      return undefined
    }
    entry.users++
    this.#entries.delete(hash)
    this.#entries.set(hash, entry)
    return entry.embeddings
  }

  /** Hand over embeddings [n, D], made outside of any scope; they count as acquired. Returns those to use. */
  add(hash: string, embeddings: Tensor): Tensor {
    const known = this.acquire(hash)
    if (known !== undefined) {
      this.#backend.free(embeddings) // two prompts met the same new picture at the same time
      return known
    }
    const bytes = 4 * embeddings.shape.reduce((a, b) => a * b, 1)
    this.#entries.set(hash, { embeddings, bytes, users: 1 })
    this.#bytes += bytes
    return embeddings
  }

  /** End the use of an image, once for each `acquire` or `add`. */
  release(hash: string): void {
    const entry = this.#entries.get(hash)
    if (entry !== undefined) {
      entry.users--
    }
    this.#shrink(this.maxBytes)
  }

  /** Let go of every image that no prompt is using. False when there is none. */
  clear(): boolean {
    const before = this.#bytes
    this.#shrink(0)
    return this.#bytes < before
  }

  #shrink(maxBytes: number): void {
    for (const [oldest, { users, bytes, embeddings }] of this.#entries) {
      if (this.#bytes <= maxBytes) {
        return
      }
      if (users === 0) {
        this.#entries.delete(oldest)
        this.#bytes -= bytes
        this.#backend.free(embeddings)
      }
    }
  }
}
