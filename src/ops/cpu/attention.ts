/** Key/value blocks in an engine's memory, and the tables that tell the attention kernels what to do with them. */

import type { KvCache, KvNumbers, KvOptions, KvSequence, KvType } from "../backend"
import { KvBlockTable } from "../kv-blocks"
import type { Engine } from "./engine"
import { STORED_CODE } from "./kernels"
import type { Borrowed, TensorMemory } from "./tensor-memory"

const ARRAY = { f32: Float32Array, bf16: Uint16Array, int8: Int8Array } as const

/** Bytes of one head of a block, see kernels/attention.cpp. */
function headBytes(engine: Engine, headDim: number, stored: KvType): number {
  const { kvBlock } = engine.sizes
  const scales = stored === "int8" ? 2 * kvBlock * 4 : 0
  return 2 * headDim * kvBlock * ARRAY[stored].BYTES_PER_ELEMENT + scales
}

/** A block holds one layer after the other, for each head its keys and then its values. */
export class CpuKvCache implements KvCache {
  readonly options: Readonly<Required<KvOptions>>
  readonly table: KvBlockTable
  /** Id → pointer. */
  private readonly blocks = new Map<number, number>()
  private readonly layerBytes: number
  private readonly blockBytes: number

  constructor(
    private readonly engine: Engine,
    readonly memory: TensorMemory,
    options: KvOptions,
  ) {
    this.options = Object.freeze({ ...options, stored: options.stored ?? "f32" })
    const { kvHeads, headDim, stored, layers } = this.options
    this.layerBytes = kvHeads * headBytes(engine, headDim, stored)
    this.blockBytes = layers * this.layerBytes
    const allocated = this.blockBytes + engine.sizes.kvBlockSlack * 4
    this.table = new KvBlockTable({
      maxTokens: options.maxTokens,
      blockTokens: engine.sizes.kvBlock,
      onAllocate: (id) => {
        this.blocks.set(id, memory.allocator.allocate(allocated, "a block of keys and values"))
      },
      onRelease: (id) => {
        memory.allocator.free(this.blocks.get(id)!)
        this.blocks.delete(id)
      },
    })
  }

  get bytes(): number {
    return this.blocks.size * this.blockBytes
  }

  /** Make room for new tokens, unsharing the blocks they go to. */
  prepare(sequences: readonly KvSequence[]): void {
    for (const { from, to } of this.table.prepareWrite(sequences)) {
      const source = this.engine.bytes(this.blocks.get(from)!, this.blockBytes)
      this.engine.bytes(this.blocks.get(to)!, this.blockBytes).set(source)
    }
  }

  /** See Backend.kvGrowth. */
  growth(sequences: readonly KvSequence[]): number {
    return this.table.growth(sequences) * this.blockBytes
  }

  /** See Backend.kvExport. */
  export(slot: number, layer: number, length: number): KvNumbers {
    const { kvHeads, headDim, stored } = this.options
    const numbers = new ARRAY[stored](2 * length * kvHeads * headDim)
    const scales = new Float32Array(stored === "int8" ? 2 * length * kvHeads : 0)
    this.forTokens(slot, layer, length, (head, token, key, value) => {
      const { kvBlock } = this.engine.sizes
      for (let i = 0; i < headDim; i++) {
        numbers[key * headDim + i] = head.keys[i * kvBlock + token]
        numbers[value * headDim + i] = head.values[token * headDim + i]
      }
      if (scales.length === 0) return
      scales[key] = head.scales[token]
      scales[value] = head.scales[kvBlock + token]
    })
    return numbers instanceof Int8Array ? { numbers, scales } : numbers
  }

  /** See Backend.kvImport. */
  import(slot: number, layer: number, from: KvNumbers, length: number): void {
    const { headDim } = this.options
    const { numbers, scales } = "scales" in from ? from : { numbers: from, scales: undefined }
    this.prepare([{ slot, start: 0, length }])
    this.forTokens(slot, layer, length, (head, token, key, value) => {
      const { kvBlock } = this.engine.sizes
      for (let i = 0; i < headDim; i++) {
        head.keys[i * kvBlock + token] = numbers[key * headDim + i]
        head.values[token * headDim + i] = numbers[value * headDim + i]
      }
      if (scales === undefined) return
      head.scales[token] = scales[key]
      head.scales[kvBlock + token] = scales[value]
    })
  }

