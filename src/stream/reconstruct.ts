/** reconstruct: compact data, one matrix per type, back into the events of a stream. */

import { IsaacError } from "../errors"
import { createEvent, type Event, type EventType, eventTokens, Modality, type Rows } from "./event"
import { Stream } from "./stream"
import { TensorStream } from "./tensor-stream"

/** One matrix for each type, with a row for every token of every event of that type, also of those cut off. */
export type CompactByType = Readonly<Partial<Record<EventType, Rows>>>

/**
 * The stream with its data replaced: `compact` has what some encoder made of the whole events (one row per token of
 * `dimsVirtual`, all streams one after another), and each event gets the rows of the tokens that it keeps.
 *
 * Afterwards `data` has one row per KEPT token and `dimsReal` is [kept tokens, 1]; `compact()` of the result is the
 * sequence [B, T, width]. Slice first and reconstruct last: a later slice would not cut the new data.
 *
 * @throws IsaacError `bad_input` when the rows of a type are more or fewer than its events need
 */
export function reconstruct(stream: TensorStream, compact: CompactByType): TensorStream {
  // 1. Every type has exactly the rows that its whole events need.
  const tokens: Record<EventType, number> = { image: 0, text: 0, padding: 0 }
  for (const event of stream.events) tokens[event.type] += eventTokens(event, { partial: false })
  for (const type of Object.keys(Modality) as EventType[]) {
    const given = compact[type]?.rows ?? 0
    if (given !== tokens[type]) {
      throw new IsaacError(
        "bad_input",
        `The stream's ${type} events have ${tokens[type]} tokens, but ${given} rows were given; ` +
          "give one row for every token of the whole events.",
      )
    }
  }

  // 2. Hand them out in order, each event keeping the rows of its kept tokens.
  const used: Record<EventType, number> = { image: 0, text: 0, padding: 0 }
  const streams = stream.streams.map(({ events, priority }) => {
    const filled = events.map((event) => {
      const rows = compact[event.type]
      const first = used[event.type]
      used[event.type] += eventTokens(event, { partial: false })
      return rows ? withRows(event, rows, first) : event // without rows the type has no tokens: nothing to replace
    })
    return new Stream(filled, priority)
  })
  return new TensorStream(streams)
}

/** The event with the rows of its kept tokens, where its first token is row `first` of `rows`. */
function withRows(event: Event, { values, width }: Rows, first: number): Event {
  const [start, end] = event.idxRange
  const kept = values.slice((first + start) * width, (first + end) * width) // [kept tokens, width]
  return createEvent({ ...event, dimsReal: [end - start, 1], data: { values: kept, rows: end - start, width } })
}
