import { describe, expect, it } from "vitest"
import { checkGuided, tagLanguage } from "../perception/tag-grammar"
import { jsonLanguage } from "./json-grammar"
import { Grammar, type Language } from "./language"
import { Random } from "./random"
import { utf8Character } from "./utf8-language"

const UTF8 = new TextEncoder()

function behind(language: Language, bytes: Iterable<number>): Language | null {
  let state: Language | null = language
  for (const byte of bytes) state = state?.next(byte) ?? null
  return state
}
const takes = (language: Language, text: string) => behind(language, UTF8.encode(text))?.ends ?? false

const grammar = new Grammar()
const languages: [string, Language][] = [
  ["words", grammar.words(["cat", "catfish", "dog", "é", "è"])],
  ["repeats", grammar.repeat(grammar.either(grammar.text("ab"), grammar.text("c")), 2, 5)],
  ["numbers", grammar.sequence(grammar.digits(17, 2300), grammar.text("."))],
  ["pairs", grammar.digits(0, 1000, (x) => grammar.sequence(grammar.text(","), grammar.digits(x, 1000)))],
  ["characters", grammar.repeat(utf8Character(grammar, 0x20, 0x7e), 0, 3)],
  ["tags", tagLanguage(checkGuided(true)!)],
  ["tags of classes", tagLanguage(checkGuided({ classes: ["a <b>", "größe"], text: false })!)],
  [
    "documents",
    jsonLanguage({
      type: "object",
      properties: { a: { type: "array", items: { $ref: "#" }, maxItems: 2 }, b: { type: "number", minimum: 0.25 } },
      required: ["a"],
    }),
  ],
]

describe("a language", () => {
  it.each(languages)("knows the shortest way to an end from wherever one stands: %s", (_, start) => {
    const random = new Random(4)
    for (let walk = 0; walk < 40; walk++) {
      let language = start
      for (let step = 0; step < 60; step++) {
        const exit = language.exit()
        expect(exit.length).toBe(language.shortest)
        expect(behind(language, exit)?.ends).toBe(true)
        if (exit.length === 0) expect(language.ends).toBe(true)
        else {
          // The rest of the way is the way from there on.
          expect(language.next(exit[0])!.exit()).toEqual(exit.subarray(1))
        }
        const bytes = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => language.next(byte) !== null)
        if (language.only >= 0) expect(bytes).toEqual([language.only])
        if (bytes.length === 0) break
        language = language.next(bytes[Math.floor(random.next() * bytes.length)])!
      }
    }
  })

  it("of a number has each number in range and no other", () => {
    for (const [low, high] of [
      [0, 0],
      [0, 9],
      [7, 7],
      [5, 120],
      [99, 101],
      [0, 1000],
      [612, 1000],
      [1000, 1000],
    ]) {
      const numbers = new Grammar().digits(low, high)
      for (let value = 0; value <= 1200; value++) {
        expect(takes(numbers, String(value)), `${value} of ${low}…${high}`).toBe(value >= low && value <= high)
        expect(takes(numbers, `0${value}`)).toBe(false)
      }
      expect(takes(numbers, "")).toBe(false)
    }
  })

  it("of a number goes on with what the number says", () => {
    const doubled = grammar.digits(0, 50, (x) => grammar.text(`=${2 * x}`))
    for (const x of [0, 7, 50]) expect(takes(doubled, `${x}=${2 * x}`)).toBe(true)
    expect(takes(doubled, "7=15")).toBe(false)
  })

  it("of characters takes what is UTF-8 and nothing else", () => {
    const one = utf8Character(new Grammar(), 0x20, 0x7e)
    const random = new Random(9)
    for (let i = 0; i < 4000; i++) {
      const lead = [0x20, 0xc0, 0xe0, 0xf0][i % 4]
      const bytes = Uint8Array.from({ length: 1 + (i % 4) }, (_, at) =>
        at === 0 ? lead + Math.floor(random.next() * 24) : 0x70 + Math.floor(random.next() * 0x60),
      )
      let valid = true
      try {
        valid = [...new TextDecoder("utf-8", { fatal: true }).decode(bytes)].length === 1
      } catch {
        valid = false
      }
      expect(behind(one, bytes)?.ends ?? false, bytes.join()).toBe(valid)
    }
  })

  it("may hold itself", () => {
    const self = new Grammar()
    const nested = self.reference()
    nested.define(self.either(self.text("x"), self.sequence(self.text("("), nested, self.text(")"))))
    self.settle()
    expect(nested.shortest).toBe(1)
    expect(takes(nested, "((x))")).toBe(true)
    expect(takes(nested, "((x)")).toBe(false)
    expect(behind(nested, UTF8.encode("((("))!.shortest).toBe(4)
    // Ten thousand deep, without a stack that overflows.
    const deep = behind(nested, UTF8.encode("(".repeat(10_000)))!
    expect(deep.exit().length).toBe(10_001)
    const endless = self.reference()
    endless.define(self.sequence(self.text("a"), endless))
    self.settle()
    expect(endless.shortest).toBe(Number.POSITIVE_INFINITY)
  })

  it("is made once", () => {
    const same = new Grammar()
    const loop = same.repeat(utf8Character(same, 0x20, 0x7e), 0)
    const before = same.count
    expect(behind(loop, UTF8.encode("many words, größer und 語 👍 ".repeat(100)))).toBe(loop)
    expect(same.count - before).toBeLessThan(20)
  })
})