  /**
   * Visit each head of positions 0 … length-1: the head of its block, which of the block's tokens it is, and where its
   * key and its value are in [2, length, kvHeads].
   */
  private forTokens(
    slot: number,
    layer: number,
    length: number,
    visit: (head: StoredHead, token: number, key: number, value: number) => void,
  ): void {
    const { kvHeads, headDim, stored } = this.options
    const { kvBlock } = this.engine.sizes
    const bytes = headBytes(this.engine, headDim, stored)
    for (const [i, pointer] of this.layerBlocks(slot, layer).entries()) {
      const tokens = Math.min(kvBlock, length - i * kvBlock)
      for (let kvHead = 0; kvHead < kvHeads; kvHead++) {
        const head = storedHead(this.engine.bytes(pointer + kvHead * bytes, bytes), headDim * kvBlock, stored)
        for (let token = 0; token < tokens; token++) {
          const row = (i * kvBlock + token) * kvHeads + kvHead
          visit(head, token, row, row + length * kvHeads)
        }
      }
    }
  }

  /** Pointers to one layer of the slot's blocks, in the order of its positions. */
  layerBlocks(slot: number, layer: number): number[] {
    return this.table.blocks(slot).map((id) => this.blocks.get(id)! + layer * this.layerBytes)
  }
}

/** One head of a block. */
interface StoredHead {
  /** [headDim, kvBlock] */
  readonly keys: Float32Array | Uint16Array | Int8Array
  /** [kvBlock, headDim] */
  readonly values: Float32Array | Uint16Array | Int8Array
  /** int8: of keys, then of values, [2, kvBlock] */
  readonly scales: Float32Array
}

/** Views of a head's bytes: `count` numbers of keys, as many of values, scales. */
function storedHead({ buffer, byteOffset, byteLength }: Uint8Array, count: number, stored: KvType): StoredHead {
  const bytes = count * ARRAY[stored].BYTES_PER_ELEMENT
  const view = (at: number) =>
    stored === "f32"
      ? new Float32Array(buffer, at, count)
      : stored === "bf16"
        ? new Uint16Array(buffer, at, count)
        : new Int8Array(buffer, at, count)
  return {
    keys: view(byteOffset),
    values: view(byteOffset + bytes),
    scales: new Float32Array(buffer, byteOffset + 2 * bytes, (byteLength - 2 * bytes) / 4),
  }
}

/**
 * One query leaves threads idle where a model has few key/value heads: the keys of a long context are cut into ranges of
 * at least RANGE_BLOCKS blocks, at most MOST_RANGES of them. The context's length alone decides, so a sequence's result
 * depends neither on the number of threads nor on what else is in the batch.
 */
const RANGE_BLOCKS = 4
const MOST_RANGES = 16

/** What the kernels are told, gathered sequence by sequence. */
class Tables {
  /** row, count, offset, block: rows of k and v that go to a block. */
  readonly writes: number[] = []
  /** row, count, position, context, blocks, partial: neighbouring queries; for `attend` and for `attend_few`. */
  readonly many: number[] = []
  readonly few: number[] = []
  readonly blocks: number[] = []
  /** row, partial, ranges: queries whose keys are cut into ranges; and how many ranges there are in all. */
  readonly cut: number[] = []
  ranges = 0
  /** Products of queries and keys, for the work of the jobs. */
  scores = 0

  constructor(private readonly engine: Engine) {}

  /**
   * Rows row … row+length-1 are positions start … start+length-1 of a sequence in `blocks`; write them there and let
   * each see what is up to itself (causal) or all of the sequence.
   */
  add(row: number, start: number, length: number, blocks: readonly number[], causal: boolean): void {
    const { kvBlock, queryRows, panel } = this.engine.sizes
    const end = start + length
    for (let position = start; position < end; ) {
      const offset = position % kvBlock
      const count = Math.min(kvBlock - offset, end - position)
      this.writes.push(row + position - start, count, offset, blocks[Math.floor(position / kvBlock)])
      position += count
    }
    // Lanes are queries in `attend`: with less than half of a tile's lanes in use, `attend_few` is faster.
    const few = length * 2 < panel
    const step = few ? 1 : queryRows
    for (let i = 0; i < length; i += step) {
      const count = Math.min(step, length - i)
      const context = causal ? start + i + count : end
      if (few) this.addQuery(row + i, start + i, context)
      else this.many.push(row + i, count, start + i, context, this.blocks.length, -1)
      this.scores += count * context
    }
    for (const block of blocks) this.blocks.push(block)
  }

  /** A query for `attend_few`, in ranges if its context is long. */
  private addQuery(row: number, position: number, context: number): void {
    const { kvBlock } = this.engine.sizes
    const blocks = Math.ceil(context / kvBlock)
    const ranges = Math.min(Math.floor(blocks / RANGE_BLOCKS), MOST_RANGES)
    if (ranges <= 1) {
      this.few.push(row, 1, position, context, this.blocks.length, -1)
      return
    }
    this.cut.push(row, this.ranges, ranges)
    for (let range = 0; range < ranges; range++) {
      const first = Math.floor((range * blocks) / ranges)
      const last = Math.floor(((range + 1) * blocks) / ranges)
      const keys = Math.min(last * kvBlock, context) - first * kvBlock
      this.few.push(row, 1, position, keys, this.blocks.length + first, this.ranges++)
    }
  }
}

