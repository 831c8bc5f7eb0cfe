import { expect, it } from "vitest"
import { countScores } from "./counting"

it("says how far counts are off, an answer without a number taken for 0", () => {
  const pairs = [
    { expected: 3, said: 3 },
    { expected: 2, said: 4 },
    { expected: 5, said: 4 },
    { expected: 1, said: null },
    { expected: 0, said: null },
  ]
  expect(countScores(pairs)).toEqual({
    ...{ questions: 5, unanswered: 2, exact: 0.2, mae: 0.8, bias: 0 },
    rmse: expect.closeTo(Math.sqrt((4 + 1 + 1) / 5), 12),
  })
  expect(countScores([])).toEqual({ questions: 0, unanswered: 0, exact: null, mae: null, rmse: null, bias: null })
})
