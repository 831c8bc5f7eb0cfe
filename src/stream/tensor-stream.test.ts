import { describe, expect, test } from "vitest"
import { IsaacError } from "../errors"
import { collate, padStream } from "./collate"
import { concatRows } from "./compact"
import { equalTensorStreams } from "./equal"
import { createEvent, type EventInit } from "./event"
import { mergeStreams } from "./group"
import { fromPlain, type PlainTensorStream, toPlain } from "./plain"
import { reconstruct } from "./reconstruct"
import { sliceStream, sliceTokens } from "./slice"
import { Stream } from "./stream"
import { TensorStream } from "./tensor-stream"

const priority = ["text", "image", "padding"] as const

const text = (time: number, ids: number[], more: Partial<EventInit> = {}) =>
  createEvent({ type: "text", time, data: ids, ...more })

/** An image of rows × columns tokens, pixel shuffle 2; patch p is filled with p. */
function image(time: number, rows: number, columns: number, more: Partial<EventInit> = {}) {
  const patches = 4 * rows * columns
  return createEvent({
    type: "image",
    time,
    data: { values: Float32Array.from({ length: patches * 3 }, (_, i) => Math.floor(i / 3)), rows: patches, width: 3 },
    dimsReal: [1, 2 * rows, 2 * columns],
    dimsVirtual: [1, rows, columns],
    ...more,
  })
}
const batch = (...events: ReturnType<typeof text>[]) => new TensorStream([Stream.create(events, priority)])

test("the example of the folder's documentation", () => {
  const question = createEvent({ type: "text", time: 0, data: [52, 383, 277] })
  const picture = createEvent({
    type: "image",
    time: 1,
    data: { values: new Float32Array(16 * 768), rows: 16, width: 768 },
    dimsReal: [1, 4, 4],
    dimsVirtual: [1, 2, 2],
  })
  const example = new TensorStream([Stream.create([question, picture], ["text", "image"])])
  expect(example.shape).toEqual([1, 7])
  expect([...example.modalityMask()]).toEqual([1, 1, 1, 0, 0, 0, 0])
  expect([...example.slice(4, 7).positions()]).toEqual([0, 0, 1, 0, 1, 0, 0, 1, 1])
})

describe("nothing at all", () => {
  test.each([
    ["a batch without streams", new TensorStream([]), [0, 0]],
    ["a stream without events", new TensorStream([Stream.create([], priority)]), [1, 0]],
    ["an event without tokens", batch(text(0, [])), [1, 0]],
  ] as const)("%s has empty views", (_, stream, shape) => {
    expect(stream.shape).toEqual(shape)
    for (const view of [stream.tokenView(), stream.modalityMask(), stream.roleMask(), stream.positions()]) {
      expect(view).toEqual(new Int32Array(0))
    }
    expect(stream.tokenRows()).toEqual(new Int32Array(0))
    expect(stream.labels()).toEqual(new Int32Array(0))
    expect(stream.slice(0, 0).shape).toEqual(shape)
    expect(reconstruct(stream, stream.events.length > 0 ? { text: emptyRows } : {}).shape).toEqual(shape)
    expect(() => stream.slice(0, 1)).toThrow(IsaacError)
    expect(equalTensorStreams(fromPlain(structuredClone(toPlain(stream))), stream)).toBe(true)
  })
  const emptyRows = { values: new Float32Array(0), rows: 0, width: 8 }

  test("merging no streams is refused", () => {
    expect(() => mergeStreams([])).toThrow(IsaacError)
  })
})

