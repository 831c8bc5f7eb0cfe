/**
 * Safetensors written as a stream: the header first, from the sizes alone, then tensor after tensor in pieces.
 *
 * Data begins at a multiple of 64 bytes, and so does every tensor whose size is a multiple of 64 (they come first), so
 * that a mapped file can be computed on where it lies. There are no gaps: every reader of safetensors takes the file.
 */

import { IsaacError } from "../errors"
import { ELEMENT_BYTES, type SafetensorsType } from "./safetensors"
import type { ByteSink } from "./sink"

/** A tensor that will be written. */
export interface PlannedTensor {
  readonly name: string
  readonly dtype: SafetensorsType
  readonly shape: readonly number[]
}

export interface SafetensorsLayout {
  /** The tensors in the order of their data. */
  readonly order: readonly PlannedTensor[]
  /** Length and JSON, padded. */
  readonly header: Uint8Array
  /** Of the whole file. */
  readonly bytes: number
}

const ALIGNMENT = 64

export function tensorBytes({ dtype, shape }: PlannedTensor): number {
  return shape.reduce((size, n) => size * n, ELEMENT_BYTES[dtype])
}

/** Where everything will be. Tensors keep their order as far as alignment lets them. */
export function layoutSafetensors(
  tensors: readonly PlannedTensor[],
  metadata: Readonly<Record<string, string>> = {},
): SafetensorsLayout {
  const width = (tensor: PlannedTensor) =>
    tensorBytes(tensor) % ALIGNMENT === 0 ? ALIGNMENT : ELEMENT_BYTES[tensor.dtype]
  const order = [...tensors].sort((a, b) => width(b) - width(a)) // stable
  const entries: Record<string, unknown> = Object.keys(metadata).length > 0 ? { __metadata__: metadata } : {}
  let end = 0
  for (const tensor of order) {
    const start = end
    end += tensorBytes(tensor)
    entries[tensor.name] = { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [start, end] }
  }
  const json = new TextEncoder().encode(JSON.stringify(entries))
  const header = new Uint8Array(Math.ceil((8 + json.byteLength) / ALIGNMENT) * ALIGNMENT).fill(0x20)
  new DataView(header.buffer).setBigUint64(0, BigInt(header.byteLength - 8), true)
  header.set(json, 8)
  return { order, header, bytes: header.byteLength + end }
}

/**
 * Write one file. `pieces` gives the bytes of a tensor in order, in pieces of any size; it is asked for one tensor after
 * another. Throws internal when a tensor's pieces are not as long as was planned, and what the sink throws.
 */
export async function writeSafetensors(
  sink: ByteSink,
  { order, header }: Pick<SafetensorsLayout, "order" | "header">,
  pieces: (name: string) => AsyncIterable<Uint8Array>,
): Promise<void> {
  await sink.write(header)
  for (const tensor of order) {
    let written = 0
    for await (const piece of pieces(tensor.name)) {
      await sink.write(piece)
      written += piece.byteLength
    }
    if (written !== tensorBytes(tensor)) {
      throw new IsaacError(
        "internal",
        `${sink.name}: ${tensor.name} came as ${written} bytes, ${tensorBytes(tensor)} were planned`,
      )
    }
  }
}
