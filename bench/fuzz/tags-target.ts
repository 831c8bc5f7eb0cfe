/** Pointing tags and reasoning in texts that no model would write: whole, in pieces, and beside the plainest parser. */

import {
  extractPoints,
  extractReasoning,
  type Leaf,
  type ParseResult,
  parse,
  ReasoningStream,
  serialize,
  splitReasoning,
  stripTags,
  TagStream,
} from "../../src/perception/parse"
import { editText, pick, type Random } from "./random"
import { type FuzzTarget, promise } from "./target"

const NAMES = ["point", "point_box", "polygon", "collection", "Point", "POLYGON", "pointt", "poly", "think"]
const MENTIONS = [
  "cat",
  '"a cat"',
  '"a>b"',
  "'x'",
  '"&lt;&amp;&#x27;&notit;"',
  '"猫 🐱"',
  '""',
  '"a',
  "a=b",
  '"<point>"',
]
const TIMES = ["1.5", '"2"', "-0", "1e-7", "nan", "1_0", "٣", "x", "inf", "1e999", '" 3 "', ".5", "00"]
const PAIRS = [
  "(1,2)",
  " (3,4)",
  "( 5 , 6 )",
  "(1000,0)",
  "(-1,2)",
  "(1.5,2)",
  "(٣,٤)",
  "(1,2",
  "1,2)",
  "((7,8))",
  "()",
]
const PIECES = [
  ...[
    "<",
    ">",
    "/",
    "</",
    "=",
    '"',
    "(",
    ",",
    ")",
    " ",
    "\n",
    "\u001c",
    "\u00a0",
    "\ufeff",
    "\u0085",
    "ı",
    "İ",
    "😀",
    "\ud83d",
    "\ude00",
  ],
  ...["<point>", "</point>", "<point_box>", "</point_box>", "<polygon t=2>", "</polygon>", "<Point ", "< point>"],
  ...["<collection>", '<collection mention="g" t=4>', "</collection>", "<collection ", "<collectıon>", "</collectıon>"],
  ...["<think>", "</think>", "<THINK>", "<thinK>", "</thi", "<thİnk>", "&amp;", "&#0;", "&#x110000;", "mention=", "t="],
  ...PAIRS,
  ...["(99999999999999999999,1)", "(007,1)", "𝟙", "a word", "  "],
]

export const tagsTarget: FuzzTarget = {
  name: "tags",

  make(random) {
    let text = random(4) === 0 ? "" : pick(random, ["Two cats: ", "", "<think>\n\n</think>\n\n", "😀 "])
    for (let tags = random(5); tags > 0; tags--) text += tagText(random, 0) + pick(random, ["", " ", " and ", "\n"])
    return random(3) === 0 ? text : editText(random, text, PIECES, 1 + random(text.length < 40 ? 16 : 6))
  },

  check(text, random) {
    // 1. Whole: segments are the text, and nothing throws.
    const whole = parse(text)
    checkSegments(text, whole)
    const { leaves, issues } = whole

    // 2. In pieces: the same leaves, each once, and the same issues.
    const stream = new TagStream()
    const streamed: Leaf[] = []
    let seen = 0
    for (let at = 0; at < text.length; ) {
      const size = 1 + random(random(3) === 0 ? 3 : 24)
      streamed.push(...stream.push(text.slice(at, at + size)))
      promise(stream.issues.length >= seen, "an issue was taken back")
      seen = stream.issues.length
      at += size
    }
    streamed.push(...stream.end())
    promise(stream.end().length === 0, "leaves came after the end")
    promise(equal(streamed, leaves), `in pieces ${JSON.stringify(streamed)}, whole ${JSON.stringify(leaves)}`)
    const sorted = [...stream.issues].sort((a, b) => a.span[0] - b.span[0])
    promise(equal(sorted, issues), "in pieces there are other issues")

    // 3. Beside the definition: a regular expression, which is only slow on long texts.
    const plain = extractPoints(text)
    if (isAscii(text)) {
      const defined = definedPoints(text)
      promise(equal(plain.map(numbersOf), defined), `${JSON.stringify(plain)} should be ${JSON.stringify(defined)}`)
    }
    promise(equal(leaves.map(numbersOf), plain.map(numbersOf)), "leaves and extractPoints point elsewhere")

    // 4. Written again, read again.
    if (random(4) === 0) {
      for (const segment of whole.segments) {
        if (segment.type !== "tag") continue
        const again = parse(serialize(segment.tag)).segments
        promise(again.length === 1 && equal(again[0], { ...segment, span: again[0].span }), "not read back")
      }
      promise(stripTags(text).length <= text.length, "stripping made the text longer")
    }

    // 5. Reasoning: the same in any pieces.
    const split = splitReasoning(text)
    const reasoning = new ReasoningStream()
    let [said, thought] = ["", ""]
    for (let at = 0; at < text.length; ) {
      const size = 1 + random(9)
      const delta = reasoning.push(text.slice(at, at + size))
      said += delta.text
      thought += delta.reasoning
      at += size
    }
    const last = reasoning.end()
    promise(
      said + last.text === split.text,
      `said ${JSON.stringify(said + last.text)} in pieces, ${JSON.stringify(split.text)}`,
    )
    promise((thought + last.reasoning || null) === split.reasoning, "thought something else in pieces")
    if (isAscii(text)) {
      const [outside, inside] = definedReasoning(text)
      promise(
        withoutSpace(split.text) === outside,
        `said ${JSON.stringify(split.text)}, not ${JSON.stringify(outside)}`,
      )
      promise(withoutSpace(split.reasoning ?? "") === inside, `thought ${split.reasoning}, not ${inside}`)
    }
    extractReasoning(text)

    const kinds = new Set([...leaves.map(({ type }) => type), ...issues.map(({ code }) => code)])
    const groups = whole.segments.filter((s) => s.type === "tag" && s.tag.type === "collection").length
    return `${[...kinds].sort()} ${Math.min(leaves.length, 4)} leaves, ${Math.min(groups, 2)} groups, ${split.reasoning !== null}`
  },
}