describe("slice", () => {
  const stream = batch(text(0, [1, 2, 3]), image(1, 2, 3), text(2, [4, 5]))

  test("[k, k) has no tokens; inside an event it keeps that event, cut to nothing, as the reference does", () => {
    for (let k = 0; k <= 11; k++) {
      const none = stream.slice(k, k)
      expect(none.shape).toEqual([1, 0])
      expect(none.positions().length + none.tokenView().length).toBe(0)
      const border = [0, 3, 9, 11].includes(k)
      expect(none.events.map(({ idxRange: [from, to] }) => to - from)).toEqual(border ? [] : [0])
    }
  })

  test("fractions and NaN are refused", () => {
    expect(() => stream.slice(0.5, 2)).toThrow(/slice \[0.5, 2\)/)
    expect(() => stream.slice(0, Number.NaN)).toThrow(IsaacError)
    expect(() => sliceStream(stream.streams[0], 0, 12)).toThrow(IsaacError)
    expect(() => sliceTokens(stream.events[0], Number.NaN, 1)).toThrow(IsaacError)
  })

  test("whole events are shared, data is never copied", () => {
    const sliced = stream.slice(4, 11)
    expect(sliced.events[1]).toBe(stream.events[2])
    expect(sliced.events[0].data).toBe(stream.events[1].data)
  })

  test("every slice is what its views are cut to, up to where time starts", () => {
    for (let start = 0; start <= 11; start++) {
      for (let end = start; end <= 11; end++) {
        const sliced = stream.slice(start, end)
        expect(sliced.tokenView()).toEqual(stream.tokenView().subarray(start, end))
        expect(sliced.modalityMask()).toEqual(stream.modalityMask().subarray(start, end))
      }
    }
  })
})

test("ten images", () => {
  const images = Array.from({ length: 10 }, (_, i) => image(i, 1 + (i % 3), 2 + (i % 4), { id: `image ${i}` }))
  const tokens = images.reduce((sum, { idxRange }) => sum + idxRange[1], 0)
  const stream = batch(...images, text(10, [9]))
  expect(stream.shape).toEqual([1, tokens + 1])
  // The last image starts at time 9 with row and column 0; the text follows at time 10.
  const positions = stream.positions()
  const lastImage = tokens - images[9].idxRange[1]
  expect([...positions.subarray(lastImage * 3, lastImage * 3 + 6)]).toEqual([9, 0, 0, 9, 0, 1])
  expect([...positions.subarray(tokens * 3)]).toEqual([10, 0, 0])
  expect([...stream.tokenRows()]).toEqual([...Array.from({ length: tokens }, (_, i) => i), 0])
})

test("a cut image takes its own rows of what the encoder made of the whole image", () => {
  const stream = batch(text(0, [7, 8]), image(1, 2, 2), image(2, 1, 3)).slice(3, 8)
  const embeddings = { values: Float32Array.from({ length: 7 * 2 }, (_, i) => i), rows: 7, width: 2 }
  const rebuilt = reconstruct(stream, { image: embeddings })
  expect(rebuilt.compact()).toEqual({ values: embeddings.values.slice(2, 12), shape: [1, 5, 2] })
  expect([...stream.tokenRows()]).toEqual([1, 2, 3, 4, 5])
  expect(() => reconstruct(stream, {})).toThrow(/7 tokens, but 0 rows/)
  expect(() => reconstruct(stream, { image: { ...embeddings, values: new Float32Array(12), rows: 6 } })).toThrow(
    /6 rows/,
  )
  expect(() => reconstruct(stream, { image: embeddings, text: embeddings })).toThrow(/0 tokens, but 7 rows/)
  // The rebuilt data no longer holds every patch, so there is nothing to view tokens of.
  expect(() => rebuilt.tokenView()).toThrow(IsaacError)
})

describe("different lengths", () => {
  const short = Stream.create([text(0, [1, 2])], ["text"])
  const long = Stream.create([text(0, [3, 4, 5]), image(1, 1, 1)], ["text", "image"])

  test("do not form a batch", () => {
    expect(() => new TensorStream([short, long])).toThrow(/2, 4/)
    expect(() => collate([new TensorStream([short]), new TensorStream([long])])).toThrow(IsaacError)
  })

  test("are padded to one", () => {
    const stream = new TensorStream([padStream(short, 4, { id: 6 }), padStream(long, 4)])
    expect(stream.streams[1]).toBe(long)
    expect(stream.shape).toEqual([2, 4])
    expect([...stream.tokenView()]).toEqual([1, 2, 6, 6, 3, 4, 5, 0])
    expect([...stream.modalityMask()]).toEqual([1, 1, 2, 2, 1, 1, 1, 0])
    expect([...stream.labels()]).toEqual([1, 2, -100, -100, 3, 4, 5, -100])
    expect(padStream(short, 3).events[1].time).toEqual([1, 1])
    expect(() => padStream(long, 3)).toThrow(IsaacError)
  })
})

