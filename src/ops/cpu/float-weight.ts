/** Weights kept as numbers, f32 or bf16, in panels as wide as the kernels' vectors: see kernels/linear.cpp. */

import type { NumberType } from "../backend"
import type { Engine } from "./engine"
import { SOURCE_CODE, STORED_CODE } from "./kernels"
import { balanced, type LinearJob, roundUp } from "./linear-job"
import type { TensorMemory } from "./tensor-memory"

/** Bytes of a number. */
const NUMBER_BYTES = { f32: 4, bf16: 2 } as const

export interface FloatWeight {
  readonly shape: readonly [out: number, in_: number]
  readonly stored: keyof typeof NUMBER_BYTES
  readonly pointer: number
  /** `in` rounded up, with zeros behind it. */
  readonly k: number
}

/** `in` rounded up to what the kernels take. */
export function paddedInner(engine: Engine, inner: number): number {
  return roundUp(inner, engine.sizes.kMultiple)
}

/** Bytes of the whole weight. */
export function floatBytes(
  engine: Engine,
  [out, inner]: readonly [number, number],
  stored: FloatWeight["stored"],
): number {
  return roundUp(out, engine.sizes.panel) * paddedInner(engine, inner) * NUMBER_BYTES[stored]
}

/** Pack rows [rows, in] at the pointer `source` as the weight's rows from `firstRow` on, where a panel begins. */
export function packFloats(
  engine: Engine,
  w: FloatWeight,
  firstRow: number,
  source: number,
  sourceType: NumberType,
  rows: number,
): void {
  const { panel } = engine.sizes
  const panels = Math.ceil(rows / panel)
  engine.run(
    "pack_weight",
    {
      source,
      sourceType: SOURCE_CODE[sourceType],
      target: w.pointer + firstRow * w.k * NUMBER_BYTES[w.stored],
      stored: STORED_CODE[w.stored],
      rows,
      in: w.shape[1],
      k: w.k,
    },
    panels,
    panels * panel * w.k * 8,
  )
}

/** Rows of the table → out [count, in]; `ids` is a pointer. */
export function embedFloats(engine: Engine, w: FloatWeight, ids: number, count: number, out: number): void {
  const inner = w.shape[1]
  const args = { ids, weight: w.pointer, stored: STORED_CODE[w.stored], in: inner, k: w.k, out }
  engine.run("embed", args, count, count * inner * 4)
}

/** Bytes of packed activations that stay in a core's second cache beside the panel they are multiplied with. */
const BLOCK_BYTES = 320 << 10
/** Longest run along K of one pass, so that a panel's part does too. */
const BLOCK_K = 2048

/** See LinearJob: a block of rows and a run along K at a time. */
export function multiplyFloats(engine: Engine, memory: TensorMemory, w: FloatWeight, job: LinearJob): void {
  const { x, out, bias, residual, activation, rows } = job
  const [N, K] = w.shape
  const { panel, tileRows, linearRows, kMultiple } = engine.sizes
  const panels = Math.ceil(N / panel)
  const small = rows * w.k * 4 <= BLOCK_BYTES
  const kBlock = small ? w.k : roundUp(w.k / Math.ceil(w.k / BLOCK_K), kMultiple)
  const fitting = Math.floor(BLOCK_BYTES / (4 * Math.max(1, kBlock)))
  const rowBlock = balanced(rows, Math.min(linearRows, Math.max(fitting, tileRows)), tileRows)
  memory.borrow(({ bytes }) => {
    // A single row needs no packing if it needs no padding.
    const packs = rows > 1 || K !== w.k
    const packed = packs ? bytes(rowBlock * w.k * 4, "linear: packed activations") : x
    for (let first = 0; first < rows; first += rowBlock) {
      const count = Math.min(rowBlock, rows - first)
      if (packs) {
        const tiles = Math.ceil(count / tileRows)
        const source = x + first * K * 4
        engine.run("pack_rows", { x: source, target: packed, rows: count, in: K, k: w.k }, tiles, count * K * 4)
      }
      // Once for rows without numbers as well: a bias may be there.
      for (let kStart = 0, kEnd = -1; kEnd < w.k; kStart = kEnd) {
        kEnd = Math.min(kStart + kBlock, w.k)
        engine.run(
          "linear",
          {
            x: packed,
            weight: w.pointer,
            stored: STORED_CODE[w.stored],
            out: out + first * N * 4,
            bias,
            residual: residual && residual + first * N * 4,
            activation,
            rows: count,
            columns: N,
            k: w.k,
            kStart,
            kEnd,
          },
          panels,
          2 * count * panels * panel * (kEnd - kStart),
        )
      }
    }
  })
}
