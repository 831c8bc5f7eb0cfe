/** Weight matrices packed in panels for the kernels. What depends on the storage type is in its own file. */

import { IsaacError } from "../../errors"
import type { FilePlace, NumberType, SourceType, StoredType, Weight } from "../backend"
import { checkWeightShape, formatShape, SOURCE_BYTES } from "../op-shapes"
import { isPacked, type PackedSource, packedBytes, packedTypeOf } from "../packed-layout"
import { Q8_PANEL } from "../q8-layout"
import { Allocator } from "./allocator"
import type { Engine } from "./engine"
import { embedFloats, type FloatWeight, floatBytes, multiplyFloats, packFloats, paddedInner } from "./float-weight"
import type { LinearJob } from "./linear-job"
import type { MappedFiles } from "./mapped-files"
import {
  checkPanels,
  embedQuantised,
  multiplyQuantised,
  packPanels,
  type QuantisedWeight,
  writePanels,
} from "./quantised-weight"
import type { TensorMemory } from "./tensor-memory"

/** The storage types there are. */
export const STORED = ["f32", "bf16", "q8", "q4"] as const

/** Bytes of a checkpoint's matrix that are copied in at a time while packing. */
const CHUNK_BYTES = 8 << 20

export class CpuWeight implements Weight {
  live = true

  constructor(
    readonly shape: readonly [number, number],
    readonly stored: (typeof STORED)[number],
    readonly bytes: number,
    readonly pointer: number,
    /** `in` rounded up for f32 and bf16. */
    readonly k: number,
    readonly memory: TensorMemory,
    /** Of the file in which the panels lie; undefined where they are in memory of their own. */
    readonly file?: string,
  ) {}
}

function isQuantised(w: CpuWeight): w is CpuWeight & QuantisedWeight {
  return isPacked(w.stored)
}

function isFloat(w: CpuWeight): w is CpuWeight & FloatWeight {
  return !isPacked(w.stored)
}

/** A new weight whose numbers are yet to be written: `write` does it; if it throws, there is no weight. */
export function createWeight(
  engine: Engine,
  memory: TensorMemory,
  op: string,
  size: readonly [number, number],
  stored: StoredType,
  write: (w: CpuWeight) => void,
): CpuWeight {
  memory.checkOpen(op)
  checkWeightShape(op, size)
  const type = STORED.find((known) => known === stored)
  if (type === undefined) {
    throw new IsaacError(
      "unsupported",
      `${op}: the ${engine.name} backend does not keep weights as ${stored}; it has ${STORED.join(", ")}`,
    )
  }
  const shape = [size[0], size[1]] as const
  const bytes = Allocator.rounded(isPacked(type) ? packedBytes(shape, type) : floatBytes(engine, shape, type))
  const pointer = memory.allocator.allocate(bytes, `${op}: a weight ${formatShape(shape)}`)
  try {
    const w = new CpuWeight(shape, type, bytes, pointer, paddedInner(engine, shape[1]), memory)
    write(w)
    return w
  } catch (error) {
    memory.allocator.free(pointer)
    throw error
  }
}

/** See Backend.mapWeight. */
export function mapWeight(
  engine: Engine,
  memory: TensorMemory,
  files: MappedFiles,
  place: FilePlace,
  source: PackedSource,
  size: readonly [number, number],
): CpuWeight {
  memory.checkOpen("mapWeight")
  checkWeightShape("mapWeight", size)
  const shape = [size[0], size[1]] as const
  const stored = packedTypeOf(source)!
  const bytes = packedBytes(shape, stored)
  if (place.offset % 64 !== 0 || place.offset + bytes > place.fileBytes) {
    throw new IsaacError(
      "bad_input",
      `mapWeight: panels of ${formatShape(shape)} take ${bytes} bytes from a multiple of 64 on; there is no room for them at ` +
        `byte ${place.offset} of ${place.path}, which has ${place.fileBytes}`,
    )
  }
  const pointer = files.open(place)
  const w = new CpuWeight(shape, stored, bytes, pointer, shape[1], memory, place.path)
  try {
    checkPanels(engine, memory, w as CpuWeight & QuantisedWeight, pointer, Math.ceil(shape[0] / Q8_PANEL))
    return w
  } catch (error) {
    files.close(place.path)
    throw error
  }
}

/** See Backend.writeWeight; what is given was checked, but for the content of panels. */
export function writeWeight(
  engine: Engine,
  memory: TensorMemory,
  w: CpuWeight,
  firstRow: number,
  source: Uint8Array,
  sourceType: SourceType,
): void {
  if (isQuantised(w) && packedTypeOf(sourceType) !== undefined) {
    writePanels(engine, memory, w, firstRow, source)
    return
  }
  const numbers = sourceType as NumberType
  const rowBytes = w.shape[1] * SOURCE_BYTES[numbers]
  const rows = rowBytes === 0 ? 0 : source.byteLength / rowBytes
  // A multiple of every panel's outputs.
  const step = Math.max(1, Math.floor(CHUNK_BYTES / Math.max(1, rowBytes * Q8_PANEL))) * Q8_PANEL
  memory.borrow(({ bytes }) => {
    const chunk = bytes(Math.min(step, rows) * rowBytes, "writeWeight: rows to pack")
    for (let first = 0; first < rows; first += step) {
      const count = Math.min(step, rows - first)
      engine.bytes(chunk, count * rowBytes).set(source.subarray(first * rowBytes, (first + count) * rowBytes))
      if (isFloat(w)) packFloats(engine, w, firstRow + first, chunk, numbers, count)
      else if (isQuantised(w)) packPanels(engine, w, firstRow + first, chunk, numbers, count)
    }
  })
}

/** Rows of the table → out [count, in]; `ids` is a pointer. */
export function runEmbed(engine: Engine, w: CpuWeight, ids: number, count: number, out: number): void {
  if (isFloat(w)) embedFloats(engine, w, ids, count, out)
  else if (isQuantised(w)) embedQuantised(engine, w, ids, count, out)
}

export function runLinear(engine: Engine, memory: TensorMemory, w: CpuWeight, job: LinearJob): void {
  if (isFloat(w)) multiplyFloats(engine, memory, w, job)
  else if (isQuantised(w)) multiplyQuantised(engine, memory, w, job)
}
