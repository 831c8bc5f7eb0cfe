/** Attention over packed segments with bfloat16 factors, where the instruction set has it: kernels/attention-bf16.cpp. */

import type { Engine } from "./engine"
import type { TensorMemory } from "./tensor-memory"

export interface PairAttention {
  /** Pointers to [T, heads·headDim]. */
  readonly q: number
  readonly k: number
  readonly v: number
  readonly out: number
  readonly cuSeqlens: Int32Array
  readonly heads: number
  readonly headDim: number
  readonly scale: number
}

export function hasPairAttention(engine: Engine, headDim: number): boolean {
  return engine.sizes.pairBlockBytes(headDim) > 0
}

/** See Backend.varlenAttention. Keys and values go into temporary blocks, each segment into its own. */
export function runPairAttention(
  engine: Engine,
  memory: TensorMemory,
  { q, k, v, out, cuSeqlens, heads, headDim, scale }: PairAttention,
): void {
  const { kvBlock, queryRows } = engine.sizes
  const blockBytes = heads * engine.sizes.pairBlockBytes(headDim)
  let count = 0
  for (let i = 1; i < cuSeqlens.length; i++) count += Math.ceil((cuSeqlens[i] - cuSeqlens[i - 1]) / kvBlock)
  memory.borrow((borrowed) => {
    const purpose = "varlenAttention: tables"
    let block = borrowed.bytes(count * blockBytes, "varlenAttention: keys and values")
    /** row, count, offset, block: rows of k and v that go to a block. */
    const writes: number[] = []
    /** row, count, position, context, blocks, partial: neighbouring queries. */
    const queries: number[] = []
    const blocks: number[] = []
    let scores = 0
    for (let i = 1; i < cuSeqlens.length; i++) {
      const [start, end] = [cuSeqlens[i - 1], cuSeqlens[i]]
      for (let row = start; row < end; row += queryRows) {
        queries.push(row, Math.min(queryRows, end - row), row - start, end - start, blocks.length, -1)
      }
      for (let row = start; row < end; row += kvBlock) {
        writes.push(row, Math.min(kvBlock, end - row), 0, block)
        blocks.push(block)
        block += blockBytes
      }
      scores += (end - start) ** 2
    }
    engine.run(
      "pack_pairs",
      { k, v, writes: borrowed.doubles(writes, purpose), heads, headDim },
      (writes.length / 4) * heads,
      count * kvBlock * heads * headDim * 4,
    )
    const scratchSize = Math.ceil(engine.sizes.pairScratch(headDim) / 16) * 16
    const queryCount = queries.length / 6
    engine.run(
      "attend_pairs",
      {
        q,
        out,
        queries: borrowed.ints(Int32Array.from(queries), purpose),
        queryCount,
        blocks: borrowed.doubles(blocks, purpose),
        heads,
        headDim,
        scale,
        scratch: borrowed.bytes(engine.threadNumbers * scratchSize * 4, "varlenAttention: scratch memory"),
        scratchSize,
      },
      queryCount * heads,
      // Two products of pairs take the time of one of floats.
      scores * heads * (2 * headDim + 10),
    )
  })
}
