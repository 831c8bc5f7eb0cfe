/**
 * Bookkeeping of a paged key/value cache: which block holds which cache position of which slot.
 *
 * A slot is one sequence. Its positions 0, 1, 2 … lie in fixed blocks of `blockTokens` tokens: position p is row
 * p mod blockTokens of block `blocks(slot)[⌊p / blockTokens⌋]`. So a slot grows without moving what it holds, and two
 * slots with a common prefix share its blocks; a shared block is copied when one of them writes to it (copy-on-write).
 *
 * Pure: it knows ids only. The backend that owns the numbers hears of blocks by `onAllocate` and `onRelease` and does
 * the copies that `prepareWrite` asks for.
 */

import { IsaacError } from "../errors"
import type { KvSequence } from "./backend"

/** Tokens in a block, unless the backend says otherwise. */
export const KV_BLOCK_TOKENS = 64

export interface KvBlockTableOptions {
  /** Most tokens in all blocks together; tokens of a shared block count once. */
  readonly maxTokens: number
  /** Default KV_BLOCK_TOKENS. */
  readonly blockTokens?: number
  /** Make room for block `id`. May throw: then nothing has changed. */
  readonly onAllocate?: (id: number) => void
  /** Block `id` is no longer in use; its id may be allocated again. */
  readonly onRelease?: (id: number) => void
}

/** Copy rows 0 … tokens-1 of block `from` to block `to`, keys and values of all layers. */
export interface KvBlockCopy {
  readonly from: number
  readonly to: number
  readonly tokens: number
}

interface Slot {
  /** Ids, in the order of the positions. */
  readonly blocks: readonly number[]
  /** Committed tokens. */
  readonly length: number
  /** Tokens that have room, ≥ length: what a pass that is not committed yet may have written. */
  readonly reserved: number
}

/** What growing comes to. */
interface KvPlan {
  readonly next: Map<number, Slot>
  readonly references: readonly number[]
  readonly fresh: readonly number[]
  readonly copies: KvBlockCopy[]
}

const EMPTY: Slot = { blocks: [], length: 0, reserved: 0 }

/** Block ids, reference counts and slots of one cache. */
export class KvBlockTable {
  readonly maxTokens: number
  readonly blockTokens: number
  private readonly onAllocate: (id: number) => void
  private readonly onRelease: (id: number) => void
  /** How many slots use block id; 0 is a free id. Ids are dense: the lowest free one is taken first. */
  private readonly references: number[] = []
  private slots = new Map<number, Slot>()

  constructor({ maxTokens, blockTokens = KV_BLOCK_TOKENS, onAllocate, onRelease }: KvBlockTableOptions) {
    checkCount("maxTokens of a key/value cache", maxTokens, 0)
    checkCount("blockTokens of a key/value cache", blockTokens, 1)
    this.maxTokens = maxTokens
    this.blockTokens = blockTokens
    this.onAllocate = onAllocate ?? (() => {})
    this.onRelease = onRelease ?? (() => {})
  }

  /** Committed tokens of the slot; 0 for one never used. */
  length(slot: number): number {
    return this.slot(slot).length
  }

  /** The slot's blocks in the order of its positions, those of a pass that is not committed yet included. */
  blocks(slot: number): readonly number[] {
    return this.slot(slot).blocks
  }

  /** Blocks in use, each counted once. */
  get blocksInUse(): number {
    return this.references.reduce((n, r) => n + (r > 0 ? 1 : 0), 0)
  }

  /** Tokens that have room, each block counted once. */
  get tokensInUse(): number {
    return this.countTokens(this.slots.values())
  }

  /**
   * Make positions start … start+length-1 of every sequence writable: append blocks, and replace those shared with
   * another slot. Returns the copies to make BEFORE writing; asking again for the same range costs nothing and returns
   * none, so every layer may ask. Committed lengths stay as they are.
   *
   * Throws bad_input for a start behind the committed length or a slot named twice, out_of_memory over maxTokens (or
   * whatever onAllocate throws); nothing has changed then.
   */
  prepareWrite(sequences: readonly KvSequence[]): KvBlockCopy[] {
    this.check(sequences)
    return this.isWritableAll(sequences) ? [] : this.grow(sequences)
  }

  /** Blocks that `prepareWrite` would take. Throws bad_input as it does; changes nothing. */
  growth(sequences: readonly KvSequence[]): number {
    this.check(sequences)
    return this.isWritableAll(sequences) ? 0 : this.plan(sequences).fresh.length
  }

  private isWritableAll(sequences: readonly KvSequence[]): boolean {
    return sequences.every((sequence) => this.isWritable(sequence))
  }

  private check(sequences: readonly KvSequence[]): void {
    for (const [i, { slot, start, length }] of sequences.entries()) {
      checkCount("the slot of a key/value sequence", slot, 0)
      checkCount(`start in slot ${slot}`, start, 0)
      checkCount(`the length of new tokens in slot ${slot}`, length, 0)
      if (start > this.length(slot)) {
        throw new IsaacError(
          "bad_input",
          `new tokens of slot ${slot} start at ${start}, but only ${this.length(slot)} are committed: ` +
            "write and commit what comes before them first",
        )
      }
      if (sequences.findIndex((s) => s.slot === slot) !== i) {
        throw new IsaacError("bad_input", `slot ${slot} is named twice in one call: join its sequences into one`)
      }
    }
  }

