/**
 * What all sessions of one model share: its cache of keys and values, the pictures it has seen, and the memory for both.
 *
 * Sessions may take `sessionMemory` bytes together. When one of them needs more, sessions that are not answering lose
 * their keys and values, the one used longest ago first. They notice nothing but time: a prompt is always given whole,
 * so their next turn computes anew what it finds missing.
 */

import { IsaacError } from "../errors"
import type { DecoderCache } from "../model/decoder-cache"
import type { IsaacModel } from "../model/isaac-model"
import type { AbortFlag, KernelFlag } from "./abort"
import { ImageCache } from "./image-cache"
import type { KnownImages } from "./prompt-keys"

export interface SessionPoolInit {
  readonly model: IsaacModel
  readonly kernelFlag: KernelFlag
  /** Most tokens of one session. */
  readonly maxContext: number
  /** Most bytes of keys and values, all sessions together; what forks share counts once. */
  readonly sessionMemory: number
  /** Most bytes of image embeddings that no prompt is using. */
  readonly imageMemory: number
}

/** A session as the pool sees it. */
export interface PoolMember {
  /** Nobody is computing with it: its keys and values may go. */
  readonly idle: boolean
  /** Tokens that are held computed. */
  readonly length: number
  /** Let go of all keys and values. */
  evict(): void
}

/** Memory of sessions and pictures, in bytes. */
export interface SessionUsage {
  readonly sessions: {
    /** Sessions that are open. */
    readonly open: number
    /** Keys and values of all of them, blocks that forks share counted once. */
    readonly bytes: number
    readonly limit: number
    /** How often a session lost its keys and values to make room, since the model was loaded. */
    readonly evictions: number
  }
  readonly images: { readonly bytes: number; readonly limit: number }
}

export class SessionPool {
  readonly model: IsaacModel
  readonly kernelFlag: KernelFlag
  readonly maxContext: number
  readonly sessionMemory: number
  /** Keys and values of all sessions, a slot each. */
  readonly cache: DecoderCache
  readonly images: ImageCache
  readonly knownImages: KnownImages = new WeakMap()
  /** The engine was disposed of, and everything here with it. */
  closed = false
  /** In the order of their last use, with their slots. */
  readonly #members = new Map<PoolMember, number>()
  #evictions = 0

  constructor({ model, kernelFlag, maxContext, sessionMemory, imageMemory }: SessionPoolInit) {
    this.model = model
    this.kernelFlag = kernelFlag
    this.maxContext = maxContext
    this.sessionMemory = sessionMemory
    this.cache = model.newCache(Number.MAX_SAFE_INTEGER) // counted in bytes, here
    this.images = new ImageCache(model.backend, imageMemory)
  }

  /** A slot for a new session. */
  enter(member: PoolMember): number {
    const taken = new Set(this.#members.values())
    let slot = 0
    while (taken.has(slot)) {
      slot++
    }
    this.#members.set(member, slot)
    return slot
  }

  leave(member: PoolMember): void {
    this.#members.delete(member)
  }

  /** Note that a session is being used, or was until now. */
  touch(member: PoolMember): void {
    const slot = this.#members.get(member)
    if (slot !== undefined) {
      this.#members.delete(member)
      this.#members.set(member, slot)
    }
  }

  /** Sessions that are computing or answering. */
  get running(): number {
    return [...this.#members.keys()].filter(({ idle }) => !idle).length
  }

  usage(): SessionUsage {
    return {
      sessions: {
        open: this.#members.size,
        bytes: this.closed ? 0 : this.cache.bytes,
        limit: this.sessionMemory,
        evictions: this.#evictions,
      },
      images: { bytes: this.closed ? 0 : this.images.bytes, limit: this.images.maxBytes },
    }
  }

  /**
   * See that `tokens` more tokens of each of these slots fit, by evicting idle sessions if need be. Takes no memory
   * itself.
   *
   * Throws out_of_memory when sessions that are answering leave too little.
   */
  reserve(slots: readonly number[], tokens: number): void {
    for (;;) {
      const growth = this.cache.growth(slots, tokens)
      const used = this.cache.bytes
      if (used + growth <= this.sessionMemory) {
        return
      }
      if (!this.#evictOldest()) {
        throw this.#full(slots, tokens, growth, used)
      }
    }
  }

  /**
   * Run a computation that the flag may break off. Where the backend itself runs out of memory, idle sessions and
   * pictures that no prompt is using make room, and it runs again; nothing of a broken-off computation is kept.
   */
  compute<T>(run: () => T, abort: AbortFlag | undefined): T {
    for (;;) {
      try {
        return this.kernelFlag.run(run, abort)
      } catch (error) {
        const full = error instanceof IsaacError && error.code === "out_of_memory"
        if (!(full && (this.#evictOldest() || this.images.clear()))) {
          throw error
        }
      }
    }
  }

  /** False when there is nobody to evict. */
  #evictOldest(): boolean {
    for (const member of this.#members.keys()) {
      if (member.idle && member.length > 0) {
        member.evict()
        this.#evictions++
        return true
      }
    }
    return false
  }

  #full(slots: readonly number[], tokens: number, growth: number, used: number): IsaacError {
    const held = slots.reduce((sum, slot) => sum + this.cache.length(slot), 0)
    const others = this.running - slots.length
    const answering = others === 1 ? "1 other session is" : `${others} other sessions are`
    const needs = `${tokens * slots.length} more tokens beside the ${held} held need ${megabytes(growth)} for keys and values`
    const limit = `${megabytes(used)} of ${megabytes(this.sessionMemory)} of session memory are in use`
    return new IsaacError(
      "out_of_memory",
      others > 0
        ? `${needs}; ${limit}, and ${answering} answering. Ask again when they have ended, or load with a larger sessionMemory.`
        : `${needs}; ${limit}. Shorten the prompt, or load with a larger sessionMemory.`,
    )
  }
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 2 : 0)} MB`
}
