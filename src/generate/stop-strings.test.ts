import { describe, expect, it } from "vitest"
import { Random } from "./random"
import { checkStop, StopStrings } from "./stop-strings"

/** The plain definition: character by character, until the text so far ends with one of them. */
function expected(text: string, stops: readonly string[]): { text: string; hit: string | null } {
  for (let end = 1; end <= text.length; end++) {
    const found = stops.filter((stop) => text.slice(0, end).endsWith(stop)).sort((a, b) => b.length - a.length)
    if (found.length > 0) return { text: text.slice(0, end - found[0].length), hit: found[0] }
  }
  return { text, hit: null }
}

function run(pieces: readonly string[], stops: readonly string[]): { text: string; hit: string | null } {
  const matcher = new StopStrings(stops)
  let text = ""
  for (const piece of pieces) text += matcher.push(piece)
  return { text: text + matcher.end(), hit: matcher.hit }
}

describe("StopStrings", () => {
  it("finds a text across pieces and gives out nothing of it", () => {
    const matcher = new StopStrings(["END"])
    expect(["one E", "N", "D two"].map((piece) => matcher.push(piece))).toEqual(["one ", "", ""])
    expect([matcher.hit, matcher.end(), matcher.push("more")]).toEqual(["END", "", ""])
  })

  it("gives out what was held back as soon as it is no beginning, and at the end", () => {
    const matcher = new StopStrings(["aab"])
    expect(["xa", "a", "a", "c", "a"].map((piece) => matcher.push(piece))).toEqual(["x", "", "a", "aac", ""])
    expect([matcher.end(), matcher.end(), matcher.hit]).toEqual(["a", "", null])
  })

  it("takes the one that is complete first, and of those the longest", () => {
    expect(run(["say xabcd"], ["xabcd", "bc"])).toEqual({ text: "say xa", hit: "bc" })
    expect(run(["say xabcd"], ["bc", "xabc", "c"])).toEqual({ text: "say ", hit: "xabc" })
  })

  it("knows characters of many bytes and pairs of units", () => {
    expect(run(["日本", "語です"], ["語で"])).toEqual({ text: "日本", hit: "語で" })
    expect(run(["ok 👍🏽", "!"], ["🏽!"])).toEqual({ text: "ok 👍", hit: "🏽!" })
  })

  it("does what the definition says, for random texts, stops and cuts", () => {
    const random = new Random(21)
    const below = (n: number) => Math.floor(random.next() * n)
    const letters = ["a", "b", "é", "語", "👍", "<"]
    const word = (most: number) => Array.from({ length: 1 + below(most) }, () => letters[below(3 + below(4))]).join("")
    let hits = 0
    for (let round = 0; round < 20_000; round++) {
      const stops = Array.from({ length: 1 + below(3) }, () => word(4))
      const text = word(30)
      const pieces: string[] = []
      for (const character of text) {
        if (pieces.length === 0 || below(3) === 0) pieces.push(character)
        else pieces[pieces.length - 1] += character
      }
      const wanted = expected(text, stops)
      if (wanted.hit !== null) hits++
      expect(run(pieces, stops), JSON.stringify({ pieces, stops })).toEqual(wanted)
    }
    expect(hits).toBeGreaterThan(5000)
    expect(hits).toBeLessThan(19_000)
  })

  it("of none lets everything through at once", () => {
    const matcher = new StopStrings([])
    expect([matcher.push("abc"), matcher.end(), matcher.hit]).toEqual(["abc", "", null])
  })
})

describe("checkStop", () => {
  it("takes one text, several or none", () => {
    expect([checkStop(undefined), checkStop("a"), checkStop(["a", "b"]), checkStop([])]).toEqual([
      [],
      ["a"],
      ["a", "b"],
      [],
    ])
  })

  it.each<[unknown, RegExp]>([
    ["", /0 characters; it must have 1 to 1024/],
    [["a", ""], /0 characters/],
    ["x".repeat(1025), /1025 characters/],
    [Array.from({ length: 65 }, () => "a"), /65 texts; at most 64/],
    [3, /stop has 3; it must be a string/],
    [null, /stop has null/],
    [["a", 1], /stop has 1/],
    ["\ud83d", /half a character/],
  ])("refuses %j", (stop, message) => {
    expect(() => checkStop(stop)).toThrow(message)
  })
})
