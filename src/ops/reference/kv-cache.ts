/** The key/value cache in blocks, and causal attention over it. */

import type { KvCache, KvNumbers, KvOptions, KvSequence } from "../backend"
import { KvBlockTable } from "../kv-blocks"
import { attend, type HeadRows } from "./attention"
import { fromBf16, toBf16 } from "./float-formats"

type Block = Float32Array | Uint16Array

/**
 * A block holds, for each layer, its keys and then its values: [layers, 2, blockTokens, kvHeads·headDim].
 * `counted` is told of every change of `bytes`.
 */
export class BlockedKvCache implements KvCache {
  readonly options: Readonly<Required<KvOptions>>
  readonly table: KvBlockTable
  private readonly blocks = new Map<number, Block>()

  constructor(options: KvOptions, counted: (bytes: number) => void) {
    this.options = Object.freeze({ stored: "f32" as const, ...options })
    this.table = new KvBlockTable({
      maxTokens: options.maxTokens,
      onAllocate: (id) => {
        const size = this.options.layers * 2 * this.matrixSize
        const block = this.options.stored === "f32" ? new Float32Array(size) : new Uint16Array(size)
        this.blocks.set(id, block)
        counted(block.byteLength)
      },
      onRelease: (id) => {
        counted(-this.blocks.get(id)!.byteLength)
        this.blocks.delete(id)
      },
    })
  }

  get bytes(): number {
    let bytes = 0
    for (const block of this.blocks.values()) bytes += block.byteLength
    return bytes
  }

  /** Make room for the new tokens, unsharing the blocks they go to. */
  prepare(sequences: readonly KvSequence[]): void {
    const { layers } = this.options
    const rowSize = this.rowSize
    for (const { from, to, tokens } of this.table.prepareWrite(sequences)) {
      const source = this.blocks.get(from)!
      const target = this.blocks.get(to)!
      for (let matrix = 0; matrix < layers * 2; matrix++) {
        const at = matrix * this.matrixSize
        target.set(source.subarray(at, at + tokens * rowSize), at)
      }
    }
  }

  /** Write rows first … first+length-1 of k and v [T, kvHeads·headDim] to the sequence's cache positions. */
  write(layer: number, { slot, start, length }: KvSequence, k: Float32Array, v: Float32Array, first: number): void {
    const rowSize = this.rowSize
    for (let i = 0; i < length; i++) {
      const { block, row } = this.locate(slot, start + i)
      const from = (first + i) * rowSize
      const keyAt = layer * 2 * this.matrixSize + row * rowSize
      store(k.subarray(from, from + rowSize), block, keyAt)
      store(v.subarray(from, from + rowSize), block, keyAt + this.matrixSize)
    }
  }

  /** See Backend.kvGrowth. */
  growth(sequences: readonly KvSequence[]): number {
    const numberBytes = this.options.stored === "f32" ? 4 : 2
    return this.table.growth(sequences) * this.options.layers * 2 * this.matrixSize * numberBytes
  }

  /** See Backend.kvExport. */
  export(slot: number, layer: number, length: number): KvNumbers {
    const rowSize = this.rowSize
    const size = 2 * length * rowSize
    const out = this.options.stored === "f32" ? new Float32Array(size) : new Uint16Array(size)
    for (let p = 0; p < length; p++) {
      const { block, row } = this.locate(slot, p)
      const keyAt = layer * 2 * this.matrixSize + row * rowSize
      out.set(block.subarray(keyAt, keyAt + rowSize), p * rowSize)
      out.set(block.subarray(keyAt + this.matrixSize, keyAt + this.matrixSize + rowSize), (length + p) * rowSize)
    }
    return out
  }

  /** See Backend.kvImport. */
  import(slot: number, layer: number, numbers: KvNumbers, length: number): void {
    const rowSize = this.rowSize
    this.prepare([{ slot, start: 0, length }])
    for (let p = 0; p < length; p++) {
      const { block, row } = this.locate(slot, p)
      const keyAt = layer * 2 * this.matrixSize + row * rowSize
      block.set(numbers.subarray(p * rowSize, (p + 1) * rowSize), keyAt)
      block.set(numbers.subarray((length + p) * rowSize, (length + p + 1) * rowSize), keyAt + this.matrixSize)
    }
  }

  /** Keys and values of one head at cache positions 0 … n-1 of the slot: [n, headDim] each. */
  head(layer: number, slot: number, kvHead: number, n: number): { keys: HeadRows; values: HeadRows } {
    const { headDim, stored } = this.options
    const keys = new Float64Array(n * headDim)
    const values = new Float64Array(n * headDim)
    for (let p = 0; p < n; p++) {
      const { block, row } = this.locate(slot, p)
      const keyAt = layer * 2 * this.matrixSize + row * this.rowSize + kvHead * headDim
      const valueAt = keyAt + this.matrixSize
      for (let i = 0; i < headDim; i++) {
        keys[p * headDim + i] = stored === "f32" ? block[keyAt + i] : fromBf16(block[keyAt + i])
        values[p * headDim + i] = stored === "f32" ? block[valueAt + i] : fromBf16(block[valueAt + i])
      }
    }
    return { keys, values }
  }

  private get rowSize(): number {
    return this.options.kvHeads * this.options.headDim
  }

  private get matrixSize(): number {
    return this.table.blockTokens * this.rowSize
  }

  private locate(slot: number, position: number): { block: Block; row: number } {
    const { blockTokens } = this.table
    const id = this.table.blocks(slot)[Math.floor(position / blockTokens)]
    return { block: this.blocks.get(id)!, row: position % blockTokens }
  }
}

/** Copy numbers into a block, rounded to its type. */
function store(row: Float32Array, block: Block, at: number): void {
  if (block instanceof Float32Array) block.set(row, at)
  else for (let i = 0; i < row.length; i++) block[at + i] = toBf16(row[i])
}

/**
 * Write k, v [T, kvHeads·headDim] where `prepare` made room, then attend with q [T, heads·headDim]: row i of a sequence sees cache positions
 * 0 … start+i of its slot. Query head h reads kv head ⌊h / (heads/kvHeads)⌋.
 */
export function causalAttention(
  q: Float32Array,
  k: Float32Array,
  v: Float32Array,
  cache: BlockedKvCache,
  layer: number,
  sequences: readonly KvSequence[],
  heads: number,
  scale: number,
  out: Float32Array,
): void {
  const { kvHeads, headDim } = cache.options
  const group = heads / kvHeads
  const mean = new Float64Array(headDim)
  let first = 0
  for (const sequence of sequences) {
    const { slot, start, length } = sequence
    // 1. The new tokens' keys and values join the slot.
    cache.write(layer, sequence, k, v, first)
    // 2. Each new token attends to everything up to itself.
    const scores = new Float64Array(start + length)
    for (let kvHead = 0; kvHead < kvHeads && length > 0; kvHead++) {
      const { keys, values } = cache.head(layer, slot, kvHead, start + length)
      for (let h = kvHead * group; h < (kvHead + 1) * group; h++) {
        for (let i = 0; i < length; i++) {
          const at = ((first + i) * heads + h) * headDim
          attend(q, at, keys, values, start + i + 1, headDim, scale, scores, mean, out)
        }
      }
    }
    first += length
  }
}
