import { describe, expect, it } from "vitest"
import { readGoldenJson } from "../../test/golden"
import { isIsaacError } from "../errors"
import { TagStream } from "./tag-stream"
import { extractPoints, type Leaf, parse, serialize, stripTags, type Tag } from "./tags"

/** Deterministic numbers below n (a linear congruential generator), so that a failure can be repeated. */
function randomSource(seed: number): (n: number) => number {
  let state = seed
  return (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * n)
  }
}

const GOLDEN = readGoldenJson<{ cases: { text: string }[]; prefixes: { text: string }[] }>("pointing/parser.json")
const TEXTS = [...GOLDEN.cases, ...GOLDEN.prefixes].map(({ text }) => text)
const PIECES = [
  ...'<>/ "=(),x😀',
  ...["<point>", "</point>", "<point_box>", "</point_box>", "<polygon t=2>", "</polygon>", "<Point ", "< point>"],
  ...["<collection>", '<collection mention="g" t=4>', "</collection>", "<collection ", "<collectıon>", "</collectıon>"],
  ...["(1,2)", " (3,4)", "(5;6)", 'mention="a>b"', "<think>", "</think>"],
]

/** A golden text with some pieces put in and some units taken out, or pieces only. */
function mutated(random: (n: number) => number): string {
  let text = random(3) === 0 ? "" : TEXTS[random(TEXTS.length)]
  for (let edits = random(text === "" ? 24 : 6); edits >= 0; edits--) {
    const at = random(text.length + 1)
    text = text.slice(0, at) + PIECES[random(PIECES.length)] + text.slice(at + (random(3) === 0 ? random(4) : 0))
  }
  return text
}

/** Feeds a text in pieces of 1 … `largest` units (surrogate pairs may be cut) and checks that nothing comes twice. */
function streamed(text: string, largest: number, random: (n: number) => number): Leaf[] {
  const stream = new TagStream()
  const leaves: Leaf[] = []
  for (let at = 0; at < text.length; ) {
    const size = 1 + random(largest)
    leaves.push(...stream.push(text.slice(at, at + size)))
    at += size
  }
  leaves.push(...stream.end())
  expect(stream.end()).toEqual([])
  expect([...stream.issues].sort((a, b) => a.span[0] - b.span[0])).toEqual(parse(text).issues)
  return leaves
}

