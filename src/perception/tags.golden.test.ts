/** The parser against the reference's answers. */

import { describe, expect, it } from "vitest"
import { readGoldenJson } from "../../test/golden"
import { extractReasoning, ReasoningCleaner } from "./reasoning"
import { extractPoints, type LeafType, parse, serialize, stripTags, type Tag } from "./tags"

type Result<T> = { readonly result: T } | { readonly error: string; readonly message: string }

interface GoldenTag {
  readonly kind: "point" | "box" | "polygon" | "collection"
  readonly x: number
  readonly y: number
  readonly top_left: [number, number]
  readonly bottom_right: [number, number]
  readonly hull: [number, number][]
  readonly points: GoldenTag[]
  readonly mention: string | null
  readonly t: number | string | null
}

interface GoldenSegment {
  readonly kind: GoldenTag["kind"] | "text"
  readonly text?: string
  readonly value?: GoldenTag
  readonly span: [number, number]
}

interface GoldenCase {
  readonly text: string
  readonly parse_text: Result<GoldenSegment[]>
  readonly parser_parse_kinds: Result<string[]>
  readonly extract_points: Record<"any" | LeafType, Result<GoldenTag[]>>
  readonly serialized: Result<string[]>
  readonly strip_tags: string
  readonly extract_reasoning: { text: string | null; reasoning: string[] }
}

interface Golden {
  readonly cases: GoldenCase[]
  readonly prefixes: {
    text: string
    prefixes: { length: number; extract_points: Result<GoldenTag[]>; strip_tags: string }[]
  }[]
  readonly serialize: { object: GoldenTag; serialized: string; reparsed: Result<GoldenSegment[]> }[]
  readonly reasoning_stream: {
    chunks: string[]
    outputs: { text: string; reasoning: string[] }[]
    buffer_after: string
  }[]
  readonly extract_reasoning_non_string: { input: unknown; text: unknown; reasoning: string[] }[]
}

const golden = readGoldenJson<Golden>("pointing/parser.json")

function toTag(value: GoldenTag): Tag {
  const common = { mention: value.mention, t: typeof value.t === "string" ? Number(value.t) : value.t }
  switch (value.kind) {
    case "point":
      return { type: "point", x: value.x, y: value.y, ...common }
    case "box": {
      const [[x1, y1], [x2, y2]] = [value.top_left, value.bottom_right]
      return { type: "box", x1, y1, x2, y2, ...common }
    }
    case "polygon":
      return { type: "polygon", points: value.hull, ...common }
    case "collection":
      return { type: "collection", items: value.points.map(toTag), ...common }
  }
}

function toSegment({ kind, text, value, span }: GoldenSegment) {
  return kind === "text" ? { type: "text", text, span } : { type: "tag", tag: toTag(value!), span }
}

const tagsOf = (text: string) => parse(text).segments.flatMap((s) => (s.type === "tag" ? [s.tag] : []))

describe.each(golden.cases)("$text", (expected) => {
  const { text } = expected
  const { segments, issues } = parse(text)

  if ("result" in expected.parse_text) {
    it("gives the same segments", () => {
      expect(segments).toStrictEqual((expected.parse_text as { result: GoldenSegment[] }).result.map(toSegment))
      expect(issues.filter(({ code }) => code === "coordinates")).toEqual([])
    })

    it("extracts the same points", () => {
      for (const [kind, points] of Object.entries(expected.extract_points)) {
        const type = kind === "any" ? undefined : (kind as LeafType)
        expect(extractPoints(text, type)).toStrictEqual((points as { result: GoldenTag[] }).result.map(toTag))
      }
    })

    it("writes the same tags", () => {
      expect({ result: tagsOf(text).map(serialize) }).toEqual(expected.serialized)
      expect({ result: tagsOf(text).map(({ type }) => type) }).toEqual(expected.parser_parse_kinds)
    })
  } else {
    it("stays text where the reference raises, with an issue", () => {
      expect(issues.length).toBeGreaterThan(0)
      const points = [...text]
      for (const { span, message, code } of issues) {
        expect(points.slice(...span).join("")).toMatch(/^<[^>]*>[\s\S]*<\/[^>]*>$/)
        expect(message).not.toBe("")
        expect(code).toBe("coordinates")
      }
    })
  }

  it("strips the same tags", () => {
    expect(stripTags(text)).toBe(expected.strip_tags)
  })

  it("extracts the same reasoning", () => {
    const { text: rest, reasoning } = expected.extract_reasoning
    expect(extractReasoning(text)).toEqual({ text: rest, reasoning })
  })

  it("has segments that together are the text", () => {
    const points = [...text]
    let at = 0
    for (const segment of segments) {
      expect(segment.span[0]).toBe(at)
      at = segment.span[1]
      if (segment.type === "text") expect(segment.text).toBe(points.slice(...segment.span).join(""))
    }
    expect(at).toBe(points.length)
  })
})

describe("cut at every length", () => {
  for (const { text, prefixes } of golden.prefixes) {
    it(text, () => {
      for (const { length, extract_points, strip_tags } of prefixes) {
        const prefix = [...text].slice(0, length).join("")
        expect({ result: extractPoints(prefix) }).toEqual({
          result: (extract_points as { result: GoldenTag[] }).result.map(toTag),
        })
        expect(stripTags(prefix)).toBe(strip_tags)
      }
    })
  }
})

describe("serialize", () => {
  it.each(golden.serialize)("$serialized", ({ object, serialized, reparsed }) => {
    expect(serialize(toTag(object))).toBe(serialized)
    const { segments, issues } = parse(serialized)
    if ("result" in reparsed) expect(segments).toStrictEqual(reparsed.result.map(toSegment))
    else expect(issues).toHaveLength(1)
  })
})

describe("reasoning", () => {
  it.each(golden.reasoning_stream)("streams $chunks", ({ chunks, outputs, buffer_after }) => {
    const cleaner = new ReasoningCleaner()
    expect(chunks.map((chunk) => cleaner.consume(chunk))).toEqual(outputs)
    expect(cleaner.buffer).toBe(buffer_after)
  })

  it.each(golden.extract_reasoning_non_string)("leaves $input alone", ({ input, text, reasoning }) => {
    expect(extractReasoning(input)).toEqual({ text, reasoning })
  })
})
