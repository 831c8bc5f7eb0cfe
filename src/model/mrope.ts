/**
 * 3D MRoPE: (time, row, column) positions → the cos and sin tables of the rotary embedding.
 *
 * Everything is rounded to float32 in the reference's order. At positions of a few thousand those roundings are the
 * largest part of the angle's error (2e-3 at 40959), so computing "more exactly" would be computing something else.
 */

import { IsaacError } from "../errors"
import { Modality } from "../stream/event"

/** The tables `Backend.rope` takes, both [T, headDim] row-major. */
export interface RopeTables {
  readonly cos: Float32Array
  readonly sin: Float32Array
}

/** Frequencies 1 / theta^(2i/headDim), [headDim/2], each step rounded to float32. */
export function inverseFrequencies(headDim: number, theta: number): Float32Array {
  const out = new Float32Array(headDim / 2)
  for (let i = 0; i < out.length; i++) out[i] = 1 / Math.fround(theta ** Math.fround((2 * i) / headDim))
  return out
}

/**
 * Which position axis each of the headDim/2 frequencies turns with: headDim/4 with time, then headDim/8 with the row,
 * then headDim/8 with the column. The blocks are consecutive and frequencies keep their index.
 */
export function frequencyAxes(headDim: number): Uint8Array {
  const axes = new Uint8Array(headDim / 2)
  axes.fill(1, headDim / 4, headDim / 4 + headDim / 8)
  axes.fill(2, headDim / 4 + headDim / 8)
  return axes
}

/**
 * cos and sin of T tokens.
 *
 * @param positions [T·3] stored (time, row, column) ids
 * @param modality [T] modality mask: every token that is not an image's turns with its time on all three axes
 * @param frequencies [headDim/2] from `inverseFrequencies`
 */
export function ropeTables(positions: Int32Array, modality: Int32Array, frequencies: Float32Array): RopeTables {
  const tokens = modality.length
  if (positions.length !== 3 * tokens) {
    throw new IsaacError("bad_input", `${positions.length} position ids for ${tokens} tokens; each needs 3`)
  }
  const half = frequencies.length
  const headDim = 2 * half
  const axes = frequencyAxes(headDim)
  const cos = new Float32Array(tokens * headDim) // [T, headDim]
  const sin = new Float32Array(tokens * headDim) // [T, headDim]
  for (let t = 0; t < tokens; t++) {
    const image = modality[t] === Modality.image
    for (let i = 0; i < half; i++) {
      const position = positions[3 * t + (image ? axes[i] : 0)]
      const angle = Math.fround(Math.fround(position) * frequencies[i])
      const at = t * headDim + i
      // Rotate-half layout: both halves of a head turn by the same angles.
      cos[at] = cos[at + half] = Math.cos(angle)
      sin[at] = sin[at + half] = Math.sin(angle)
    }
  }
  return { cos, sin }
}

/** Position ids of `length` tokens without a stream (ids only, decode steps): (p, p, p) from `first` on, [length·3]. */
export function plainPositions(first: number, length: number): Int32Array {
  return Int32Array.from({ length: 3 * length }, (_, i) => first + Math.floor(i / 3))
}

/**
 * rope_delta: how far positions have run away from token counts. A token at cache index c gets position c + delta on
 * all axes, so the first generated one goes to 1 + the largest id on any axis (a wide image's last column, maybe).
 *
 * @param largest the largest position id of the sequence so far, over all three axes
 * @param length its tokens
 */
export function ropeDelta(largest: number, length: number): number {
  return largest + 1 - length
}
