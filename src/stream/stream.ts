/** Stream: an ordered list of events, one sample of a batch. */

import { IsaacError } from "../errors"
import { concatRows } from "./compact"
import { checkEvent, createEvent, type Event, type EventType, eventTokens, isEventType, type Rows } from "./event"
import { scheduleEvents } from "./schedule"

/** The fields of an event that a `map` changes; nothing (undefined) keeps the event as it is. */
export type EventChanges = Partial<Event> | undefined

/** An immutable, ordered list of events and the priority of their types where they overlap in time. */
export class Stream {
  readonly events: readonly Event[]
  /** Event types, the most urgent first; see `scheduleEvents`. */
  readonly priority: readonly EventType[]

  /** Keeps the given order; `Stream.create` schedules. Throws IsaacError `bad_input` for a malformed event. */
  constructor(events: readonly Event[], priority: readonly EventType[]) {
    checkLists(events, priority)
    if (!priority.every(isEventType) || new Set(priority).size !== priority.length) {
      throw new IsaacError("bad_input", `The priority [${priority.join(", ")}] must name event types, each once.`)
    }
    for (const event of events) checkEvent(event)
    this.events = Object.freeze([...events])
    this.priority = Object.freeze([...priority])
  }

  /** Makes a stream, its events put in reading order unless `schedule` is false. */
  static create(
    events: readonly Event[],
    priority: readonly EventType[],
    { schedule = true }: { schedule?: boolean } = {},
  ): Stream {
    checkLists(events, priority)
    for (const event of events) checkEvent(event)
    return new Stream(schedule ? scheduleEvents(events, priority).map((i) => events[i]) : events, priority)
  }

  /** The number of kept tokens. */
  get tokens(): number {
    let sum = 0
    for (const event of this.events) sum += eventTokens(event)
    return sum
  }

  /** Its events, in order. */
  [Symbol.iterator](): Iterator<Event> {
    return this.events[Symbol.iterator]()
  }

  /** A stream with the changed events, in the same order; events without changes are shared, not copied. */
  map(change: (event: Event, index: number) => EventChanges): Stream {
    const events = this.events.map((event, index) => {
      const changes = change(event, index)
      return changes === undefined ? event : createEvent({ ...event, ...changes })
    })
    return new Stream(events, this.priority)
  }

  /** The data of all events below each other: whole events, also where only a part is kept. */
  compact(): Rows {
    return concatRows(this.events.map((event) => event.data))
  }
}

function checkLists(events: unknown, priority: unknown): void {
  if (!Array.isArray(events) || !Array.isArray(priority)) {
    throw new IsaacError("bad_input", "A stream needs a list of events and a list of their types by priority.")
  }
}
