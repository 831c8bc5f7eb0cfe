import { describe, expect, it } from "vitest"
import { readGoldenJson } from "../../test/golden"
import { extractReasoning, ReasoningCleaner, ReasoningStream, splitReasoning } from "./reasoning"

const TEXTS = readGoldenJson<{ cases: { text: string }[] }>("pointing/parser.json").cases.map(({ text }) => text)

function streamed(text: string, size: number) {
  const stream = new ReasoningStream()
  let answer = ""
  let reasoning = ""
  const take = (delta: { text: string; reasoning: string }) => {
    answer += delta.text
    reasoning += delta.reasoning
  }
  for (let at = 0; at < text.length; at += size) take(stream.push(text.slice(at, at + size)))
  take(stream.end())
  return { text: answer, reasoning: reasoning || null }
}

const MORE = [
  "<think>\n\n</think>\n\nThe cat.",
  "<think>\nfirst  line\n\nsecond\n</think>\n\n  An  answer \t with blanks\n",
  "<think> a </think> x <think> b </think> y",
  "<think>  </think>x<think>b</think><think> </think><think>c</think>",
  "a < b <thin <think>no <b>tags</b> </thin </think",
  "<THINK>x</Think>y",
  "a<<think>b<</think>c",
  "a  <think>b</think>  c",
  "</think>a<think>b<think>c</think>d</think>",
]

describe("ReasoningStream", () => {
  it("gives splitReasoning's answer in any chunking", () => {
    for (const text of [...TEXTS, ...MORE]) {
      const whole = splitReasoning(text)
      for (const size of [1, 2, 3, 7, 20]) expect(streamed(text, size), JSON.stringify([text, size])).toEqual(whole)
    }
  })

  it("agrees with extractReasoning where every block is closed", () => {
    let compared = 0
    for (const text of [...TEXTS, ...MORE]) {
      const { text: rest, reasoning } = extractReasoning(text)
      if (/<think>/i.test(rest ?? "")) continue
      compared++
      expect(splitReasoning(text), text).toEqual({ text: rest ?? "", reasoning: reasoning.join("\n") || null })
    }
    expect(compared).toBeGreaterThan(150)
  })

  it("takes a block that the end cuts off for reasoning", () => {
    expect(splitReasoning("Well <think> hm, <point> (1,2) </point> </thi")).toEqual({
      text: "Well",
      reasoning: "hm, <point> (1,2) </point> </thi",
    })
  })

  it("holds back half a tag and white space, nothing else", () => {
    const stream = new ReasoningStream()
    expect(stream.push("  One ")).toEqual({ text: "One", reasoning: "" })
    expect(stream.push("two <thi")).toEqual({ text: " two", reasoning: "" })
    expect(stream.push("rd> 3 <")).toEqual({ text: " <third> 3", reasoning: "" })
    expect(stream.push("think>why")).toEqual({ text: "", reasoning: "why" })
    expect(stream.push(" not</")).toEqual({ text: "", reasoning: " not" })
    expect(stream.push("think>four")).toEqual({ text: " four", reasoning: "" })
    expect(stream.push("<")).toEqual({ text: "", reasoning: "" })
    expect(stream.end()).toEqual({ text: "<", reasoning: "" })
    expect(() => stream.push("x")).toThrow(expect.objectContaining({ code: "bad_input" }))
  })
})

describe("hostile texts take linear time", () => {
  const SIZE = 1 << 20
  const fill = (piece: string) => piece.repeat(SIZE / piece.length)
  it.each(["<think>", "</think>", "<", " ", "<think>  ", "a <think>b</think>", "\n\t"])("%j", (piece) => {
    const text = fill(piece)
    const started = process.cpuUsage()
    extractReasoning(text)
    streamed(text, 64)
    const cleaner = new ReasoningCleaner()
    for (let at = 0; at < text.length; at += 64) cleaner.consume(text.slice(at, at + 64))
    const { user, system } = process.cpuUsage(started)
    expect((user + system) / 1000).toBeLessThan(5000)
  })

  it("a reset cleaner starts afresh", () => {
    const cleaner = new ReasoningCleaner()
    cleaner.consume("<think>old")
    cleaner.reset()
    expect(cleaner.consume("</think>new")).toEqual({ text: "</think>new", reasoning: [] })
  })
})

describe("ReasoningStream, verbatim", () => {
  const text = '\n<think>a  b</think>\n\n{"x":  "<think>no</think>"} </think>\n'

  it("takes the first block only, and leaves blanks in the text, in any chunking", () => {
    for (let size = 1; size <= text.length; size++) {
      const stream = new ReasoningStream({ verbatim: true })
      const deltas = [...text.match(new RegExp(`[^]{1,${size}}`, "g"))!].map((piece) => stream.push(piece))
      deltas.push(stream.end())
      expect(deltas.map((delta) => delta.text).join("")).toBe('{"x":  "<think>no</think>"} </think>')
      expect(deltas.map((delta) => delta.reasoning).join("")).toBe("a  b")
    }
  })
})
