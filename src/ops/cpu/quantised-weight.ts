/** Weights kept as q8 or q4, in the panels of q8-layout.ts and q4-layout.ts: see kernels/q8.cpp and kernels/q4.cpp. */

import type { NumberType } from "../backend"
import { damagedPanels } from "../op-shapes"
import { PACKED, type PackedType } from "../packed-layout"
import { Q8_PANEL } from "../q8-layout"
import type { Engine } from "./engine"
import { SOURCE_CODE } from "./kernels"
import { balanced, type LinearJob } from "./linear-job"
import type { TensorMemory } from "./tensor-memory"

export interface QuantisedWeight {
  readonly shape: readonly [out: number, in_: number]
  readonly stored: PackedType
  readonly pointer: number
}

/** The kernels of a type; those of one column take the same arguments. */
const KERNELS_OF = {
  q8: { pack: "pack_q8", check: "check_q8", embed: "embed_q8", linear: "linear_q8" },
  q4: { pack: "pack_q4", check: "check_q4", embed: "embed_q4", linear: "linear_q4" },
} as const

/** Where the panel that begins with this row lies. */
function panelAt(w: QuantisedWeight, row: number): number {
  return w.pointer + (row / Q8_PANEL) * PACKED[w.stored].panelBytes(w.shape[1])
}

/** Quantise rows [rows, in] at the pointer `source` as the weight's rows from `firstRow` on, where a panel begins. */
export function packPanels(
  engine: Engine,
  w: QuantisedWeight,
  firstRow: number,
  source: number,
  sourceType: NumberType,
  rows: number,
): void {
  const inner = w.shape[1]
  const panels = Math.ceil(rows / Q8_PANEL)
  const args = { source, sourceType: SOURCE_CODE[sourceType], target: panelAt(w, firstRow), rows, in: inner }
  engine.run(KERNELS_OF[w.stored].pack, args, panels, panels * Q8_PANEL * inner * 20)
}

/**
 * Take over panels from a file, the first of which holds `firstRow`. Throws bad_input, not_finite for what no packing
 * has made; then these panels are zeros.
 */
export function writePanels(
  engine: Engine,
  memory: TensorMemory,
  w: QuantisedWeight,
  firstRow: number,
  panels: Uint8Array,
): void {
  const inner = w.shape[1]
  if (panels.byteLength === 0) return
  const target = panelAt(w, firstRow)
  const count = panels.byteLength / PACKED[w.stored].panelBytes(inner)
  engine.bytes(target, panels.byteLength).set(panels)
  try {
    checkPanels(engine, memory, w, target, count)
  } catch (error) {
    engine.bytes(target, panels.byteLength).fill(0)
    throw error
  }
}

/** Throws bad_input, not_finite for panels, `count` of them at `start`, that no packing has made. */
export function checkPanels(
  engine: Engine,
  memory: TensorMemory,
  { stored, shape: [, inner] }: QuantisedWeight,
  start: number,
  count: number,
): void {
  memory.borrow(({ bytes }) => {
    const flags = bytes(count * 4, "a flag for each panel")
    const work = count * PACKED[stored].panelBytes(inner)
    engine.run(KERNELS_OF[stored].check, { weight: start, flags, in: inner }, count, work)
    const found = engine.ints(flags, count).reduce((all, flag) => all | flag, 0)
    if (found !== 0) throw damagedPanels(stored, found & 2 ? "not_finite" : "bad_input")
  })
}

/** Rows of the table → out [count, in]; `ids` is a pointer. */
export function embedQuantised(engine: Engine, w: QuantisedWeight, ids: number, count: number, out: number): void {
  const inner = w.shape[1]
  engine.run(KERNELS_OF[w.stored].embed, { ids, weight: w.pointer, in: inner, out }, count, count * inner * 6)
}

/** Bytes of quantised activations that stay in a core's second cache beside the panel they are multiplied with. */
const BLOCK_BYTES = 480 << 10
/** Most rows of a block. */
const BLOCK_ROWS = 256

/** See LinearJob: a block of rows at a time. */
export function multiplyQuantised(engine: Engine, memory: TensorMemory, w: QuantisedWeight, job: LinearJob): void {
  const { x, out, bias, residual, activation, rows } = job
  const [N, K] = w.shape
  const { q8TileRows } = engine.sizes
  const rowBytes = engine.sizes.q8RowBytes(K)
  const panels = Math.ceil(N / Q8_PANEL)
  const fitting = Math.floor(BLOCK_BYTES / Math.max(1, rowBytes))
  const rowBlock = balanced(rows, Math.min(BLOCK_ROWS, Math.max(fitting, q8TileRows)), q8TileRows)
  memory.borrow(({ bytes }) => {
    const quantised = bytes(rowBlock * rowBytes, "linear: quantised activations")
    for (let first = 0; first < rows; first += rowBlock) {
      const count = Math.min(rowBlock, rows - first)
      const tiles = Math.ceil(count / q8TileRows)
      engine.run("quantise_rows", { x: x + first * K * 4, target: quantised, rows: count, in: K }, tiles, count * K * 4)
      engine.run(
        KERNELS_OF[w.stored].linear,
        {
          x: quantised,
          weight: w.pointer,
          out: out + first * N * 4,
          bias,
          residual: residual && residual + first * N * 4,
          activation,
          rows: count,
          columns: N,
          in: K,
        },
        panels,
        // Four whole numbers take the time of one float.
        (2 * count * panels * Q8_PANEL * K) / 4,
      )
    }
  })
}