describe("TagStream", () => {
  it("gives parse's leaves for every golden text in any chunking", () => {
    const random = randomSource(1)
    let seen = 0
    for (const text of TEXTS) {
      const { leaves } = parse(text)
      seen += leaves.length
      for (const largest of [1, 2, 5, 40]) expect(streamed(text, largest, random)).toEqual(leaves)
    }
    expect(seen).toBeGreaterThan(100)
  })

  it("gives parse's leaves for mutated texts in any chunking", () => {
    const random = randomSource(2)
    for (let round = 0; round < 3000; round++) {
      const text = mutated(random)
      const leaves = streamed(text, 1 + random(12), random)
      expect(leaves, JSON.stringify(text)).toEqual(parse(text).leaves)
    }
  })

  it("differs from extractPoints only behind a collection that never closed", () => {
    const random = randomSource(3)
    const bare = (leaf: Leaf) => ({ ...leaf, mention: null, t: null })
    for (let round = 0; round < 1000; round++) {
      const text = mutated(random)
      const { leaves, issues } = parse(text)
      const cut = issues.some(({ code, message }) => code === "unclosed" && message.startsWith("<collection>"))
      if (cut) expect(leaves.map(bare)).toEqual(extractPoints(text).map(bare))
      else expect(leaves, JSON.stringify(text)).toEqual(extractPoints(text))
    }
  })

  it("gives a leaf out the moment it closes, also while its collection is open", () => {
    const stream = new TagStream()
    expect(stream.push('Two: <collection mention="cat" t=2> <point> (1,2) </point')).toEqual([])
    expect(stream.push(">")).toEqual([{ type: "point", x: 1, y: 2, mention: "cat", t: 2 }])
    expect(stream.push(' <point_box mention="dog"> (3,4) (5,6) </point_box> ')).toEqual([
      { type: "box", x1: 3, y1: 4, x2: 5, y2: 6, mention: "dog", t: 2 },
    ])
    expect(stream.push("</collection> <point> (7,8) </point>")).toEqual([
      { type: "point", x: 7, y: 8, mention: null, t: null },
    ])
    expect(stream.end()).toEqual([])
    expect(stream.issues).toEqual([])
  })

  it("keeps what an open collection gave when the text is cut off", () => {
    const text = '<collection mention="cat"> <point> (1,2) </point> <point> (3,'
    const stream = new TagStream()
    const leaves = stream.push(text)
    expect(leaves).toEqual([{ type: "point", x: 1, y: 2, mention: "cat", t: null }])
    expect(stream.end()).toEqual([])
    expect(parse(text).leaves).toEqual(leaves)
    expect(extractPoints(text)).toEqual([{ type: "point", x: 1, y: 2, mention: null, t: null }])
    expect(stream.issues.map(({ code, span }) => [code, span])).toEqual([
      ["unclosed", [0, 26]],
      ["unclosed", [50, 57]],
    ])
  })

  it("waits for an outer tag that may swallow an inner one", () => {
    const stream = new TagStream()
    expect(stream.push("<point_box> <point> (1,2) </point> (3,4) ")).toEqual([])
    expect(stream.push("</point_box>")).toEqual([{ type: "box", x1: 1, y1: 2, x2: 3, y2: 4, mention: null, t: null }])
    const cut = new TagStream()
    expect(cut.push("<point_box> <point> (1,2) </point> (3,4) ")).toEqual([])
    expect(cut.end()).toEqual([{ type: "point", x: 1, y: 2, mention: null, t: null }])
  })

  it("holds back what a tag within the collection's opening tag could take away", () => {
    const text = "<collection mention=g <point> <polygon> (1,2) (3,4) (5,6) </polygon> "
    const cut = new TagStream()
    expect(cut.push(text)).toEqual([])
    // The collection never closed, so the point within its opening tag counts, and the polygon is the point's.
    expect(cut.push("</point>")).toEqual([])
    expect(cut.end()).toEqual([{ type: "point", x: 1, y: 2, mention: null, t: null }])
    const closed = new TagStream()
    expect([...closed.push(text), ...closed.push("</collection>")]).toMatchObject([{ type: "polygon", mention: "g" }])
  })

  it("inherits from the outermost of collections that never close", () => {
    const inner = '<collection mention="inner" t=2> <point> (1,2) </point>'
    const expected = [{ type: "point", x: 1, y: 2, mention: "outer", t: null }]
    // Streamed, the point comes out of the open collection; behind an open polygon it comes at the end.
    for (const before of ["", "<polygon> "]) {
      const stream = new TagStream()
      const text = `${before}<collection mention="outer"> ${inner}`
      expect([...stream.push(text), ...stream.end()]).toEqual(expected)
    }
  })

  it("refuses text after its end", () => {
    const stream = new TagStream()
    stream.end()
    expect(() => stream.push("x")).toThrow(expect.objectContaining({ code: "bad_input" }))
  })
})

