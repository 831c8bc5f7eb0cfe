/**
 * What a conversation has been through: keys and values of every decoder layer, and how far positions have run.
 *
 * A cache has slots, one per sequence of a batch. Positions are not token counts (all tokens of an image share one
 * time, and a wide image's columns run ahead), so the largest position up to every token is kept beside the blocks:
 * dropping tokens from the end then restores the right rope_delta by itself.
 */

import type { Backend, KvCache, KvNumbers, KvType } from "../ops/backend"
import type { TextConfig } from "./config"
import { ropeDelta } from "./mrope"

export interface DecoderCacheOptions {
  /** Most tokens that all slots hold together. */
  readonly maxTokens: number
  /** How keys and values are kept. Default "f32". */
  readonly stored?: KvType
}

export class DecoderCache {
  readonly kv: KvCache
  readonly #backend: Backend
  /** Per slot and token: the largest position id on any axis so far. */
  readonly #largest = new Map<number, number[]>()

  constructor(backend: Backend, config: TextConfig, { maxTokens, stored = "f32" }: DecoderCacheOptions) {
    this.#backend = backend
    const { layers, kvHeads, headDim } = config
    this.kv = backend.createKv({ layers, kvHeads, headDim, stored, maxTokens })
  }

  get maxTokens(): number {
    return this.kv.options.maxTokens
  }

  /** Bytes of the blocks in use. */
  get bytes(): number {
    return this.kv.bytes
  }

  /** Tokens that the slot holds; 0 for one never used. */
  length(slot = 0): number {
    return this.#backend.kvLength(this.kv, slot)
  }

  /** Largest position + 1 − length: the token that goes to cache index c has position c + this, on all axes. */
  ropeDelta(slot = 0): number {
    const length = this.length(slot)
    return ropeDelta(this.#largestAt(slot, length), length)
  }

  /** The position of the slot's next token when it comes without a stream. */
  nextPosition(slot = 0): number {
    return this.length(slot) + this.ropeDelta(slot)
  }

  /** Take over tokens that all layers have written: `positions` [n·3] of the n new tokens of the slot. */
  commit(slot: number, positions: Int32Array): void {
    const start = this.length(slot)
    let top = this.#largestAt(slot, start)
    const largest = this.#largest.get(slot) ?? []
    largest.length = start
    for (let at = 0; at < positions.length; at += 3) {
      top = Math.max(top, positions[at], positions[at + 1], positions[at + 2])
      largest.push(top)
    }
    this.#backend.kvCommit(this.kv, slot, start + positions.length / 3)
    this.#largest.set(slot, largest)
  }

  /** Keep the first `length` tokens of the slot. */
  truncate(length: number, slot = 0): void {
    this.#backend.kvCommit(this.kv, slot, Math.min(length, this.length(slot)))
  }

  /** Bytes that `tokens` more tokens of each of these slots will take. */
  growth(slots: readonly number[], tokens: number): number {
    const sequences = slots.map((slot) => ({ slot, start: this.length(slot), length: tokens }))
    return this.#backend.kvGrowth(this.kv, sequences)
  }

  /** One layer of the slot's keys and values, [2, length, kvHeads, headDim], as they are stored. */
  export(slot: number, layer: number): Promise<KvNumbers> {
    return this.#backend.kvExport(this.kv, slot, layer, this.length(slot))
  }

  /** Write one layer of what `export` gave to an empty slot; `commit` takes it over when all layers are in. */
  import(slot: number, layer: number, numbers: KvNumbers): void {
    this.#backend.kvImport(this.kv, slot, layer, numbers)
  }

  /** Make slot `to` the first `length` tokens of slot `from`; whole blocks are shared. */
  copy(from: number, to: number, length: number): void {
    this.#backend.kvCopy(this.kv, from, to, length)
    this.#largest.set(to, (this.#largest.get(from) ?? []).slice(0, length))
  }

  /** Gives its memory back to the backend. */
  free(): void {
    this.#backend.free(this.kv)
    this.#largest.clear()
  }

  #largestAt(slot: number, length: number): number {
    return length === 0 ? -1 : this.#largest.get(slot)![length - 1]
  }
}
