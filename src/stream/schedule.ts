/** scheduleEvents: in which order the events of a stream are read. */

import { IsaacError } from "../errors"
import type { Event, EventType } from "./event"

/**
 * Orders events by start time, except that of two events overlapping in time the one whose type comes first in
 * `priority` is read first, even when it starts later.
 *
 * Two events overlap when each ends after the other starts, so touching events and two instants never do. The
 * overlaps between types of different priority form a graph that always points from the higher priority to the
 * lower one (hence no cycles); it is sorted topologically (Kahn), taking among the ready events the one with the
 * smallest (start, priority, index).
 *
 * @returns the indices of `events` in reading order
 * @throws IsaacError `bad_input` when an event's type is missing from `priority`
 */
export function scheduleEvents(
  events: readonly Pick<Event, "type" | "time">[],
  priority: readonly EventType[],
): number[] {
  const rank = events.map(({ type }, index) => {
    const found = priority.indexOf(type)
    if (found < 0) {
      throw new IsaacError(
        "bad_input",
        `Event ${index} has the type "${type}", which is not in the priority list [${priority.join(", ")}]; add it.`,
      )
    }
    return found
  })
  const start = (i: number) => events[i].time[0]
  const end = (i: number) => events[i].time[1]
  /** Reading order of two events that do not constrain each other. */
  const compare = (a: number, b: number) => start(a) - start(b) || rank[a] - rank[b] || a - b

  // 1. An edge first → later for every overlapping pair of different priority. Sorted by start, a scan may stop
  //    at the first event that starts after this one has ended.
  const byStart = events.map((_, i) => i).sort((a, b) => start(a) - start(b))
  const followers: number[][] = events.map(() => [])
  const waitsFor = new Int32Array(events.length)
  for (let n = 0; n < byStart.length; n++) {
    const a = byStart[n]
    for (let m = n + 1; m < byStart.length && start(byStart[m]) < end(a); m++) {
      const b = byStart[m]
      if (end(b) <= start(a) || rank[a] === rank[b]) continue
      const [first, later] = rank[a] < rank[b] ? [a, b] : [b, a]
      followers[first].push(later)
      waitsFor[later]++
    }
  }

  // 2. Take the smallest ready event again and again. `ready` is kept in falling order, so the next is its last.
  const ready = byStart.filter((i) => waitsFor[i] === 0).sort((a, b) => compare(b, a))
  const order: number[] = []
  for (let next = ready.pop(); next !== undefined; next = ready.pop()) {
    order.push(next)
    for (const later of followers[next]) {
      if (--waitsFor[later] === 0) insertFalling(ready, later, compare)
    }
  }
  return order
}

function insertFalling(list: number[], item: number, compare: (a: number, b: number) => number): void {
  let low = 0
  let high = list.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (compare(list[middle], item) > 0) low = middle + 1
    else high = middle
  }
  list.splice(low, 0, item)
}
