/** Weight matrices packed in panels for the kernels, see kernels/linear.cpp; and the products with them. */

import { IsaacError } from "../../errors"
import type { NumberType, StoredType, Weight } from "../backend"
import { checkWeightShape, formatShape, SOURCE_BYTES } from "../op-shapes"
import { Allocator } from "./allocator"
import type { Engine } from "./engine"
import { SOURCE_CODE, STORED_CODE } from "./kernels"
import type { TensorMemory } from "./tensor-memory"

/** Bytes of one number, for each storage type there is a kernel for. */
const STORED_BYTES = { f32: 4, bf16: 2 } as const
type Packable = keyof typeof STORED_BYTES

/** The storage types there are. */
export const STORED = Object.keys(STORED_BYTES) as Packable[]

/** Bytes of a checkpoint's matrix that are copied in at a time while packing. */
const CHUNK_BYTES = 8 << 20

export class CpuWeight implements Weight {
  live = true

  constructor(
    readonly shape: readonly [number, number],
    readonly stored: Packable,
    readonly bytes: number,
    readonly pointer: number,
    /** `in` rounded up, with zeros behind it. */
    readonly k: number,
    readonly memory: TensorMemory,
  ) {}

  /** What the kernels call the storage type. */
  get code(): number {
    return STORED_CODE[this.stored]
  }
}

/** A new weight whose numbers are yet to be written: `write` does it; if it throws, there is no weight. */
export function createWeight(
  engine: Engine,
  memory: TensorMemory,
  op: string,
  [out, inner]: readonly [number, number],
  stored: StoredType,
  write: (w: CpuWeight) => void,
): CpuWeight {
  memory.checkOpen(op)
  checkWeightShape(op, [out, inner])
  if (!isPackable(stored)) {
    throw new IsaacError(
      "unsupported",
      `${op}: the ${engine.name} backend does not keep weights as ${stored}; it has ${STORED.join(", ")}`,
    )
  }
  const { panel, kMultiple } = engine.sizes
  const k = roundUp(inner, kMultiple)
  const bytes = Allocator.rounded(Math.ceil(out / panel) * k * panel * STORED_BYTES[stored])
  const pointer = memory.allocator.allocate(bytes, `${op}: a weight ${formatShape([out, inner])}`)
  const w = new CpuWeight([out, inner], stored, bytes, pointer, k, memory)
  try {
    write(w)
  } catch (error) {
    memory.allocator.free(pointer)
    throw error
  }
  return w
}

/** See Backend.writeWeight; what is given was checked. */
export function writeWeight(
  engine: Engine,
  memory: TensorMemory,
  w: CpuWeight,
  firstRow: number,
  source: Uint8Array,
  sourceType: NumberType,
): void {
  const [, inner] = w.shape
  const { panel } = engine.sizes
  const rowBytes = inner * SOURCE_BYTES[sourceType]
  const panelBytes = w.k * panel * STORED_BYTES[w.stored]
  const rows = rowBytes === 0 ? 0 : source.byteLength / rowBytes
  const step = Math.max(1, Math.floor(CHUNK_BYTES / Math.max(1, rowBytes * panel))) * panel
  memory.borrow(({ bytes }) => {
    const chunk = bytes(Math.min(step, rows) * rowBytes, "writeWeight: rows to pack")
    for (let first = 0; first < rows; first += step) {
      const count = Math.min(step, rows - first)
      const panels = Math.ceil(count / panel)
      engine.bytes(chunk, count * rowBytes).set(source.subarray(first * rowBytes, (first + count) * rowBytes))
      engine.run(
        "pack_weight",
        {
          source: chunk,
          sourceType: SOURCE_CODE[sourceType],
          target: w.pointer + ((firstRow + first) / panel) * panelBytes,
          stored: w.code,
          rows: count,
          in: inner,
          k: w.k,
        },
        panels,
        panels * panel * w.k * 8,
      )
    }
  })
}

function isPackable(stored: StoredType): stored is Packable {
  return Object.hasOwn(STORED_BYTES, stored)
}

/** Pointers and sizes of out [rows, N] = activation(x [rows, K] · Wᵀ + bias) + residual; 0 for what there is not. */
export interface LinearJob {
  readonly x: number
  readonly w: CpuWeight
  readonly out: number
  readonly bias: number
  readonly residual: number
  readonly activation: number
  readonly rows: number
}

/** Bytes of packed activations that stay in a core's second cache beside the panel they are multiplied with. */
const BLOCK_BYTES = 320 << 10
/** Longest run along K of one pass, so that a panel's part does too. */
const BLOCK_K = 2048

/** Multiply, a block of rows and a run along K at a time. */
export function runLinear(engine: Engine, memory: TensorMemory, job: LinearJob): void {
  const { x, w, out, bias, residual, activation, rows } = job
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
      for (let kStart = 0; kStart < w.k; kStart += kBlock) {
        const kEnd = Math.min(kStart + kBlock, w.k)
        engine.run(
          "linear",
          {
            x: packed,
            weight: w.pointer,
            stored: w.code,
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

function roundUp(n: number, multiple: number): number {
  return Math.ceil(n / multiple) * multiple
}

/** The size of blocks of at most `most` that differ least; a multiple of `unit`, unless one block takes all. */
function balanced(n: number, most: number, unit: number): number {
  if (n <= most) return n
  return Math.min(roundUp(n / Math.ceil(n / most), unit), Math.max(unit, most - (most % unit)))
}
