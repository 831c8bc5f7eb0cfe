/** Positions: (time, row, column) of every token, the input of the 3D rotary embedding. */

import type { TensorStream } from "./tensor-stream"

/**
 * The stored position ids, [B·T·3].
 *
 * Time runs on from event to event by the event's first token dim (text: its number of tokens; still image: 1);
 * row and column start at 0 in every event, so all tokens of an image share one time and text has row = column = 0.
 *
 * Time starts at 0 with the first event that is left, and a cut event still advances it by its full dim: after a
 * slice that cuts into a text its first position is the number of tokens cut off, not 0.
 */
export function positions(stream: TensorStream): Int32Array {
  const [batch, tokens] = stream.shape
  const out = new Int32Array(batch * tokens * 3) // [B·T·3]
  let at = 0
  for (const { events } of stream.streams) {
    let time = 0
    for (const { dimsVirtual, idxRange } of events) {
      const [steps, rows = 1, columns = 1] = dimsVirtual
      const perStep = rows * columns
      for (let i = idxRange[0]; i < idxRange[1]; i++) {
        out[at++] = time + Math.floor(i / perStep)
        out[at++] = Math.floor(i / columns) % rows
        out[at++] = i % columns
      }
      time += steps
    }
  }
  return out
}
