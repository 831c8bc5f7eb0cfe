import { describe, expect, it } from "vitest"
import { readGoldenJson } from "../../test/golden"
import { isIsaacError } from "../errors"
import { pixelShuffleIndex } from "./pixel-shuffle"

interface Cases {
  cases: { scale_factor: number; token_grids: [number, number][]; index_map: number[][] }[]
  errors: { scale_factor: number; token_grids: [number, number][] }[]
}
const golden = readGoldenJson<Cases>("ops/pixel_shuffle.json")
const grids = (pairs: [number, number][]) => pairs.map(([rows, columns]) => ({ rows, columns }))

describe("pixel shuffle", () => {
  for (const { scale_factor, token_grids, index_map } of golden.cases) {
    it(`factor ${scale_factor} over ${JSON.stringify(token_grids)} equals the reference's index map`, () => {
      expect([...pixelShuffleIndex(grids(token_grids), scale_factor)]).toEqual(index_map.flat())
    })
  }
  for (const { scale_factor, token_grids } of golden.errors) {
    it(`refuses factor ${scale_factor} over ${JSON.stringify(token_grids)}`, () => {
      let thrown: unknown
      try {
        pixelShuffleIndex(grids(token_grids), scale_factor)
      } catch (error) {
        thrown = error
      }
      expect(isIsaacError(thrown) && thrown.code).toBe("bad_input")
    })
  }
})
