/** Making one batch out of several, and streams of different lengths equally long. */

import { IsaacError } from "../errors"
import { createEvent } from "./event"
import { Stream } from "./stream"
import { TensorStream } from "./tensor-stream"

/**
 * One batch of all streams of several batches.
 *
 * @throws IsaacError `bad_input` when their token counts differ (see `padStream`)
 */
export function collate(batches: readonly TensorStream[]): TensorStream {
  return new TensorStream(batches.flatMap((batch) => batch.streams))
}

/**
 * The stream with a padding event at its end, so that it has `tokens` tokens; the stream itself when it has them.
 *
 * Padding ids are embedded like text and attended to; causal attention keeps them from changing what is before.
 *
 * @param id the token id of the padding, 0 by default
 * @throws IsaacError `bad_input` when the stream is longer than `tokens`
 */
export function padStream(stream: Stream, tokens: number, { id = 0 }: { id?: number } = {}): Stream {
  const missing = tokens - stream.tokens
  if (!Number.isInteger(missing) || missing < 0) {
    throw new IsaacError("bad_input", `A stream of ${stream.tokens} tokens cannot be padded to ${tokens}; slice it.`)
  }
  if (missing === 0) return stream
  const end = stream.events.reduce((latest, { time }) => Math.max(latest, time[1]), -1)
  const padding = createEvent({ type: "padding", data: new Array<number>(missing).fill(id), time: end + 1 })
  const priority = stream.priority.includes("padding") ? stream.priority : [...stream.priority, "padding" as const]
  return new Stream([...stream.events, padding], priority)
}