function tagText(random: Random, depth: number): string {
  const name = pick(random, NAMES)
  const attributes: string[] = []
  if (random(2) === 0) attributes.push(`mention=${pick(random, MENTIONS)}`)
  if (random(3) === 0)
    attributes.push(`${pick(random, ["t", "T", "at"])}${pick(random, ["=", " = "])}${pick(random, TIMES)}`)
  let body = ""
  if (name === "collection" && depth < 3) for (let i = random(4); i > 0; i--) body += ` ${tagText(random, depth + 1)}`
  else for (let i = random(5); i > 0; i--) body += pick(random, PAIRS)
  const close = random(8) === 0 ? pick(random, NAMES) : name
  return `<${[name, ...attributes].join(" ")}>${body}${pick(random, ["", " "])}</${close}>`
}

function checkSegments(text: string, { segments, issues }: ParseResult): void {
  const points = Array.from(text)
  let at = 0
  for (const segment of segments) {
    const [start, end] = segment.span
    promise(start === at && end > start, `a segment begins at ${start}, the one before ends at ${at}`)
    if (segment.type === "text")
      promise(points.slice(start, end).join("") === segment.text, "a segment's text is not the text's")
    at = end
  }
  promise(at === points.length, `segments end at ${at} of ${points.length}`)
  for (const { span } of issues)
    promise(span[0] >= 0 && span[0] < span[1] && span[1] <= points.length, "an issue lies outside")
}

// ── The definition: the reference's regular expressions ──

const S = "[\\t-\\r\\x1c-\\x20]"
const TAG = new RegExp(`<(point_box|point|polygon|collection)(?:${S}+[^>]+)?>([\\s\\S]*?)</\\1>`, "gi")
const MEMBER = new RegExp(`<(point_box|point|polygon|collection)(?:${S}+[^>]+)?>([\\s\\S]*?)</\\1>`, "gi")
const PAIR = new RegExp(`\\(${S}*(\\d+)${S}*,${S}*(\\d+)${S}*\\)`, "g")
const SPACES = new RegExp(S, "g")
const NEEDED: Readonly<Record<string, number>> = { point: 1, point_box: 2, polygon: 3 }

/** The numbers of every leaf of an ASCII text. */
function definedPoints(text: string): number[][] {
  const found: number[][] = []
  const leaf = (name: string, body: string) => {
    const needed = NEEDED[name]
    const pairs = Array.from(body.matchAll(PAIR), ([, x, y]) => [Number(x), Number(y)])
    const used = name === "polygon" ? pairs : pairs.slice(0, needed)
    if (used.length >= needed && used.flat().every(Number.isSafeInteger)) found.push(used.flat())
  }
  for (const [, name, body] of text.matchAll(TAG)) {
    if (name.toLowerCase() !== "collection") leaf(name.toLowerCase(), body)
    else {
      for (const [, member, inside] of body.matchAll(MEMBER)) {
        if (member.toLowerCase() !== "collection") leaf(member.toLowerCase(), inside)
      }
    }
  }
  return found
}

/** What stands outside and inside of the think blocks of an ASCII text, white space left out. */
function definedReasoning(text: string): [outside: string, inside: string] {
  const said: [string, string] = ["", ""]
  let thinking = false
  for (const piece of text.split(/(<\/?think>)/i)) {
    const tag = piece.toLowerCase()
    if (tag === (thinking ? "</think>" : "<think>")) thinking = !thinking
    else said[thinking ? 1 : 0] += withoutSpace(piece)
  }
  return said
}

function withoutSpace(text: string): string {
  return text.replace(SPACES, "")
}

function numbersOf(leaf: Leaf): number[] {
  if (leaf.type === "point") return [leaf.x, leaf.y]
  return leaf.type === "box" ? [leaf.x1, leaf.y1, leaf.x2, leaf.y2] : leaf.points.flat()
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) return false
  return true
}

/** Deep equality of plain values; NaN equals itself, -0 does not equal 0. */
function equal(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false
  const [keys, others] = [Object.keys(a), Object.keys(b)]
  return (
    keys.length === others.length &&
    keys.every((key) => equal((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key]))
  )
}
