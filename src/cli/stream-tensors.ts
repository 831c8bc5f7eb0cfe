/** The discrete side of a trace: what a stream's views and images are, before the model sees them. */

import type { Event, TensorData, TensorStream } from "../internal"

/** input_ids, modality, position_ids and, with images, their grids, kept ranges and exact patch sums. */
export function streamTensors(stream: TensorStream): Record<string, TensorData> {
  const [batch, tokens] = stream.shape
  const tensors: Record<string, TensorData> = {
    input_ids: integers(stream.tokenView(), [batch, tokens]),
    modality: integers(stream.modalityMask(), [batch, tokens]),
    position_ids: integers(stream.positions(), [batch, tokens, 3]),
  }
  const images = stream.events.filter(({ type }) => type === "image")
  if (images.length > 0) {
    const grids = images.flatMap(({ dimsReal: [, rows, columns] }) => [rows, columns])
    const ranges = images.flatMap(({ idxRange }) => [...idxRange])
    const sums = images.flatMap(patchSums)
    tensors.token_grids = integers(grids, [images.length, 2])
    tensors.vision_idx_range = integers(ranges, [images.length, 2])
    tensors.patch_sums_f64 = { shape: [sums.length], data: Float64Array.from(sums) }
  }
  return tensors
}

function integers(values: Iterable<number>, shape: readonly number[]): TensorData {
  return { shape, data: BigInt64Array.from(Array.from(values, BigInt)) }
}

/** The sum of every patch in float64: what the token view of an image is the whole part of. */
function patchSums({ data: { values, rows, width } }: Event): number[] {
  return Array.from({ length: rows }, (_, row) => {
    let sum = 0
    for (let i = row * width; i < (row + 1) * width; i++) sum += values[i]
    return sum
  })
}
