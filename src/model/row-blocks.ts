/** A checkpoint's matrix in blocks of rows: a table of a gigabyte is never in memory whole. */

import { IsaacError } from "../errors"
import { isPackedSource, type NumberType } from "../ops/backend"
import type { Checkpoint } from "../weights/checkpoint"

/** Rows first … first+rows-1 of a matrix, as the checkpoint stores them. */
export interface RowBlock {
  readonly first: number
  readonly rows: number
  readonly bytes: Uint8Array
}

/** About so many bytes are read, checked and packed at a time. */
export const BLOCK_BYTES = 16 << 20

/**
 * All rows of a matrix, or all of a tensor of any shape as one row after another. Each block begins at a multiple of
 * `multiple` rows. Numbers are checked here, packed ones by the backend that takes them.
 *
 * Throws not_finite naming the element, aborted (looked at before each block), and what the source throws.
 */
export async function* rowBlocks(
  checkpoint: Checkpoint,
  name: string,
  multiple: number,
  signal?: AbortSignal,
  blockBytes = BLOCK_BYTES,
): AsyncGenerator<RowBlock, void> {
  const { shape, bytes, dtype } = checkpoint.tensors.get(name)!
  const rows = shape[0] ?? 1
  const groups = Math.ceil(rows / multiple)
  // Packed matrices are stored by such groups, the last one filled up.
  const isPacked = isPackedSource(dtype)
  const groupBytes = isPacked ? bytes / groups : (bytes / rows) * multiple
  const step = Math.max(1, Math.floor(blockBytes / groupBytes))
  for (let group = 0; group < groups; group += step) {
    if (signal?.aborted) {
      throw new IsaacError("aborted", `reading ${checkpoint.name} was stopped in ${name}`, { cause: signal.reason })
    }
    const first = group * multiple
    const offset = group * groupBytes
    const length = Math.min(step * groupBytes, bytes - offset)
    const block = await checkpoint.readPart(name, offset, length)
    if (!isPacked) requireFinite(checkpoint.name, name, block, dtype as NumberType, offset)
    yield { first, rows: Math.min(step * multiple, rows - first), bytes: block }
  }
}

/** A NaN or infinity in a weight spoils every answer; its exponent bits are all ones in each format. */
export function requireFinite(
  checkpoint: string,
  name: string,
  bytes: Uint8Array,
  source: NumberType,
  /** Where in the tensor these bytes begin. */
  offset = 0,
): void {
  const width = source === "F32" ? 4 : 2
  const aligned = bytes.byteOffset % width === 0 ? bytes : bytes.slice()
  const { buffer, byteOffset, byteLength } = aligned
  const words =
    width === 4
      ? new Uint32Array(buffer, byteOffset, byteLength / 4)
      : new Uint16Array(buffer, byteOffset, byteLength / 2)
  const ones = source === "F32" ? 0x7f800000 : source === "BF16" ? 0x7f80 : 0x7c00
  for (let i = 0; i < words.length; i++) {
    if ((words[i] & ones) === ones) {
      throw new IsaacError(
        "not_finite",
        `${checkpoint}: element ${offset / width + i} of ${name} is not a finite number. The checkpoint is damaged; ` +
          "download it again.",
      )
    }
  }
}
