/** toPlain and fromPlain: a batch as plain objects and typed arrays, which messages between threads can carry. */

import { IsaacError } from "../errors"
import { createEvent, type Event, type EventInit, type EventType, type Rows } from "./event"
import { Stream } from "./stream"
import { TensorStream } from "./tensor-stream"

/** A TensorStream without its classes: survives `structuredClone` and `postMessage`. */
export interface PlainTensorStream {
  readonly streams: readonly { readonly events: readonly Event[]; readonly priority: readonly EventType[] }[]
}

/**
 * The batch as plain data. Arrays are shared, except that a view into a larger buffer is copied out of it.
 *
 * @throws IsaacError `bad_input` for anything else than a TensorStream
 */
export function toPlain(stream: TensorStream): PlainTensorStream {
  if (!(stream instanceof TensorStream)) {
    throw new IsaacError("bad_input", "The tensorStream must be a TensorStream, as the processor returns it.")
  }
  return {
    streams: stream.streams.map(({ events, priority }) => ({
      events: events.map((event) => ({ ...event, data: { ...event.data, values: ownBuffer(event.data.values) } })),
      priority: [...priority],
    })),
  }
}

/**
 * The batch that `toPlain` was given, checked like any input.
 *
 * @throws IsaacError `bad_input` or `not_finite` for anything that is not such a batch
 */
export function fromPlain(plain: PlainTensorStream): TensorStream {
  return new TensorStream(
    list(plain?.streams, "streams").map((stream) => {
      const events = list(stream?.events, "events").map((event) => createEvent(event as EventInit))
      return new Stream(events, list(stream.priority, "priority"))
    }),
  )
}

/** Cloning a view clones all of its buffer, so a view into something larger is cut out first. */
function ownBuffer(values: Rows["values"]): Rows["values"] {
  return values.byteLength === values.buffer.byteLength ? values : values.slice()
}

function list<T>(value: readonly T[] | undefined, what: string): readonly T[] {
  if (!Array.isArray(value)) throw new IsaacError("bad_input", `A plain TensorStream needs a list of ${what}.`)
  return value
}
