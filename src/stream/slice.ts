/** Slicing by token range, also through the middle of an event. */

import { IsaacError } from "../errors"
import { describeEvent, type Event, eventTokens, product } from "./event"
import { Stream } from "./stream"

/**
 * The event with only the tokens [start, end) kept, counted from the event's first token (not from the first kept
 * one). The data stays whole: an image is encoded whole, and only afterwards are the tokens picked.
 *
 * An `end` of 0 means "to the end of the event" (as in the reference implementation).
 *
 * @throws IsaacError `bad_input` when the range is not inside the event's `idxRange`
 */
export function sliceTokens(event: Event, start: number, end: number): Event {
  const [first, last] = event.idxRange
  if (!Number.isInteger(start) || !Number.isInteger(end) || start < first || start > end || end > last) {
    throw new IsaacError(
      "bad_input",
      `${describeEvent(event)}: [${start}, ${end}) is not inside the kept tokens [${first}, ${last}).`,
    )
  }
  const idxRange = Object.freeze([start, end === 0 ? product(event.dimsVirtual) : end] as const)
  return Object.freeze({ ...event, idxRange })
}

/**
 * The stream with only the tokens [start, end), counted from the stream's first kept token. Events outside are
 * dropped, events at the border are cut, events inside are shared. An empty range inside an event keeps that event
 * with no tokens.
 *
 * @throws IsaacError `bad_input` unless 0 ≤ start ≤ end ≤ tokens of the stream
 */
export function sliceStream(stream: Stream, start: number, end: number): Stream {
  checkSlice(start, end, stream.tokens)
  const kept: Event[] = []
  let eventStart = 0 // where this event begins, in tokens of the stream
  for (const event of stream.events) {
    const tokens = eventTokens(event)
    const eventEnd = eventStart + tokens
    if (eventStart >= end) break
    if (eventEnd > start) {
      const from = Math.max(0, start - eventStart)
      const to = Math.min(tokens, end - eventStart)
      const whole = from === 0 && to === tokens
      kept.push(whole ? event : sliceTokens(event, event.idxRange[0] + from, event.idxRange[0] + to))
    }
    eventStart = eventEnd
  }
  return new Stream(kept, stream.priority)
}

/** Throws IsaacError `bad_input` unless 0 ≤ start ≤ end ≤ tokens, all whole numbers. */
export function checkSlice(start: number, end: number, tokens: number): void {
  if (!Number.isInteger(start) || !Number.isInteger(end) || start < 0 || start > end || end > tokens) {
    throw new IsaacError("bad_input", `The slice [${start}, ${end}) is not inside the stream's ${tokens} tokens.`)
  }
}
