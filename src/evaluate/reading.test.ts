import { describe, expect, it } from "vitest"
import { editDistance, normaliseText, readingScores } from "./reading"

describe("editDistance", () => {
  it.each([
    ["kitten", "sitting", 3],
    ["saturday", "sunday", 3],
    ["", "abc", 3],
    ["abc", "", 3],
    ["same", "same", 0],
    ["ab", "ba", 2],
  ])("%s → %s: %i", (a, b, edits) => {
    expect(editDistance([...a], [...b])).toBe(edits)
    expect(editDistance([...b], [...a])).toBe(edits)
  })
})

describe("readingScores", () => {
  it("sums edits and characters over all texts", () => {
    // 1 of 4 and 3 of 6 characters; one word of one, two words of two.
    const { raw } = readingScores([
      { expected: "STOP", said: "STEP" },
      { expected: "GO NOW", said: "GONOE" },
    ])
    // GO NOW → GONOE: the space left out, W → E.
    expect(raw).toEqual({ texts: 2, exact: 0, cer: 3 / 10, wer: 3 / 3 })
  })

  it("forgives forms of characters and white space only when normalised", () => {
    const { raw, normalised } = readingScores([{ expected: "Café  du\nNord", said: " Cafe\u0301 du Nord " }])
    expect(normalised).toEqual({ texts: 1, exact: 1, cer: 0, wer: 0 })
    expect(raw).toMatchObject({ exact: 0, wer: 1 / 3 })
    expect(raw.cer).toBeGreaterThan(0.2)
    expect(normaliseText("a\u00a0 b")).toBe("a b")
    expect(readingScores([{ expected: "Stop", said: "stop" }]).normalised.cer).toBe(1 / 4)
  })

  it("counts code points, may exceed 1, and has no rate without true text", () => {
    expect(readingScores([{ expected: "😀", said: "😁" }]).raw.cer).toBe(1)
    expect(readingScores([{ expected: "A", said: "BCD" }]).raw.cer).toBe(3)
    expect(readingScores([{ expected: "", said: "X" }]).raw).toEqual({ texts: 1, exact: 0, cer: null, wer: null })
  })
})