describe("hostile texts take linear time", () => {
  const SIZE = 1 << 20
  const fill = (piece: string) => piece.repeat(Math.ceil(SIZE / piece.length)).slice(0, SIZE)
  const hostile: Record<string, string> = {
    "less-than signs": fill("<"),
    "greater-than signs": `<point>${fill(">")}`,
    "opening tags": fill("<point>"),
    "opening tags of every kind": fill("<point><point_box><polygon><collection>"),
    "opening tags without an end": fill("<point "),
    "opening tags within one": `${fill("<point ")}>`,
    "closing tags": fill("</collection>"),
    "nested collections": fill("<collection>") + fill("</collection>"),
    "collections with members": fill("<collection><point>(1,2)</point>"),
    "equal signs": `<point ${fill("a =")}>(1,2)</point>`,
    quotes: `<point ${fill('t="')}>(1,2)</point>`,
    "one long word": `<point ${fill("m")}>(1,2)</point>`,
    "spaces in an attribute": `<point a${fill(" ")}>(1,2)</point>`,
    parentheses: `<point>${fill("(")}</point>`,
    "open pairs": `<point>${fill("(1,")}</point>`,
    "spaces in a pair": `<point>(${fill(" ")}</point>`,
    "a long number": `<point>(${fill("1")},1)</point>`,
    entities: `<point mention="${fill("&notit")}">(1,2)</point>`,
  }

  it.each(Object.entries(hostile))("%s", (_, text) => {
    const started = process.cpuUsage()
    const { segments, leaves } = parse(text)
    expect(segments.length).toBeGreaterThan(0)
    const stream = new TagStream()
    let streamed = 0
    // Few units a push: a push that looked at all text so far would take minutes.
    for (let at = 0; at < text.length; at += 64) streamed += stream.push(text.slice(at, at + 64)).length
    expect(streamed + stream.end().length).toBe(leaves.length)
    // Of this process, whatever else the machine does; quadratic time would be minutes.
    const { user, system } = process.cpuUsage(started)
    expect((user + system) / 1000).toBeLessThan(10_000)
  })

  it("collections nested deeper than the stack are written and stripped", () => {
    let tag: Tag = { type: "point", x: 1, y: 2, mention: null, t: null }
    for (let depth = 0; depth < 100_000; depth++) tag = { type: "collection", items: [tag], mention: null, t: null }
    const text = serialize(tag)
    expect(extractPoints(text)).toHaveLength(1)
    expect(stripTags(text)).not.toContain("point")
  })
})

describe("serialize", () => {
  it("refuses coordinates that no parser reads back", () => {
    for (const x of [1.5, Number.NaN, Number.POSITIVE_INFINITY, 1e21]) {
      let error: unknown
      try {
        serialize({ type: "point", x, y: 1, mention: null, t: null })
      } catch (caught) {
        error = caught
      }
      expect(isIsaacError(error) && error.code).toBe("bad_input")
    }
  })

  it("is undone by parse", () => {
    const random = randomSource(4)
    const words = ["", "a b", '"q"', "<point>", "a>b", "&amp;", "猫 🐱", "l\nb", "it's", null, null]
    const times = [null, null, 0, -0, 2, 1.25, 1e-7, 1e16, Number.NaN, Number.NEGATIVE_INFINITY]
    const leaf = (): Leaf => {
      const common = { mention: words[random(words.length)], t: times[random(times.length)] }
      const value = () => random(1001)
      const type = random(3)
      if (type === 0) return { type: "point", x: value(), y: value(), ...common }
      if (type === 1) return { type: "box", x1: value(), y1: value(), x2: value(), y2: value(), ...common }
      return {
        type: "polygon",
        points: Array.from({ length: 3 + random(4) }, () => [value(), value()] as const),
        ...common,
      }
    }
    for (let round = 0; round < 500; round++) {
      const items = Array.from({ length: random(4) }, leaf)
      const tag: Tag = random(2) ? leaf() : { type: "collection", items, mention: words[random(words.length)], t: null }
      const { segments, issues } = parse(serialize(tag))
      expect(segments).toMatchObject([{ type: "tag", tag }])
      expect(issues).toEqual([])
    }
  })
})

describe("what is no text", () => {
  it.each([undefined, null, 5, ["<point>"]])("%s is bad input", (value) => {
    for (const take of [parse, extractPoints, stripTags, (text: string) => new TagStream().push(text)]) {
      expect(() => take(value as unknown as string)).toThrow(expect.objectContaining({ code: "bad_input" }))
    }
  })
})
