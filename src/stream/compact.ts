/** Compact data: the rows of many events as one matrix, and where each token finds its row in it. */

import { IsaacError } from "../errors"
import { type EventType, eventTokens, type Rows } from "./event"
import type { TensorStream } from "./tensor-stream"

/**
 * Matrices of one width below each other. Whole numbers stay whole; beside a float matrix they become floats.
 * No matrix at all is 0 rows of width 0.
 *
 * @throws IsaacError `bad_input` when the widths differ
 */
export function concatRows(parts: readonly Rows[]): Rows {
  const width = parts[0]?.width ?? 0
  let rows = 0
  for (const part of parts) {
    if (part.width !== width) {
      throw new IsaacError(
        "bad_input",
        `Rows of width ${width} and ${part.width} cannot be put below each other; group the stream by type first.`,
      )
    }
    rows += part.rows
  }
  const whole = parts.every((part) => part.values instanceof Int32Array)
  const values = whole ? new Int32Array(rows * width) : new Float32Array(rows * width)
  let at = 0
  for (const part of parts) {
    values.set(part.values, at)
    at += part.values.length
  }
  return { values, rows, width }
}

/**
 * For each token, [B·T], the row it takes from the compact data of its own type, where that data has one row for
 * EVERY token of the events (also those that a slice cut off), all streams one after another.
 *
 * This is the map from encoder outputs back into the sequence: embeddings of type m are computed for whole events,
 * then `sequence[b, t] = embeddings[modality[b, t]][tokenRows[b, t]]`.
 */
export function tokenRows(stream: TensorStream): Int32Array {
  const [batch, tokens] = stream.shape
  const rows = new Int32Array(batch * tokens) // [B·T]
  const used: Record<EventType, number> = { image: 0, text: 0, padding: 0 }
  let at = 0
  for (const { events } of stream.streams) {
    for (const event of events) {
      for (let i = event.idxRange[0]; i < event.idxRange[1]; i++) rows[at++] = used[event.type] + i
      used[event.type] += eventTokens(event, { partial: false })
    }
  }
  return rows
}
