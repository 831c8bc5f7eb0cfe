/** Grouping one stream by a key, and merging several streams into one. */

import { IsaacError } from "../errors"
import type { Event, EventType } from "./event"
import { Stream } from "./stream"

/** The two modalities: images are "vision", text and padding are "text". */
export function modalityOf(event: Pick<Event, "type">): "vision" | "text" {
  return event.type === "image" ? "vision" : "text"
}

/** The groupings that have a name. */
export interface NamedKeys {
  type: EventType
  modality: ReturnType<typeof modalityOf>
  role: string | null
}

const namedKeys: { readonly [Name in keyof NamedKeys]: (event: Event) => NamedKeys[Name] } = {
  type: (event) => event.type,
  modality: modalityOf,
  role: (event) => event.role,
}

/**
 * Splits a stream into one stream for each key, in the order in which the keys are first seen. Each keeps the
 * priority; its events are scheduled unless `schedule` is false.
 *
 * Keys are compared as those of a Map: for a key of several parts, join them to a string.
 */
export function groupStream<Name extends keyof NamedKeys>(
  stream: Stream,
  by: Name,
  options?: { schedule?: boolean },
): Map<NamedKeys[Name], Stream>
export function groupStream<Key>(
  stream: Stream,
  by: (event: Event) => Key,
  options?: { schedule?: boolean },
): Map<Key, Stream>
export function groupStream(
  stream: Stream,
  by: keyof NamedKeys | ((event: Event) => unknown),
  { schedule = true }: { schedule?: boolean } = {},
): Map<unknown, Stream> {
  const keyOf = typeof by === "function" ? by : Object.hasOwn(namedKeys, by) ? namedKeys[by] : undefined
  if (!keyOf) {
    throw new IsaacError(
      "bad_input",
      `A stream can be grouped by ${Object.keys(namedKeys).join(", ")} or a function, not by "${String(by)}".`,
    )
  }
  const groups = new Map<unknown, Event[]>()
  for (const event of stream.events) {
    const key = keyOf(event)
    const group = groups.get(key)
    if (group) group.push(event)
    else groups.set(key, [event])
  }
  return new Map([...groups].map(([key, events]) => [key, Stream.create(events, stream.priority, { schedule })]))
}

/**
 * All events of several streams in one, scheduled by the longest priority list (the first of several as long).
 *
 * @throws IsaacError `bad_input` when there is no stream, or when a stream's priority is not the longest list with
 *   some types left out
 */
export function mergeStreams(streams: readonly Stream[]): Stream {
  if (streams.length === 0) throw new IsaacError("bad_input", "There is no stream to merge.")
  const { priority } = streams.reduce((best, stream) => (stream.priority.length > best.priority.length ? stream : best))
  for (const stream of streams) {
    const shared = priority.filter((type) => stream.priority.includes(type))
    if (shared.join() !== stream.priority.join()) {
      throw new IsaacError(
        "bad_input",
        `The priority [${stream.priority.join(", ")}] contradicts the merged stream's [${priority.join(", ")}]; ` +
          "give all streams the same order of types.",
      )
    }
  }
  return Stream.create(
    streams.flatMap((stream) => stream.events),
    priority,
  )
}
