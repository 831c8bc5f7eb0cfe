/** Grouping, merging, collating, reconstruction and setData against the reference. */

import { describe, expect, test } from "vitest"
import { readGoldenJson } from "../../test/golden"
import { type GoldenViews, goldenStream, goldenTensorStream, viewsFrom, viewsOf } from "../../test/golden-streams"
import { IsaacError } from "../errors"
import { collate } from "./collate"
import { createEvent, type Event, type EventType, Modality, type Rows } from "./event"
import { groupStream, mergeStreams, modalityOf } from "./group"
import { roleIndex } from "./masks"
import { type CompactByType, reconstruct } from "./reconstruct"
import { type KnownRole, setData } from "./set-data"
import { Stream } from "./stream"
import { TensorStream } from "./tensor-stream"

interface OpsGolden {
  role_index: Record<string, number>
  type_values: Record<string, number>
  group_streams: {
    tensor_stream: string
    group_by: "type" | "modality" | "role" | "type_and_role"
    schedule: boolean
    result: { key: string | null | (string | null)[]; events: string[]; compact: number[][] | null }[]
  }[]
  merge_streams: {
    streams: { priority: EventType[]; events: { id: string; type: EventType; time: [number, number] }[] }[]
    note: string | null
    result?: { priority: EventType[]; events: string[] }
    error?: string
  }[]
  collate: { inputs: string[][]; result?: GoldenViews; error?: string }[]
  reconstruct: {
    tensor_stream: string
    slice: [number, number]
    compact: Partial<Record<EventType, number[]>>
    events: { id: string; type: EventType; idx_range: [number, number]; data: number[] }[][]
    compact_result: number[][]
  }[]
  set_data: {
    tensor_stream: string
    slice: [number, number]
    types: EventType[]
    roles: KnownRole[] | null
    result?: { data: number[][]; mask: number[][] }
    error?: string
  }[]
}

const golden = readGoldenJson<OpsGolden>("tensorstream/ops.json")

const asRows = ({ values, rows, width }: Rows) =>
  Array.from({ length: rows }, (_, row) => [...values.subarray(row * width, (row + 1) * width)])
const column = (values: number[]): Rows => ({ values: Int32Array.from(values), rows: values.length, width: 1 })
const ids = (stream: Stream) => stream.events.map((event) => event.id)

test("numbers of roles and types", () => {
  expect(Modality).toEqual(golden.type_values)
  for (const [role, index] of Object.entries(golden.role_index)) {
    expect(roleIndex(role === "(none)" ? null : role === "(empty string)" ? "" : role), role).toBe(index)
  }
})

describe("groupStream", () => {
  const keys = {
    type: (event: Event) => event.type,
    modality: (event: Event) => (modalityOf(event) === "text" ? "TextType" : "VisionType"),
    role: (event: Event) => event.role,
    type_and_role: (event: Event) => JSON.stringify([event.type, event.role]),
  }
  test.each(golden.group_streams)("$tensor_stream by $group_by, schedule $schedule", (wanted) => {
    const groups = goldenTensorStream(wanted.tensor_stream).group<unknown>(keys[wanted.group_by], wanted)
    const found = [...groups].map(([key, stream]) => ({ key, events: ids(stream), compact: compactOrNull(stream) }))
    const result = wanted.result.map((group) =>
      wanted.group_by === "type_and_role" ? { ...group, key: JSON.stringify(group.key) } : group,
    )
    expect(found).toEqual(result)
  })

  test("a name means the key of that name", () => {
    const stream = goldenTensorStream("AB").flatStream()
    expect([...groupStream(stream, "type").keys()]).toEqual(["text", "image", "padding"])
    expect([...groupStream(stream, "modality").keys()]).toEqual(["text", "vision"])
    expect([...groupStream(stream, "role").keys()]).toEqual(["user", "agent", null, "system", "", "other"])
    expect(() => groupStream(stream, "toString" as "type")).toThrow(IsaacError)
  })
})

function compactOrNull(stream: Stream): number[][] | null {
  try {
    return asRows(stream.compact())
  } catch (error) {
    expect(error).toBeInstanceOf(IsaacError)
    return null
  }
}

test("mergeStreams", () => {
  for (const { streams, result, note } of golden.merge_streams) {
    const parts = streams.map(({ events, priority }) =>
      Stream.create(
        events.map(({ id, type, time }) => createEvent({ id, type, time, data: [7], dimsReal: [1, 1] })),
        priority,
        { schedule: false },
      ),
    )
    if (!result) {
      expect(() => mergeStreams(parts), note ?? "").toThrow(IsaacError)
      continue
    }
    const merged = mergeStreams(parts)
    expect(ids(merged)).toEqual(result.events)
    expect(merged.priority).toEqual(result.priority)
  }
})

test("collate", () => {
  for (const { inputs, result } of golden.collate) {
    const batches = inputs.map((names) => new TensorStream(names.map((name) => goldenStream(name))))
    if (result) expect(viewsOf(collate(batches))).toEqual(viewsFrom(result))
    else expect(() => collate(batches)).toThrow(/14, 9/)
  }
})

describe("reconstruct", () => {
  test.each(golden.reconstruct)(
    "$tensor_stream $slice",
    ({ tensor_stream, slice, compact, events, compact_result }) => {
      const stream = goldenTensorStream(tensor_stream).slice(...slice)
      const byType = Object.fromEntries(Object.entries(compact).map(([type, values]) => [type, column(values)]))
      const rebuilt = reconstruct(stream, byType as CompactByType)
      expect(
        rebuilt.streams.map((row) =>
          row.events.map(({ id, type, idxRange, data }) => ({
            id,
            type,
            idx_range: [...idxRange],
            data: [...data.values],
          })),
        ),
      ).toEqual(events)
      const { values, shape } = rebuilt.compact()
      expect(shape).toEqual([...stream.shape, 1])
      expect([...values]).toEqual(compact_result.flat())

      // tokenRows says the same as a gather: type and row of every token.
      const types = [...stream.modalityMask()]
      const rows = stream.tokenRows()
      const byNumber = new Map(Object.entries(compact).map(([type, list]) => [Modality[type as EventType], list]))
      expect(types.map((type, i) => byNumber.get(type as 0 | 1 | 2)?.[rows[i]])).toEqual(compact_result.flat())
    },
  )
})

test("setData", () => {
  expect(golden.set_data.length).toBe(360)
  for (const { tensor_stream, slice, types, roles, result } of golden.set_data) {
    const stream = goldenTensorStream(tensor_stream).slice(...slice)
    const name = JSON.stringify({ tensor_stream, slice, types, roles })
    if (!result) {
      expect(() => setData(stream, types, roles ?? undefined), name).toThrow(IsaacError)
      continue
    }
    const { data, mask } = stream.setData(types, roles ?? undefined)
    expect([...data], name).toEqual(result.data.flat())
    expect([...mask], name).toEqual(result.mask.flat())
  }
})