  /**
   * Set the slot's length: grow over what was written, or drop tokens from its end. Blocks behind it are released.
   * Throws bad_input when `length` exceeds what prepareWrite made room for.
   */
  commit(slot: number, length: number): void {
    checkCount("a key/value slot", slot, 0)
    checkCount(`the length of slot ${slot}`, length, 0)
    const { blocks, reserved } = this.slot(slot)
    if (length > reserved) {
      throw new IsaacError(
        "bad_input",
        `slot ${slot} cannot be committed to ${length} tokens: only ${reserved} have been written`,
      )
    }
    const keep = this.blocksFor(length)
    this.set(slot, { blocks: blocks.slice(0, keep), length, reserved: length })
    for (const id of blocks.slice(keep)) this.release(id)
  }

  /**
   * Make slot `to` the first `length` committed tokens of slot `from`. Nothing is copied: all blocks are shared until
   * one of the two slots writes to them. What `to` held before is dropped.
   */
  copy(from: number, to: number, length: number): void {
    checkCount("a key/value slot", from, 0)
    checkCount("a key/value slot", to, 0)
    checkCount("the length of a copy", length, 0)
    const source = this.slot(from)
    if (length > source.length) {
      throw new IsaacError(
        "bad_input",
        `cannot copy ${length} tokens from slot ${from} to slot ${to}: it holds ${source.length}`,
      )
    }
    const dropped = this.slot(to).blocks
    const shared = source.blocks.slice(0, this.blocksFor(length))
    for (const id of shared) this.references[id]++
    this.set(to, { blocks: shared, length, reserved: length })
    for (const id of dropped) this.release(id)
  }

  /** Drop all slots and release all blocks. */
  free(): void {
    for (const slot of [...this.slots.keys()]) this.commit(slot, 0)
  }

  private slot(slot: number): Slot {
    return this.slots.get(slot) ?? EMPTY
  }

  private set(slot: number, state: Slot): void {
    if (state.reserved === 0) this.slots.delete(slot)
    else this.slots.set(slot, state)
  }

  private blocksFor(tokens: number): number {
    return Math.ceil(tokens / this.blockTokens)
  }

  private release(id: number): void {
    if (--this.references[id] === 0) this.onRelease(id)
  }

  /** True when the range has room and no other slot sees its blocks. */
  private isWritable({ slot, start, length }: KvSequence): boolean {
    const { blocks, reserved } = this.slot(slot)
    if (start + length > reserved) return false
    for (let i = Math.floor(start / this.blockTokens); i < this.blocksFor(start + length); i++) {
      if (this.references[blocks[i]] > 1) return false
    }
    return true
  }

  /** The slots as they shall be. */
  private plan(sequences: readonly KvSequence[]): KvPlan {
    const next = new Map(this.slots)
    const references = this.references.slice()
    const fresh: number[] = []
    const copies: KvBlockCopy[] = []
    const take = () => {
      const free = references.indexOf(0)
      const id = free < 0 ? references.length : free
      references[id] = 1
      fresh.push(id)
      return id
    }
    for (const { slot, start, length } of sequences) {
      if (length === 0) continue
      const old = this.slot(slot)
      const end = start + length
      const reserved = Math.max(old.reserved, end)
      const blocks = old.blocks.slice()
      for (let i = Math.floor(start / this.blockTokens); i < this.blocksFor(end); i++) {
        if (i >= blocks.length) {
          blocks.push(take())
        } else if (references[blocks[i]] > 1) {
          const from = blocks[i]
          blocks[i] = take()
          references[from]--
          // All tokens the slot holds there, also those about to be overwritten: a pass that breaks off after some
          // layers must leave the old ones readable in the others.
          const tokens = Math.min(this.blockTokens, old.reserved - i * this.blockTokens)
          copies.push({ from, to: blocks[i], tokens })
        }
      }
      next.set(slot, { blocks, length: old.length, reserved })
    }
    return { next, references, fresh, copies }
  }

  /** Work out the slots as they shall be, see that they fit, then make them so. */
  private grow(sequences: readonly KvSequence[]): KvBlockCopy[] {
    const { next, references, fresh, copies } = this.plan(sequences)
    const needed = this.countTokens(next.values())
    if (needed > this.maxTokens) {
      const asked = sequences.map(({ slot, start, length }) => `slot ${slot} to ${start + length}`).join(", ")
      throw new IsaacError(
        "out_of_memory",
        `the key/value cache holds ${this.tokensInUse} tokens and may hold ${this.maxTokens}; growing ${asked} ` +
          `needs ${needed}. Shorten or drop a sequence, or create the cache with a larger maxTokens`,
      )
    }
    let allocated = 0
    try {
      for (; allocated < fresh.length; allocated++) this.onAllocate(fresh[allocated])
    } catch (error) {
      for (const id of fresh.slice(0, allocated)) this.onRelease(id)
      throw error
    }
    this.slots = next
    for (const [id, count] of references.entries()) this.references[id] = count
    return copies
  }

  /** Tokens with room in the blocks of these slots. A shared block counts once, up to the slot that uses most of it. */
  private countTokens(slots: Iterable<Slot>): number {
    const filled = new Map<number, number>()
    for (const { blocks, reserved } of slots) {
      for (const [i, id] of blocks.entries()) {
        const tokens = Math.min(this.blockTokens, reserved - i * this.blockTokens)
        filled.set(id, Math.max(filled.get(id) ?? 0, tokens))
      }
    }
    let sum = 0
    for (const tokens of filled.values()) sum += tokens
    return sum
  }
}

function checkCount(what: string, value: number, least: number): void {
  if (!Number.isSafeInteger(value) || value < least) {
    throw new IsaacError("bad_input", `${what} is ${value}; a whole number of at least ${least} is needed`)
  }
}
