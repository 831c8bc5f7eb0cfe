import { describe, expect, it } from "vitest"
import { checkGuided, tagLanguage } from "../perception/tag-grammar"
import { jsonLanguage } from "./json-grammar"
import { Grammar, type Language } from "./language"
import { Random } from "./random"
import { TokenTrie } from "./token-trie"
import type { Vocabulary } from "./vocabulary"

const UTF8 = new TextEncoder()

/** All bytes, then pieces of words by chance, some of them twice. */
function vocabularyOf(size: number, seed: number): Vocabulary {
  const random = new Random(seed)
  const letters = ' "<>/(),_=pointbxlygcemdhk0123456789{}[]:é語'
  const below = (n: number) => Math.floor(random.next() * n)
  const tokens = Array.from({ length: size }, (_, id) =>
    id < 256
      ? Uint8Array.of(id)
      : UTF8.encode(Array.from({ length: 1 + below(8) }, () => [...letters][below(letters.length)] ?? "x").join("")),
  )
  return { size, tokenBytes: (id) => tokens[id], isSpecial: () => false }
}

function behind(language: Language, bytes: Uint8Array): Language | null {
  let state: Language | null = language
  for (const byte of bytes) state = state?.next(byte) ?? null
  return state
}

const places: [string, Language][] = [
  ["words", tagLanguage(checkGuided(true)!)],
  ["behind <point", behind(tagLanguage(checkGuided(true)!), UTF8.encode("<point"))!],
  ["a mention", behind(tagLanguage(checkGuided(true)!), UTF8.encode('<point mention="x'))!],
  ["a coordinate", behind(tagLanguage(checkGuided(true)!), UTF8.encode("<point_box> (31,9) ("))!],
  ["a document", jsonLanguage({ type: "object", properties: { a: { type: "string" } }, required: ["a"] })],
  ["a string", behind(jsonLanguage({ type: "string" }), UTF8.encode('"a'))!],
]

describe("a trie of tokens", () => {
  const vocabulary = vocabularyOf(3000, 5)
  const trie = new TokenTrie(vocabulary, (id) => id % 10 !== 9)

  it.each(places)("finds the tokens that a language takes: %s", (_, language) => {
    const all = Array.from({ length: vocabulary.size }, (_, id) => id)
    const expected = all.filter((id) => id % 10 !== 9 && behind(language, vocabulary.tokenBytes(id)) !== null)
    const found = trie.walk(language, () => true)
    expect([...found.ids]).toEqual(expected)
    expect(expected.length).toBeGreaterThan(0)
    for (const id of all) expect(found.has(id)).toBe(expected.includes(id))
    const short = trie.walk(language, (rest) => rest.shortest < 3)
    expect([...short.ids]).toEqual(expected.filter((id) => behind(language, vocabulary.tokenBytes(id))!.shortest < 3))
  })

  it("knows the fewest tokens of a text", () => {
    const few: Vocabulary = {
      ...{ size: 5, isSpecial: () => false },
      tokenBytes: (id) => UTF8.encode(["a", "ab", "bc", "abcd", "e"][id]),
    }
    const small = new TokenTrie(few, () => true)
    for (const [text, cost] of [
      ["", 0],
      ["a", 1],
      ["abc", 2],
      ["abcd", 1],
      ["abcde", 2],
      ["aabc", 3],
      ["b", Infinity],
    ] as const) {
      expect(small.fewest(UTF8.encode(text)), text).toBe(cost)
    }
    expect(small.complete).toBe(false)
    expect(trie.complete).toBe(false) // byte 9 is not taken
    expect(new TokenTrie(vocabulary, () => true).complete).toBe(true)
  })

  it("knows the long ones", () => {
    const long = trie.longTokens(9)
    const all = Array.from({ length: vocabulary.size }, (_, id) => id)
    const expected = all.filter((id) => id % 10 !== 9 && vocabulary.tokenBytes(id).length > 9)
    expect([...long].sort((a, b) => a - b)).toEqual(expected)
    expect(expected.length).toBeGreaterThan(0)
    const set = trie.walk(places[0][1], () => true)
    const some = set.ids.filter((_, i) => i % 3 === 0)
    expect([...set.without([...some]).ids]).toEqual([...set.ids.filter((_, i) => i % 3 !== 0)])
    expect(set.without([])).toBe(set)
  })

  it("tells whether a longer token may come", () => {
    const grammar = new Grammar()
    const words: Vocabulary = {
      ...{ size: 4, isSpecial: () => false },
      tokenBytes: (id) => UTF8.encode([" (", " (1", " (x", "("][id]),
    }
    const small = new TokenTrie(words, () => true)
    const number = grammar.sequence(grammar.text(" ("), grammar.digits(0, 9))
    expect(small.longerThan(UTF8.encode(" ("), number)).toBe(true)
    expect(small.longerThan(UTF8.encode(" ("), grammar.text(" (2"))).toBe(false)
    expect(small.longerThan(UTF8.encode("("), grammar.text("(2"))).toBe(false)
    expect(small.has(1)).toBe(true)
  })

  it("looks at few of 151,936 tokens where little may come, and at none of them twice", () => {
    const large = vocabularyOf(151_936, 6)
    const tree = new TokenTrie(large, () => true)
    const cost = (language: Language) => {
      const before = tree.looked
      tree.walk(language, () => true)
      return tree.looked - before
    }
    for (const [place, language] of places) {
      const looked = cost(language)
      expect(looked, place).toBeLessThan(tree.nodes)
      if (place === "a coordinate") expect(looked).toBeLessThan(tree.nodes / 50)
      if (place === "a document") expect(looked).toBeLessThan(tree.nodes / 50)
    }
  })
})
