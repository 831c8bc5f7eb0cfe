import { beforeAll, describe, expect, it } from "vitest"
import { GuidedWriter } from "../../test/guided-writer"
import type { Language } from "../generate/language"
import { escapeHtml } from "./html-escape"
import { splitReasoning } from "./reasoning"
import { checkGuided, type GuidedOption, tagLanguage } from "./tag-grammar"
import { type Leaf, parse } from "./tags"

const languageOf = (option: GuidedOption) => tagLanguage(checkGuided(option)!)
const UTF8 = new TextEncoder()

/** What is left behind a text; null when nothing begins so. */
function behind(language: Language, text: string): Language | null {
  let state: Language | null = language
  for (const byte of UTF8.encode(text)) state = state?.next(byte) ?? null
  return state
}
const takes = (language: Language, text: string) => behind(language, text)?.ends ?? false

function inRange(leaf: Leaf): boolean {
  const numbers =
    leaf.type === "polygon"
      ? leaf.points.flat()
      : leaf.type === "box"
        ? [leaf.x1, leaf.y1, leaf.x2, leaf.y2]
        : [leaf.x, leaf.y]
  const ordered = leaf.type !== "box" || (leaf.x1 <= leaf.x2 && leaf.y1 <= leaf.y2)
  return ordered && numbers.every((value) => Number.isInteger(value) && value >= 0 && value <= 1000)
}

describe("the language of guided answers", () => {
  const any = languageOf(true)

  it.each([
    "",
    "No.",
    "1 < 2 <b>bold</b> <p>para</p> <pre> <poin <poly x> </point> <coll a<",
    '<point mention="x" t=1.5> (0,1000) </point>',
    "<point> (3,4) </point>",
    '<point_box mention="orange square"> (805,350) (940,520) </point_box>',
    '<polygon mention="a &amp; b"> (1,2) (3,4) (5,6) (7,8) </polygon>',
    '<collection mention="square"> <point_box> (100,20) (210,200) </point_box> <point mention="x"> (1,2) </point> </collection> two',
    "<think>\n\n</think>\n\n3 <point> (1,2) </point>",
    "<think>I see <point but no tag, 1<2 </thi</Think>ok",
    "<think>cut in the mid",
  ])("takes %j", (text) => {
    expect(takes(any, text)).toBe(true)
    expect(parse(splitReasoning(text).text).issues).toEqual([])
  })

  it.each([
    "<points",
    "<point_b x",
    "<POINT",
    "<Polygon",
    "<point\u00a0",
    "<point\n",
    "<poınt",
    "<collectİon",
    "<point> (1001",
    "<point> (01",
    "<point> (1,2)</",
    "<point_box> (5,5) (4,",
    "<point_box> (5,50) (10,5)",
    "<polygon> (1,2) (3,4) </",
    "<collection> </",
    "<collection> <collection",
    '<point mention="a<',
    '<point mention="a\n',
    "word <think>",
    "<think>\n</think><Think>",
    "<thin\u212a",
    "<think>\n</th\u0131",
    "<think>\n</thin\u212a",
    "<point t=.5",
    "<point t=1e",
  ])("does not take %j", (text) => {
    expect(takes(any, text)).toBe(false)
    // Nor anything that is longer by a close of its own.
    if (!text.endsWith(">")) expect(behind(any, text)).toBeNull()
  })

  it("may not end behind the name of a tag", () => {
    for (const name of ["<point", "<point_box", "<polygon", "a <collection"]) {
      expect(behind(any, name)?.ends, name).toBe(false)
      expect(behind(any, name.slice(0, -1))?.ends, name).toBe(!name.includes("_"))
    }
  })

  it("has the kinds that were asked for, and no words where they are not wanted", () => {
    const boxes = languageOf({ kinds: ["box"], text: false })
    expect(
      takes(
        boxes,
        "<point_box> (1,2) (3,4) </point_box> <collection> <point_box> (1,2) (3,4) </point_box> </collection>",
      ),
    ).toBe(true)
    expect(takes(boxes, "")).toBe(true)
    expect(takes(boxes, "<think>\n\n</think>\n\n<point_box> (1,2) (3,4) </point_box>")).toBe(true)
    for (const other of [
      "<point>",
      "<polygon",
      "<collection> <point>",
      "no",
      "<point_box> (1,2) (3,4) </point_box> and",
    ]) {
      expect(behind(boxes, other), other).toBeNull()
    }
  })

  it("names nothing but classes, as the parser reads them", () => {
    const classes = ['a "b"', "dog's", "<i>", "größe 語", "cat", "catfish", "AT&T"]
    const language = languageOf({ classes })
    for (const name of classes) {
      const tag = `<point mention="${escapeHtml(name)}"> (1,2) </point>`
      expect(takes(language, tag), name).toBe(true)
      expect(parse(tag).leaves[0].mention).toBe(name)
    }
    expect(takes(language, `<point mention="dog's"> (1,2) </point>`)).toBe(true)
    expect(takes(language, '<collection mention="cat"> <point> (1,2) </point> </collection>')).toBe(true)
    for (const other of [
      "<point>",
      '<point mention="cats',
      '<point mention="catf"',
      "<collection>",
      '<point mention="cat"> (1,2) </point> <point>',
    ]) {
      expect(behind(language, other), other).toBeNull()
    }
  })
})