describe("map", () => {
  const stream = batch(text(0, [1, 2], { role: "user" }), image(1, 1, 2))

  test("changes fields and shares what it leaves alone", () => {
    const mapped = stream.map((event) => (event.type === "text" ? { role: "agent" } : undefined))
    expect([...mapped.roleMask()]).toEqual([0, 0, -1, -1])
    expect([...stream.roleMask()]).toEqual([1, 1, -1, -1])
    expect(mapped.events[1]).toBe(stream.events[1])
  })

  test("checks what it is given", () => {
    expect(() => stream.map(() => ({ idxRange: [0, 3] }))).toThrow(IsaacError)
  })

  test("to one number per token", () => {
    const lengths = stream.mapCompact(({ idxRange: [from, to] }) => new Array(to - from).fill(to - from))
    expect([...lengths]).toEqual([2, 2, 2, 2])
    expect(() => stream.mapCompact(() => [1])).toThrow(IsaacError)
  })
})

describe("masks", () => {
  test("tags and roles that name parts of every object are nothing", () => {
    const stream = batch(text(0, [1], { role: "constructor", tags: { src: "toString" } }), text(1, [2]))
    expect([...stream.roleMask()]).toEqual([-1, -1])
    expect([...stream.eventMaskByTag("src", { x: 1 })]).toEqual([-1, -1])
    expect([...stream.eventMaskByTag("missing", { undefined: 1 }, 4)]).toEqual([4, 4])
  })

  test("a label for each event", () => {
    const stream = batch(text(0, [1, 2]), image(1, 1, 3))
    expect([...stream.eventMask((event) => (event.type === "image" ? 3 : null), -7)]).toEqual([-7, -7, 3, 3, 3])
  })
})

test("the token view cuts sums toward zero, also negative ones", () => {
  const values = Float32Array.of(-0.75, -0.75, 0.5, 1.4, -0.25, -0.25)
  const stream = batch(
    createEvent({ type: "image", time: 0, data: { values, rows: 3, width: 2 }, dimsReal: [1, 1, 3] }),
  )
  expect([...stream.tokenView()]).toEqual([-1, 1, 0])
})

test("labels of one role only", () => {
  const stream = batch(text(0, [1, 2], { role: "user" }), text(1, [3, 4], { role: "agent" }), text(2, [5]))
  expect([...stream.labels({ roles: ["agent"] })]).toEqual([-100, -100, 3, 4, -100])
  expect([...stream.labels({ roles: [null] })]).toEqual([-100, -100, -100, -100, 5])
})

test("setData refuses an image of one number per patch, which has more patches than tokens", () => {
  const values = new Float32Array(16)
  const stream = batch(image(0, 2, 2, { data: { values, rows: 16, width: 1 } }))
  expect(() => stream.setData(["image"])).toThrow(/16 × 1 numbers for 4 tokens/)
})

describe("compact", () => {
  test("puts whole events below each other, even when cut", () => {
    const ids = Int32Array.of(1, 2, 3, 4)
    expect(
      batch(text(0, [1, 2]), text(1, [3, 4]))
        .slice(1, 3)
        .compact(),
    ).toEqual({ values: ids, shape: [1, 4, 1] })
  })

  test("makes whole numbers beside floats floats", () => {
    const ids = { values: Int32Array.of(1), rows: 1, width: 1 }
    const floats = { values: Float32Array.of(0.5), rows: 1, width: 1 }
    expect(concatRows([ids, floats])).toEqual({ values: Float32Array.of(1, 0.5), rows: 2, width: 1 })
  })

  test("refuses rows of different width", () => {
    expect(() => batch(text(0, [1]), image(1, 1, 1)).compact()).toThrow(/width 1 and 3/)
  })

  test("refuses streams with different numbers of rows", () => {
    const one = Stream.create([image(0, 1, 1)], priority)
    const cut = Stream.create([sliceTokens(image(0, 1, 2), 0, 1)], priority)
    expect(() => new TensorStream([one, cut]).compact()).toThrow(IsaacError)
  })
})

