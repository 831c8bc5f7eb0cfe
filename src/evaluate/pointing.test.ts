import { expect, it } from "vitest"
import type { Box } from "./boxes"
import { matchPoints, pointScores } from "./pointing"

const object = (...box: Box) => ({ box })

it("counts points inside and objects that have a point of their own", () => {
  const objects = [object(0, 0, 10, 10), object(20, 0, 10, 10), object(40, 0, 10, 10)]
  const counts = matchPoints(objects, [
    [5, 5],
    [6, 6],
    [30, 10],
    [35, 5],
  ])
  expect(counts).toEqual({ points: 4, inside: 3, objects: 3, hit: 2 })
  const nothingThere = matchPoints([], [[1, 1]])
  expect(nothingThere).toEqual({ points: 1, inside: 0, objects: 0, hit: 0 })
  expect(pointScores([counts, nothingThere])).toMatchObject({ points: 5, insideShare: 3 / 5, recall: 2 / 3 })
  expect(pointScores([])).toMatchObject({ insideShare: null, recall: null })
})

it("gives each point to one object so that most have one", () => {
  // The first point is in both, the second only in the first.
  const objects = [object(0, 0, 10, 10), object(5, 0, 10, 10)]
  expect(
    matchPoints(objects, [
      [7, 5],
      [2, 5],
    ]),
  ).toMatchObject({ inside: 2, hit: 2 })
  expect(matchPoints(objects, [[7, 5]])).toMatchObject({ inside: 1, hit: 1 })
})

it("goes by the mask where there is one", () => {
  const triangle = { box: [0, 0, 10, 10] as const, segmentation: [[0, 0, 10, 0, 0, 10]] }
  expect(matchPoints([triangle], [[8, 8]])).toMatchObject({ inside: 0 })
  expect(matchPoints([{ ...triangle, segmentation: [] }], [[8, 8]])).toMatchObject({ inside: 1 })
  expect(matchPoints([{}], [[0, 0]])).toMatchObject({ inside: 0, objects: 1 })
})

it("leaves out points in a crowd", () => {
  const objects = [object(0, 0, 10, 10), { box: [8, 0, 50, 50] as const, crowd: true }]
  const counts = matchPoints(objects, [
    [9, 5],
    [30, 5],
    [70, 5],
  ])
  expect(counts).toEqual({ points: 2, inside: 1, objects: 1, hit: 1 })
})
