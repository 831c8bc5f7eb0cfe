import { expect, it } from "vitest"
import { parse } from "../perception/parse"
import { leafConfidences } from "./confidence"

const token = (text: string, logprob: number) => ({ bytes: new TextEncoder().encode(text), logprob })

it("is e to the mean log-probability of the tokens since the leaf before", () => {
  const tokens = [
    token("<think>", -5),
    token("</think>", -5),
    token('<collection mention="cat"> <point> (1,2)', -1),
    token(" </point>", -3),
    token(" <point> (3,4) </point>", -2),
    token(" </collection> and", -1),
    token(" <point_box> (1,2) (3,4) </point_", -0.5),
    token("box>", 0),
    token("<|im_end|>", -9),
  ]
  const text = tokens.map(({ bytes }) => new TextDecoder().decode(bytes)).join("")
  const confidences = leafConfidences(tokens)
  expect(confidences).toHaveLength(parse(text).leaves.length)
  // The first leaf pays for everything before it.
  expect(confidences.map((c) => Math.log(c).toFixed(3))).toEqual(["-3.500", "-2.000", "-0.500"])
})

it("takes characters that are cut between tokens, and what stands behind a tag that never closed", () => {
  const text = '<collection mention="né"> <point> (1,2) </point> <point> (3,4) </point>'
  const tokens = [...new TextEncoder().encode(text)].map((byte) => ({ bytes: Uint8Array.of(byte), logprob: -1 }))
  expect(leafConfidences(tokens)).toHaveLength(parse(text).leaves.length)
  for (const confidence of leafConfidences(tokens)) expect(confidence).toBeCloseTo(Math.exp(-1), 12)
  const behind = "<polygon> (1,1) <point> (3,4) </point>"
  expect(parse(behind).leaves).toHaveLength(1)
  expect(leafConfidences([token(behind, -1)]).map((c) => Math.log(c))).toEqual([expect.closeTo(-1, 12)])
  expect(leafConfidences([])).toEqual([])
})
