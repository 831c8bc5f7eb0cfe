/** Equality of batches: the same events with the same data. */

import type { Event, Rows } from "./event"
import type { TensorStream } from "./tensor-stream"

/**
 * True when both batches have the same streams: equal priorities, and equal events in equal order. Float data may
 * differ by `tolerance` (absolute, default 0); everything else must be the same.
 */
export function equalTensorStreams(
  a: TensorStream,
  b: TensorStream,
  { tolerance = 0 }: { tolerance?: number } = {},
): boolean {
  return (
    a.streams.length === b.streams.length &&
    a.streams.every((stream, i) => {
      const other = b.streams[i]
      return (
        sameList(stream.priority, other.priority) &&
        stream.events.length === other.events.length &&
        stream.events.every((event, k) => sameEvent(event, other.events[k], tolerance))
      )
    })
  )
}

function sameEvent(a: Event, b: Event, tolerance: number): boolean {
  return (
    a === b ||
    (a.id === b.id &&
      a.type === b.type &&
      a.role === b.role &&
      sameList(a.time, b.time) &&
      sameList(a.dimsVirtual, b.dimsVirtual) &&
      sameList(a.dimsReal, b.dimsReal) &&
      sameList(a.idxRange, b.idxRange) &&
      sameTags(a.tags, b.tags) &&
      sameRows(a.data, b.data, tolerance))
  )
}

function sameRows(a: Rows, b: Rows, tolerance: number): boolean {
  if (a.rows !== b.rows || a.width !== b.width) return false
  if (a.values instanceof Int32Array !== b.values instanceof Int32Array) return false
  const allowed = a.values instanceof Int32Array ? 0 : tolerance
  for (let i = 0; i < a.values.length; i++) {
    // Object.is also lets two NaNs be the same.
    if (!(Math.abs(a.values[i] - b.values[i]) <= allowed) && !Object.is(a.values[i], b.values[i])) return false
  }
  return true
}

function sameTags(a: Event["tags"], b: Event["tags"]): boolean {
  const keys = Object.keys(a)
  return (
    keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && Object.is(a[key], b[key]))
  )
}

function sameList<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i])
}
