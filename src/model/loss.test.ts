import { describe, expect, it } from "vitest"
import { readGolden } from "../../test/golden"
import { crossEntropy, IGNORED_LABEL, meanLoss, negativeLogLikelihood, shiftLabels } from "./loss"

const golden = await readGolden("ops/nn_ops.safetensors")

describe("loss", () => {
  for (const name of ["cross_entropy", "cross_entropy_one_valid", "cross_entropy_batch"]) {
    it(`${name} equals the reference`, () => {
      const logits = golden.get(`${name}.logits`)!
      const labels = golden.get(`${name}.labels`)!
      const batch = logits.shape.length === 3 ? logits.shape[0] : 1
      const loss = crossEntropy(logits.data as Float32Array, labels.data as Int32Array, batch)
      const [want] = golden.get(`${name}.out`)!.data
      expect(Math.abs(loss - want)).toBeLessThanOrEqual(2e-5)
    })
  }

  it("is NaN when no label counts", () => {
    expect(crossEntropy(new Float32Array(6), Int32Array.of(1, IGNORED_LABEL, IGNORED_LABEL), 1)).toBeNaN()
  })

  it("shifts inside each row of a batch", () => {
    expect([...shiftLabels(Int32Array.of(1, 2, 3, 4, 5, 6), 2)]).toEqual([2, 3, IGNORED_LABEL, 5, 6, IGNORED_LABEL])
  })

  it("adds up over pieces of the rows", () => {
    const logits = Float32Array.from({ length: 12 }, (_, i) => Math.sin(i))
    const targets = Int32Array.of(2, IGNORED_LABEL, 0, 1)
    const pieces = [
      negativeLogLikelihood(logits.subarray(0, 6), targets.subarray(0, 2)),
      negativeLogLikelihood(logits.subarray(6), targets.subarray(2)),
    ]
    expect(meanLoss(pieces)).toBeCloseTo(meanLoss([negativeLogLikelihood(logits, targets)]), 12)
  })

  it("refuses a label outside the vocabulary", () => {
    expect(() => crossEntropy(new Float32Array(6), Int32Array.of(0, 3), 1)).toThrow(/label 3 .* vocabulary of 3/)
    expect(() => crossEntropy(new Float32Array(6), Int32Array.of(0, -1), 1)).toThrow(/label -1/)
  })
})
