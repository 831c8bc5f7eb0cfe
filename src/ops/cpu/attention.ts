/** Key/value blocks in an engine's memory, and the tables that tell the attention kernels what to do with them. */

import type { KvCache, KvNumbers, KvOptions, KvSequence } from "../backend"
import { KvBlockTable } from "../kv-blocks"
import type { Engine } from "./engine"
import { STORED_CODE } from "./kernels"
import type { Borrowed, TensorMemory } from "./tensor-memory"

const NUMBER_BYTES = { f32: 4, bf16: 2 } as const

/** Bytes of one layer of a block, see kernels/attention.cpp. */
function layerBytes(engine: Engine, kvHeads: number, headDim: number, stored: "f32" | "bf16"): number {
  return kvHeads * 2 * headDim * engine.sizes.kvBlock * NUMBER_BYTES[stored]
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
    this.layerBytes = layerBytes(engine, kvHeads, headDim, stored)
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
    const size = 2 * length * kvHeads * headDim
    const out = stored === "f32" ? new Float32Array(size) : new Uint16Array(size)
    this.forTokens(slot, layer, length, (block, inBlock, at) => {
      for (let i = 0; i < headDim; i++) {
        out[at.key + i] = block[inBlock.key + i * inBlock.keyStep]
        out[at.value + i] = block[inBlock.value + i]
      }
    })
    return out
  }

  /** See Backend.kvImport. */
  import(slot: number, layer: number, numbers: KvNumbers, length: number): void {
    const { headDim } = this.options
    this.prepare([{ slot, start: 0, length }])
    this.forTokens(slot, layer, length, (block, inBlock, at) => {
      for (let i = 0; i < headDim; i++) {
        block[inBlock.key + i * inBlock.keyStep] = numbers[at.key + i]
        block[inBlock.value + i] = numbers[at.value + i]
      }
    })
  }

  /**
   * Visit each head of positions 0 … length-1: where its key and its value lie in a block, and where in
   * [2, length, kvHeads, headDim]. A block has keys [headDim, kvBlock], then values [kvBlock, headDim], for each head.
   */
  private forTokens(
    slot: number,
    layer: number,
    length: number,
    visit: (
      block: KvNumbers,
      inBlock: { readonly key: number; readonly keyStep: number; readonly value: number },
      at: { readonly key: number; readonly value: number },
    ) => void,
  ): void {
    const { kvHeads, headDim, stored } = this.options
    const { kvBlock } = this.engine.sizes
    for (const [i, pointer] of this.layerBlocks(slot, layer).entries()) {
      const { buffer, byteOffset, byteLength } = this.engine.bytes(pointer, this.layerBytes)
      const count = byteLength / NUMBER_BYTES[stored]
      const block =
        stored === "f32" ? new Float32Array(buffer, byteOffset, count) : new Uint16Array(buffer, byteOffset, count)
      const tokens = Math.min(kvBlock, length - i * kvBlock)
      for (let head = 0; head < kvHeads; head++) {
        const keys = head * 2 * headDim * kvBlock
        const values = keys + headDim * kvBlock
        for (let token = 0; token < tokens; token++) {
          const row = ((i * kvBlock + token) * kvHeads + head) * headDim
          visit(
            block,
            { key: keys + token, keyStep: kvBlock, value: values + token * headDim },
            { key: row, value: row + length * kvHeads * headDim },
          )
        }
      }
    }
  }

  /** Pointers to one layer of the slot's blocks, in the order of its positions. */
  layerBlocks(slot: number, layer: number): number[] {
    return this.table.blocks(slot).map((id) => this.blocks.get(id)! + layer * this.layerBytes)
  }
}

/** What the kernels are told, gathered sequence by sequence. */
class Tables {
  /** row, count, offset, block: rows of k and v that go to a block. */
  readonly writes: number[] = []
  /** row, count, position, context, blocks: neighbouring queries; for `attend` and for `attend_few`. */
  readonly many: number[] = []
  readonly few: number[] = []
  readonly blocks: number[] = []
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
      const target = few ? this.few : this.many
      target.push(row + i, count, start + i, context, this.blocks.length)
      this.scores += count * context
    }
    for (const block of blocks) this.blocks.push(block)
  }
}

interface Heads {
  readonly heads: number
  readonly kvHeads: number
  readonly headDim: number
  readonly stored: "f32" | "bf16"
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
  for (const kernel of ["attend", "attend_few"] as const) {
    const rows = kernel === "attend" ? tables.many : tables.few
    const queryCount = rows.length / 5
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
      },
      queryCount * (kernel === "attend" ? heads : kvHeads),
      work,
    )
  }
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
  const blockBytes = layerBytes(engine, heads, headDim, "f32")
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