describe("whatever a model writes under a guide", () => {
  let writer: GuidedWriter
  beforeAll(async () => {
    writer = await GuidedWriter.open()
  })

  const options: GuidedOption[] = [
    true,
    { kinds: ["box"] },
    { kinds: ["point", "polygon"], text: false },
    { classes: ["cat", "catfish", 'the "old" dog\'s <bed>', "größe", "語 👍"], text: false },
    { kinds: ["box"], classes: ["red square"], text: true },
  ]

  it.each(options)("parses without an issue: %j", (option) => {
    const rules = writer.rules(languageOf(option))
    const { kinds, classes } = checkGuided(option)!
    let leaves = 0
    let collections = 0
    let forced = 0
    for (let seed = 0; seed < 30; seed++) {
      const temperature = seed % 2 === 0 ? 1 : 3
      const { text, whole, forced: without } = writer.write(rules, seed, { maxNewTokens: 120, temperature })
      const read = parse(splitReasoning(text).text)
      expect(whole, text).toBe(true)
      expect(read.issues, text).toEqual([])
      for (const leaf of read.leaves) {
        expect(inRange(leaf), text).toBe(true)
        expect(kinds).toContain(leaf.type)
        if (classes.length > 0) expect(classes).toContain(leaf.mention)
      }
      leaves += read.leaves.length
      collections += read.segments.filter(
        (segment) => segment.type === "tag" && segment.tag.type === "collection",
      ).length
      forced += without
    }
    expect(leaves).toBeGreaterThan(20)
    expect(collections).toBeGreaterThan(3)
    expect(forced).toBeGreaterThan(100)
  })

  it.each(options)("parses however soon it is cut, by its length or a full context: %j", (option) => {
    const rules = writer.rules(languageOf(option))
    let leaves = 0
    for (let most = 1; most <= 60; most++) {
      for (let seed = 0; seed < 2; seed++) {
        const limit = seed % 2 === 0 ? { maxNewTokens: most } : { room: most - 1 }
        const { text, ids, finishReason } = writer.write(rules, 1000 * most + seed, { ...limit, endLike: -20, like: 6 })
        const read = parse(splitReasoning(text).text)
        expect(read.issues, text).toEqual([])
        expect(ids.length).toBeLessThanOrEqual(most)
        if (ids.length === most && ids.at(-1) !== writer.end) expect(finishReason).toBe("length")
        leaves += read.leaves.length
      }
    }
    expect(leaves).toBeGreaterThan(20)
  })
})

describe("the option", () => {
  it.each<[unknown, RegExp]>([
    ["yes", /guided is "yes"/],
    [[], /guided is/],
    [{ kinds: [] }, /kinds/],
    [{ kinds: ["circle"] }, /kinds has "circle"; it takes point, box, polygon/],
    [{ kinds: "box" }, /kinds/],
    [{ classes: [] }, /at least one/],
    [{ classes: "cat" }, /array/],
    [{ classes: ["cat", 7] }, /has 7/],
    [{ classes: ["cat", "  "] }, /" {2}"/],
    [{ classes: ["two\nlines"] }, /control characters/],
    [{ classes: ["half \ud83d"] }, /half characters/],
    [{ classes: ["a  b"] }, /blanks/],
    [{ classes: ["x".repeat(257)] }, /257 characters; at most 256/],
    [{ classes: Array.from({ length: 10_001 }, (_, i) => `c${i}`) }, /10001 names; at most 10000/],
    [{ text: 1 }, /text is 1/],
    [{ labels: [] }, /"labels"/],
  ])("refuses %j", (option, message) => {
    expect(() => checkGuided(option)).toThrow(
      expect.objectContaining({ code: "bad_input", message: expect.stringMatching(message) }),
    )
  })

  it("takes ten thousand classes", async () => {
    const writer = await GuidedWriter.open()
    const classes = Array.from({ length: 10_000 }, (_, i) => `thing ${i}-${"x".repeat(i % 200)}`)
    const rules = writer.rules(languageOf({ classes, kinds: ["box"], text: false }))
    for (let seed = 0; seed < 3; seed++) {
      const { leaves, issues } = parse(splitReasoning(writer.write(rules, seed).text).text)
      expect(issues).toEqual([])
      for (const { mention } of leaves) expect(classes).toContain(mention)
    }
  })
})