interface Heads {
  readonly heads: number
  readonly kvHeads: number
  readonly headDim: number
  readonly stored: KvType
}

interface QkvOut {
  readonly q: number
  readonly k: number
  readonly v: number
  readonly out: number
}

/** Write keys and values to their blocks, then attend. */
function runTables(
  engine: Engine,
  borrowed: Borrowed,
  tables: Tables,
  { q, k, v, out }: QkvOut,
  { heads, kvHeads, headDim, stored }: Heads,
  causal: boolean,
  scale: number,
): void {
  const purpose = "attention: tables"
  const writeCount = tables.writes.length / 4
  engine.run(
    "kv_write",
    { k, v, writes: borrowed.doubles(tables.writes, purpose), kvHeads, headDim, stored: STORED_CODE[stored] },
    writeCount * kvHeads,
    writeCount * engine.sizes.kvBlock * kvHeads * headDim * 8,
  )
  const scratchSize = Math.ceil(engine.sizes.attentionScratch(headDim) / 16) * 16
  const scratch = borrowed.bytes(engine.threadNumbers * scratchSize * 4, "attention: scratch memory")
  const blocks = borrowed.doubles(tables.blocks, purpose)
  const work = tables.scores * heads * (4 * headDim + 20)
  const partialSize = headDim + 2
  const partials = borrowed.bytes(tables.ranges * heads * partialSize * 4, "attention: ranges of a long context")
  for (const kernel of ["attend", "attend_few"] as const) {
    const rows = kernel === "attend" ? tables.many : tables.few
    const queryCount = rows.length / 6
    const queries = borrowed.ints(Int32Array.from(rows), purpose)
    engine.run(
      kernel,
      {
        q,
        out,
        queries,
        queryCount,
        blocks,
        heads,
        kvHeads,
        headDim,
        stored: STORED_CODE[stored],
        causal: causal ? 1 : 0,
        scale,
        scratch,
        scratchSize,
        partials,
      },
      queryCount * (kernel === "attend" ? heads : kvHeads),
      work,
    )
  }
  const cutCount = tables.cut.length / 3
  engine.run(
    "join_ranges",
    { partials, out, queries: borrowed.ints(Int32Array.from(tables.cut), purpose), heads, headDim },
    cutCount * heads,
    tables.ranges * heads * partialSize * 2,
  )
}

/** See Backend.varlenAttention. Keys and values go into temporary blocks, each segment into its own. */
export function runVarlenAttention(
  engine: Engine,
  memory: TensorMemory,
  pointers: QkvOut,
  cuSeqlens: Int32Array,
  heads: number,
  headDim: number,
  scale: number,
): void {
  const { kvBlock, kvBlockSlack } = engine.sizes
  const blockBytes = heads * headBytes(engine, headDim, "f32")
  let count = 0
  for (let i = 1; i < cuSeqlens.length; i++) count += Math.ceil((cuSeqlens[i] - cuSeqlens[i - 1]) / kvBlock)
  memory.borrow((borrowed) => {
    const base = borrowed.bytes(count * blockBytes + kvBlockSlack * 4, "varlenAttention: keys and values")
    const tables = new Tables(engine)
    let next = base
    for (let i = 1; i < cuSeqlens.length; i++) {
      const length = cuSeqlens[i] - cuSeqlens[i - 1]
      const blocks = Array.from({ length: Math.ceil(length / kvBlock) }, (_, b) => next + b * blockBytes)
      next += blocks.length * blockBytes
      tables.add(cuSeqlens[i - 1], 0, length, blocks, false)
    }
    runTables(engine, borrowed, tables, pointers, { heads, kvHeads: heads, headDim, stored: "f32" }, false, scale)
  })
}

/** See Backend.causalAttention; `prepare` must have made room. */
export function runCausalAttention(
  engine: Engine,
  memory: TensorMemory,
  pointers: QkvOut,
  kv: CpuKvCache,
  layer: number,
  sequences: readonly KvSequence[],
  heads: number,
  scale: number,
): void {
  const { kvHeads, headDim, stored } = kv.options
  memory.borrow((borrowed) => {
    const tables = new Tables(engine)
    let row = 0
    for (const { slot, start, length } of sequences) {
      tables.add(row, start, length, kv.layerBlocks(slot, layer), true)
      row += length
    }
    runTables(engine, borrowed, tables, pointers, { heads, kvHeads, headDim, stored }, true, scale)
  })
}
