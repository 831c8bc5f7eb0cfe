/** The reference's streams A, B and V and what is compared of a stream, for tests. */

import { createEvent, type Event, type EventType } from "../src/stream/event"
import { Stream } from "../src/stream/stream"
import { TensorStream } from "../src/stream/tensor-stream"
import { readGoldenJson } from "./golden"

export interface GoldenEvent {
  id: string
  type: EventType
  time: [number, number]
  role: string | null
  dims_virtual: number[]
  dims_real: number[]
  idx_range: [number, number]
  data: number[][]
  tags: Record<string, string>
}

/** The views of one stream as the reference wrote them. A mask of one token comes without its batch axis. */
export interface GoldenViews {
  shape: [number, number]
  token_view: number[][]
  modality_mask: (number | number[])[]
  role_mask: (number | number[])[]
  positions: number[][][]
  events: { id: string; type: EventType; idx_range: [number, number] }[][]
  event_mask_by_src?: number[][]
  num_tokens?: { partial: number; full: number; real: number }[][]
}

const golden = readGoldenJson<{
  priority: EventType[]
  streams: Record<string, GoldenEvent[]>
  tensor_streams: Record<string, string[]>
}>("tensorstream/slice.json")

export function goldenEvent(event: GoldenEvent): Event {
  return createEvent({
    id: event.id,
    type: event.type,
    time: event.time,
    role: event.role,
    dimsVirtual: event.dims_virtual,
    dimsReal: event.dims_real,
    idxRange: event.idx_range,
    data: { values: Int32Array.from(event.data.flat()), rows: event.data.length, width: event.data[0].length },
    tags: event.tags,
  })
}

/** Stream "A", "B" or "V", its events in the given order. */
export function goldenStream(name: string, priority: readonly EventType[] = golden.priority): Stream {
  return Stream.create(golden.streams[name].map(goldenEvent), priority, { schedule: false })
}

/** The batch "A", "AB" or "V". */
export function goldenTensorStream(name: string): TensorStream {
  return new TensorStream(golden.tensor_streams[name].map((stream) => goldenStream(stream)))
}

/** Ours, in the shape the goldens are compared in: flat arrays, events by id. */
export function viewsOf(stream: TensorStream) {
  return {
    shape: [...stream.shape],
    token_view: [...stream.tokenView()],
    modality_mask: [...stream.modalityMask()],
    role_mask: [...stream.roleMask()],
    positions: [...stream.positions()],
    events: stream.streams.map(({ events }) =>
      events.map(({ id, type, idxRange }) => ({ id, type, idx_range: [...idxRange] })),
    ),
  }
}

/** The reference's views in the same shape. */
export function viewsFrom({ shape, token_view, modality_mask, role_mask, positions, events }: GoldenViews) {
  return {
    shape,
    token_view: token_view.flat(),
    modality_mask: modality_mask.flat(),
    role_mask: role_mask.flat(),
    positions: positions.flat(2),
    events,
  }
}
