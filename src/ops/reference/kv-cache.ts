/** The key/value cache in blocks, and causal attention over it. */

import type { KvCache, KvNumbers, KvOptions, KvSequence } from "../backend"
import { KvBlockTable } from "../kv-blocks"
import { attend, type HeadRows } from "./attention"
import { fromBf16, toBf16 } from "./float-formats"
import { quantiseGroup } from "./quantisation"

interface Block {
  /** [layers, 2, blockTokens, kvHeads·headDim] */
  readonly numbers: Float32Array | Uint16Array | Int8Array
  /** Of int8: [layers, 2, blockTokens, kvHeads]. Otherwise none. */
  readonly scales: Float32Array
}

const ARRAY = { f32: Float32Array, bf16: Uint16Array, int8: Int8Array } as const

/**
 * A block holds, for each layer, its keys and then its values. `counted` is told of every change of `bytes`.
 */
export class BlockedKvCache implements KvCache {
  readonly options: Readonly<Required<KvOptions>>
  readonly table: KvBlockTable
  private readonly blocks = new Map<number, Block>()

  constructor(options: KvOptions, counted: (bytes: number) => void) {
    this.options = Object.freeze({ ...options, stored: options.stored ?? "f32" })
    this.table = new KvBlockTable({
      maxTokens: options.maxTokens,
      onAllocate: (id) => {
        const rows = this.options.layers * 2 * this.table.blockTokens
        this.blocks.set(id, this.newBlock(rows))
        counted(this.blockBytes)
      },
      onRelease: (id) => {
        this.blocks.delete(id)
        counted(-this.blockBytes)
      },
    })
  }

  get bytes(): number {
    return this.blocks.size * this.blockBytes
  }

  /** Make room for the new tokens, unsharing the blocks they go to. */
  prepare(sequences: readonly KvSequence[]): void {
    for (const { from, to, tokens } of this.table.prepareWrite(sequences)) {
      const source = this.blocks.get(from)!
      const target = this.blocks.get(to)!
      for (let matrix = 0; matrix < this.options.layers * 2; matrix++) {
        const row = matrix * this.table.blockTokens
        copyRows(source, row, target, row, tokens, this.options)
      }
    }
  }

  /** Write rows first … first+length-1 of k and v [T, kvHeads·headDim] to the sequence's cache positions. */
  write(layer: number, { slot, start, length }: KvSequence, k: Float32Array, v: Float32Array, first: number): void {
    const { kvHeads, headDim } = this.options
    const rowSize = kvHeads * headDim
    for (let i = 0; i < length; i++) {
      const { block, keyRow, valueRow } = this.locate(layer, slot, start + i)
      const from = (first + i) * rowSize
      storeRow(k.subarray(from, from + rowSize), block, keyRow, headDim)
      storeRow(v.subarray(from, from + rowSize), block, valueRow, headDim)
    }
  }

  /** See Backend.kvGrowth. */
  growth(sequences: readonly KvSequence[]): number {
    return this.table.growth(sequences) * this.blockBytes
  }

  /** See Backend.kvExport. */
  export(slot: number, layer: number, length: number): KvNumbers {
    const out = this.newBlock(2 * length)
    for (let p = 0; p < length; p++) {
      const { block, keyRow, valueRow } = this.locate(layer, slot, p)
      copyRows(block, keyRow, out, p, 1, this.options)
      copyRows(block, valueRow, out, length + p, 1, this.options)
    }
    return out.numbers instanceof Int8Array ? { numbers: out.numbers, scales: out.scales } : out.numbers
  }

  /** See Backend.kvImport. */
  import(slot: number, layer: number, numbers: KvNumbers, length: number): void {
    const source: Block = "scales" in numbers ? numbers : { numbers, scales: new Float32Array(0) }
    this.prepare([{ slot, start: 0, length }])
    for (let p = 0; p < length; p++) {
      const { block, keyRow, valueRow } = this.locate(layer, slot, p)
      copyRows(source, p, block, keyRow, 1, this.options)
      copyRows(source, length + p, block, valueRow, 1, this.options)
    }
  }

  /** Keys and values of one head at cache positions 0 … n-1 of the slot: [n, headDim] each. */
  head(layer: number, slot: number, kvHead: number, n: number): { keys: HeadRows; values: HeadRows } {
    const { headDim } = this.options
    const keys = new Float64Array(n * headDim)
    const values = new Float64Array(n * headDim)
    for (let p = 0; p < n; p++) {
      const { block, keyRow, valueRow } = this.locate(layer, slot, p)
      this.widenHead(block, keyRow, kvHead, keys, p * headDim)
      this.widenHead(block, valueRow, kvHead, values, p * headDim)
    }
    return { keys, values }
  }

  /** One head of one row, to `out` from `at` on. */
  private widenHead({ numbers, scales }: Block, row: number, kvHead: number, out: HeadRows, at: number): void {
    const { kvHeads, headDim } = this.options
    const head = row * kvHeads + kvHead
    const from = head * headDim
    for (let i = 0; i < headDim; i++) {
      const number = numbers[from + i]
      out[at + i] =
        numbers instanceof Uint16Array
          ? fromBf16(number)
          : numbers instanceof Int8Array
            ? scales[head] * number
            : number
    }
  }

  private newBlock(rows: number): Block {
    const { kvHeads, headDim, stored } = this.options
    return {
      numbers: new ARRAY[stored](rows * kvHeads * headDim),
      scales: new Float32Array(stored === "int8" ? rows * kvHeads : 0),
    }
  }

  private get blockBytes(): number {
    const { layers, kvHeads, headDim, stored } = this.options
    const headBytes = headDim * ARRAY[stored].BYTES_PER_ELEMENT + (stored === "int8" ? 4 : 0)
    return layers * 2 * this.table.blockTokens * kvHeads * headBytes
  }

  /** The block of a token, and which of its rows, [layers, 2, blockTokens], are its key and its value. */
  private locate(layer: number, slot: number, position: number) {
    const { blockTokens } = this.table
    const id = this.table.blocks(slot)[Math.floor(position / blockTokens)]
    const keyRow = layer * 2 * blockTokens + (position % blockTokens)
    return { block: this.blocks.get(id)!, keyRow, valueRow: keyRow + blockTokens }
  }
}

/** Copy whole rows with their scales. */
function copyRows(
  from: Block,
  fromRow: number,
  to: Block,
  toRow: number,
  rows: number,
  { kvHeads, headDim }: KvOptions,
): void {
  const rowSize = kvHeads * headDim
  to.numbers.set(from.numbers.subarray(fromRow * rowSize, (fromRow + rows) * rowSize), toRow * rowSize)
  if (to.scales.length === 0) return
  to.scales.set(from.scales.subarray(fromRow * kvHeads, (fromRow + rows) * kvHeads), toRow * kvHeads)
}

/** Write a row, rounded to the block's type. */
function storeRow(x: Float32Array, { numbers, scales }: Block, row: number, headDim: number): void {
  const at = row * x.length
  if (numbers instanceof Float32Array) {
    numbers.set(x, at)
  } else if (numbers instanceof Uint16Array) {
    for (let i = 0; i < x.length; i++) numbers[at + i] = toBf16(x[i])
  } else {
    const head = at / headDim
    for (let i = 0; i < x.length; i += headDim) {
      scales[head + i / headDim] = quantiseGroup(x.subarray(i, i + headDim), numbers, at + i)
    }
  }
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
