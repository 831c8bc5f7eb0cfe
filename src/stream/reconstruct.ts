/** reconstruct: compact data, one matrix per type, back into the events of a stream. */

import { IsaacError } from "../errors"
import { type Event, type EventType, eventTokens, Modality, type Rows } from "./event"
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
 * @throws IsaacError `bad_input` when a type is missing or its rows are not exactly those that the events need
 */
export function reconstruct(stream: TensorStream, compact: CompactByType): TensorStream {
  const used: Record<EventType, number> = { image: 0, text: 0, padding: 0 }
  const streams = stream.streams.map(({ events, priority }) => {
    const filled = events.map((event) => {
      const first = used[event.type]
      used[event.type] += eventTokens(event, { partial: false })
      return withRows(event, compact[event.type], first)
    })
    return new Stream(filled, priority)
  })
  for (const type of Object.keys(Modality) as EventType[]) {
    const given = compact[type]?.rows ?? 0
    if (given !== used[type]) {
      throw new IsaacError(
        "bad_input",
        `The stream's ${type} events have ${used[type]} tokens, but ${given} rows were given; ` +
          "give one row for every token of the whole events.",
      )
    }
  }
  return new TensorStream(streams)
}

/** The event with the rows of its kept tokens, where its first token is row `first` of `rows`. */
function withRows(event: Event, rows: Rows | undefined, first: number): Event {
  const [start, end] = event.idxRange
  if (!rows) throw new IsaacError("bad_input", `The stream has ${event.type} events, but no ${event.type} rows came.`)
  if (first + end > rows.rows) {
    throw new IsaacError("bad_input", `${rows.rows} ${event.type} rows are too few: row ${first + end - 1} is needed.`)
  }
  const { width } = rows
  const values = rows.values.slice((first + start) * width, (first + end) * width) // [kept tokens, width]
  return Object.freeze({
    ...event,
    dimsReal: Object.freeze([end - start, 1]),
    data: Object.freeze({ values, rows: end - start, width }),
  })
}
