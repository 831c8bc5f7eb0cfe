import { describe, expect, test } from "vitest"
import { isIsaacError } from "../errors"
import { createEvent, type Event, type EventInit, eventTokens } from "./event"
import { Stream } from "./stream"

const patches = (rows: number, width = 3) => ({ values: new Float32Array(rows * width), rows, width })
const text: EventInit = { type: "text", data: [5, 6, 7], time: 0 }
const image: EventInit = {
  type: "image",
  data: patches(16),
  time: 1,
  dimsReal: [1, 4, 4],
  dimsVirtual: [1, 2, 2],
}

function codeOf(call: () => unknown): string {
  try {
    call()
  } catch (error) {
    return isIsaacError(error) ? error.code : String(error)
  }
  return "no error"
}

describe("createEvent", () => {
  test("fills the defaults of a text", () => {
    const event = createEvent(text)
    expect(event).toEqual({
      type: "text",
      time: [0, 0],
      role: null,
      dimsReal: [3, 1],
      dimsVirtual: [3, 1],
      idxRange: [0, 3],
      data: { values: Int32Array.of(5, 6, 7), rows: 3, width: 1 },
      tags: {},
    })
    expect("id" in event).toBe(false)
  })

  test("counts tokens and patches", () => {
    const event = createEvent({ ...image, idxRange: [1, 3] })
    expect(eventTokens(event)).toBe(2)
    expect(eventTokens(event, { partial: false })).toBe(4)
    expect(eventTokens(event, { real: true })).toBe(16)
    expect(codeOf(() => eventTokens(event, { real: true, partial: true }))).toBe("bad_input")
  })

  test("cannot be changed afterwards, nor through the arrays it was made of", () => {
    const dims = [1, 4, 4]
    const tags = { src: "x" }
    const event = createEvent({ ...image, dimsReal: dims, tags })
    dims[1] = 8
    tags.src = "y"
    expect(event.dimsReal).toEqual([1, 4, 4])
    expect(event.tags).toEqual({ src: "x" })
    const writable = event as { -readonly [K in keyof Event]: Event[K] }
    expect(() => {
      writable.role = "user"
    }).toThrow(TypeError)
    expect(() => {
      ;(event.idxRange as [number, number])[0] = 2
    }).toThrow(TypeError)
  })

  test("allows no tokens", () => {
    expect(eventTokens(createEvent({ ...text, data: [] }))).toBe(0)
    expect(eventTokens(createEvent({ ...image, data: patches(0), dimsReal: [1, 0, 4], dimsVirtual: [1, 0, 2] }))).toBe(
      0,
    )
  })

  test.each<[string, Partial<EventInit> & { type?: unknown }, string]>([
    ["an unknown type", { type: "audio" as "text" }, "bad_input"],
    ["a type from the prototype", { type: "toString" as "text" }, "bad_input"],
    ["a NaN time", { time: Number.NaN }, "not_finite"],
    ["an infinite end", { time: [0, Number.POSITIVE_INFINITY] }, "not_finite"],
    ["one time of two", { time: [0] as unknown as [number, number] }, "bad_input"],
    ["dims that are not the rows", { dimsReal: [4, 1] }, "bad_input"],
    ["four dims", { dimsReal: [1, 1, 3, 1] }, "bad_input"],
    ["no dims", { dimsVirtual: [] }, "bad_input"],
    ["a fraction of a token", { dimsVirtual: [1.5, 2] }, "bad_input"],
    ["negative dims", { dimsReal: [-3, -1] }, "bad_input"],
    ["a range before the start", { idxRange: [-1, 2] }, "bad_input"],
    ["a range beyond the end", { idxRange: [0, 4] }, "bad_input"],
    ["a range turned around", { idxRange: [2, 1] }, "bad_input"],
    ["half a token", { idxRange: [0, 1.5] }, "bad_input"],
    ["a fraction as an id", { data: [1, 2.5, 3] }, "bad_input"],
    ["an id beyond 32 bits", { data: [1, 2 ** 31, 3] }, "bad_input"],
    ["numbers that do not fill the rows", { data: { values: new Int32Array(4), rows: 3, width: 1 } }, "bad_input"],
    ["doubles", { data: { values: new Float64Array(3) as unknown as Float32Array, rows: 3, width: 1 } }, "bad_input"],
    ["no data", { data: undefined as unknown as number[] }, "bad_input"],
    ["a number as the role", { role: 3 as unknown as string }, "bad_input"],
    ["a tag that is a list", { tags: { src: [] as unknown as string } }, "bad_input"],
    ["an image without dims", { type: "image" }, "bad_input"],
  ])("refuses %s", (_, change, code) => {
    expect(codeOf(() => createEvent({ ...text, ...change } as EventInit))).toBe(code)
  })

  test("refuses what is no object", () => {
    expect(codeOf(() => createEvent(null as unknown as EventInit))).toBe("bad_input")
    expect(codeOf(() => new Stream([undefined as unknown as Event], []))).toBe("bad_input")
    expect(codeOf(() => new Stream([{ type: "text" } as Event], []))).toBe("bad_input")
  })
})
