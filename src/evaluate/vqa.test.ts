import { describe, expect, it } from "vitest"
import { normaliseAnswer, vqaAccuracy, vqaScores } from "./vqa"

describe("normaliseAnswer", () => {
  it.each([
    ["Yes.", "yes"],
    ["The  two\nDogs", "2 dogs"],
    ["none", "0"],
    ["a red, round ball!", "red round ball"],
    ["black/white", "black white"],
    ["1,000", "1000"],
    ["3.5", "3.5"],
    ["10:30", "10:30"],
    ["dont know", "don't know"],
    ["don’t know", "don't know"],
    ['"stop"', "stop"],
    ["(left)", "left"],
    ["t-shirt", "t shirt"],
    ["", ""],
  ])("%j → %j", (text, normal) => {
    expect(normaliseAnswer(text)).toBe(normal)
    expect(normaliseAnswer(normal)).toBe(normal)
  })
})

describe("vqaAccuracy", () => {
  const people = (right: number) => Array.from({ length: 10 }, (_, i) => (i < right ? "Yes" : "no"))

  // Over the ten ways to leave one out: with n of 10, n times min((n-1)/3, 1) and 10-n times min(n/3, 1).
  it.each([
    [0, 0],
    [1, 0.3],
    [2, 0.6],
    [3, 0.9],
    [4, 1],
    [10, 1],
  ])("with %i of ten people: %f", (right, accuracy) => {
    expect(vqaAccuracy({ accepted: people(right), said: "yes." })).toBeCloseTo(accuracy, 12)
  })

  it("with few accepted answers takes any of them", () => {
    expect(vqaAccuracy({ accepted: ["grey", "gray"], said: "Gray" })).toBe(1)
    expect(vqaAccuracy({ accepted: ["grey"], said: "blue" })).toBe(0)
  })
})

it("tells answers that are right letter for letter from those that are right when normalised", () => {
  const pairs = [
    { accepted: ["No."], said: "No. " },
    { accepted: ["no"], said: "No." },
    { accepted: ["red"], said: "blue" },
    { accepted: ["red", "red", "red", "blue"], said: "blue" },
  ]
  // Leaving out the one who said blue leaves nobody, each of the three others leaves one of three.
  expect(vqaScores(pairs)).toEqual({
    ...{ questions: 4, exact: 2 / 4, normalised: 3 / 4 },
    accuracy: expect.closeTo((1 + 1 + 0 + (3 * (1 / 3)) / 4) / 4, 12),
  })
  expect(vqaScores([])).toEqual({ questions: 0, exact: null, normalised: null, accuracy: null })
})
