/** The token view: one number per token, [B, T]. */

import { IsaacError } from "../errors"
import { describeEvent, type Event } from "./event"
import type { TensorStream } from "./tensor-stream"

/**
 * One number per token, [B·T]: the id of a text or padding token; for an image token the sum of a patch vector,
 * cut to a whole number.
 *
 * An image's numbers are not ids (they may be negative) and nothing embeds them; they exist so that prompts can be
 * compared with the reference implementation. They are read from patches idxRange[0] .. idxRange[1] although
 * idxRange counts tokens, so with pixel shuffle 2 only the first quarter of the patches is ever seen. The sum is
 * taken in double precision: where the reference's float32 sum crosses a whole number the two differ by one.
 *
 * @throws IsaacError `bad_input` for an event with fewer rows of data than tokens (such as one made by `reconstruct`)
 */
export function tokenView(stream: TensorStream): Int32Array {
  const [batch, tokens] = stream.shape
  const view = new Int32Array(batch * tokens) // [B·T]
  let at = 0
  for (const { events } of stream.streams) {
    for (const event of events) at = writeTokens(event, view, at)
  }
  return view
}

function writeTokens(event: Event, view: Int32Array, at: number): number {
  const { values, rows, width } = event.data
  const [start, end] = event.idxRange
  if (end > rows) {
    throw new IsaacError(
      "bad_input",
      `${describeEvent(event)} keeps tokens [${start}, ${end}) but has only ${rows} rows of data; ` +
        "take the token view of the stream as it was before its data was replaced.",
    )
  }
  for (let row = start; row < end; row++) {
    let sum = 0
    for (let i = row * width; i < (row + 1) * width; i++) sum += values[i]
    view[at++] = Math.trunc(sum)
  }
  return at
}
