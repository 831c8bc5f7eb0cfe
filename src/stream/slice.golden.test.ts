/** Every view of every slice of the reference's streams. */

import { describe, expect, test } from "vitest"
import { readGoldenJson } from "../../test/golden"
import { type GoldenEvent, type GoldenViews, goldenTensorStream, viewsFrom, viewsOf } from "../../test/golden-streams"
import { isIsaacError } from "../errors"
import { createEvent, type EventType, eventTokens } from "./event"
import { sliceTokens } from "./slice"

interface SliceGolden {
  priority: EventType[]
  streams: Record<string, GoldenEvent[]>
  tensor_streams: Record<string, string[]>
  views: Record<string, GoldenViews>
  slices: Record<string, (GoldenViews & { start: number; end: number })[]>
  nested: (GoldenViews & { tensor_stream: string; first: [number, number]; second: [number, number] })[]
  out_of_bounds: { tensor_stream: string; start: number; end: number; error: string }[]
  slice_tokens: {
    event: { dims_virtual: number[]; idx_range: [number, number] }
    start: number | null
    end: number | null
    result?: { idx_range: [number, number]; num_tokens: number }
    error?: string
  }[]
}

const golden = readGoldenJson<SliceGolden>("tensorstream/slice.json")

describe("views", () => {
  test.each(Object.keys(golden.views))("%s unsliced", (name) => {
    const stream = goldenTensorStream(name)
    const expected = golden.views[name]
    expect(viewsOf(stream)).toEqual(viewsFrom(expected))
    const [batch, tokens] = stream.shape
    const bySource = stream.eventMaskByTag("src", { x: 5, y: 7 }, -1)
    expect([...bySource]).toEqual(expected.event_mask_by_src?.flat())
    expect(bySource.length).toBe(batch * tokens)
    expect(
      stream.streams.map(({ events }) =>
        events.map((event) => ({
          partial: eventTokens(event),
          full: eventTokens(event, { partial: false }),
          real: eventTokens(event, { real: true }),
        })),
      ),
    ).toEqual(expected.num_tokens)
  })

  test.each(Object.keys(golden.slices))("every slice of %s", (name) => {
    const stream = goldenTensorStream(name)
    for (const expected of golden.slices[name]) {
      const { start, end } = expected
      expect(viewsOf(stream.slice(start, end)), `[${start}, ${end})`).toEqual(viewsFrom(expected))
    }
  })

  test("slices of slices", () => {
    for (const expected of golden.nested) {
      const { tensor_stream, first, second } = expected
      const sliced = goldenTensorStream(tensor_stream)
        .slice(...first)
        .slice(...second)
      expect(viewsOf(sliced), `${tensor_stream} ${first} ${second}`).toEqual(viewsFrom(expected))
    }
  })

  test("slices out of bounds are refused", () => {
    expect(golden.out_of_bounds.length).toBeGreaterThan(0)
    for (const { tensor_stream, start, end } of golden.out_of_bounds) {
      expectBadInput(() => goldenTensorStream(tensor_stream).slice(start, end))
    }
  })
})

test("sliceTokens", () => {
  for (const { event: dims, start, end, result } of golden.slice_tokens) {
    const [, rows, columns] = dims.dims_virtual
    const event = createEvent({
      type: "image",
      time: 0,
      data: { values: new Float32Array(rows * columns * 3), rows: rows * columns, width: 3 },
      dimsReal: dims.dims_virtual,
      idxRange: dims.idx_range,
    })
    const slice = () => sliceTokens(event, start as number, end as number)
    if (!result) {
      expectBadInput(slice)
      continue
    }
    expect(slice().idxRange).toEqual(result.idx_range)
    expect(eventTokens(slice())).toBe(result.num_tokens)
  }
})

function expectBadInput(call: () => unknown): void {
  let caught: unknown
  try {
    call()
  } catch (error) {
    caught = error
  }
  expect(isIsaacError(caught) && caught.code).toBe("bad_input")
}