describe("plain", () => {
  const stream = batch(text(0, [1, 2], { id: "a", tags: { src: "x", n: 2 } }), image(1, 1, 2)).slice(1, 3)

  test("comes back equal from a structured clone", () => {
    const copy = fromPlain(structuredClone(toPlain(stream)))
    expect(copy).toBeInstanceOf(TensorStream)
    expect(equalTensorStreams(copy, stream)).toBe(true)
    expect(copy.tokenView()).toEqual(stream.tokenView())
  })

  test("does not drag a larger buffer along", () => {
    const values = new Float32Array(1000).subarray(100, 112)
    const plain = toPlain(
      batch(createEvent({ type: "image", time: 0, data: { values, rows: 4, width: 3 }, dimsReal: [1, 2, 2] })),
    )
    expect(plain.streams[0].events[0].data.values.buffer.byteLength).toBe(48)
  })

  test.each<[string, unknown]>([
    ["nothing", null],
    ["no streams", {}],
    ["a stream without events", { streams: [{}] }],
    ["null as a stream", { streams: [null] }],
    ["no priority", { streams: [{ events: [] }] }],
    ["an unknown priority", { streams: [{ events: [], priority: ["audio"] }] }],
    ["a priority twice", { streams: [{ events: [], priority: ["text", "text"] }] }],
    ["null as an event", { streams: [{ events: [null], priority: ["text"] }] }],
    ["an empty event", { streams: [{ events: [{}], priority: ["text"] }] }],
  ])("refuses %s", (_, plain) => {
    expect(() => fromPlain(plain as PlainTensorStream)).toThrow(IsaacError)
  })
})

describe("equalTensorStreams", () => {
  const stream = batch(text(0, [1, 2], { tags: { src: "x" } }), image(1, 1, 2))
  test.each<[string, Parameters<TensorStream["map"]>[0]]>([
    ["an id", () => ({ id: "b" })],
    ["a role", () => ({ role: "user" })],
    ["a time", () => ({ time: [0, 5] })],
    ["a tag", () => ({ tags: { src: "y" } })],
    ["one more tag", ({ tags }) => ({ tags: { ...tags, more: 1 } })],
    [
      "a token",
      (event) => (event.type === "text" ? { data: { values: Int32Array.of(1, 3), rows: 2, width: 1 } } : undefined),
    ],
    ["the kept range", (event) => (event.type === "text" ? { idxRange: [0, 1] } : undefined)],
    ["the token dims", (event) => (event.type === "image" ? { dimsVirtual: [1, 2, 1] } : undefined)],
  ])("sees %s", (_, change) => {
    expect(equalTensorStreams(stream, stream.map(change))).toBe(false)
    expect(equalTensorStreams(stream.map(change), stream.map(change))).toBe(true)
  })

  test("lets floats differ by the tolerance, ids never", () => {
    const close = stream.map(({ data }) => ({ data: { ...data, values: data.values.map((v) => v + 0.001) } }))
    expect(equalTensorStreams(stream, close)).toBe(false)
    expect(equalTensorStreams(stream, close, { tolerance: 0.01 })).toBe(true)
    const other = stream.map((event) =>
      event.type === "text" ? { data: { values: Int32Array.of(1, 3), rows: 2, width: 1 } } : undefined,
    )
    expect(equalTensorStreams(stream, other, { tolerance: 2 })).toBe(false)
  })

  test("sees another order of streams, events and priorities", () => {
    const [a, b] = [Stream.create([text(0, [1])], priority), Stream.create([text(0, [2])], priority)]
    expect(equalTensorStreams(new TensorStream([a, b]), new TensorStream([b, a]))).toBe(false)
    expect(equalTensorStreams(new TensorStream([a]), new TensorStream([a, a]))).toBe(false)
    expect(equalTensorStreams(new TensorStream([a]), new TensorStream([new Stream(a.events, ["text"])]))).toBe(false)
  })
})

describe("what plain JavaScript may pass", () => {
  const event = text(0, [1])
  test.each<[string, () => unknown]>([
    ["no events", () => Stream.create(undefined as never, ["text"])],
    ["no priority", () => Stream.create([event], undefined as never)],
    ["an event that is none", () => Stream.create([null as never], ["text"])],
    ["no streams", () => new TensorStream(undefined as never)],
    ["a stream that is none", () => new TensorStream([{ tokens: 1 } as never])],
    ["nothing to send", () => toPlain(undefined as never)],
    ["something else to send", () => toPlain({ streams: [] } as never)],
  ])("%s is bad input", (_, make) => {
    expect(make).toThrow(expect.objectContaining({ code: "bad_input" }))
  })
})
