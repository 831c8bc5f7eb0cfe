import { describe, expect, it } from "vitest"
import { readGolden, readGoldenJson } from "../../test/golden"
import { axisWeights, resizeBilinear } from "./resize-bilinear"
import type { RgbImage } from "./rgb-image"

const golden = readGoldenJson<{
  cases: { k: number; input_hw: [number, number]; output_hw: [number, number] }[]
  fixed_point_weights: { input: number; output: number; precision: number; rows: [number, number[]][] }[]
}>("ops/resize_u8.json")
const tensors = await readGolden("ops/resize_u8.safetensors")

describe("the weight tables equal the reference's", () => {
  for (const { input, output, precision, rows } of golden.fixed_point_weights) {
    it(`${input} → ${output}`, () => {
      const table = axisWeights(input, output)
      expect(table.precision).toBe(precision)
      // The reference leaves the second weight of the last pixel out.
      const ours = rows.map(([, weights], i) => [
        table.first[i],
        [...table.weights.slice(2 * i, 2 * i + weights.length)],
      ])
      expect(ours).toEqual(rows)
      rows.forEach(([, weights], i) => {
        if (weights.length === 1) expect(table.weights[2 * i + 1]).toBe(0)
      })
    })
  }
})

describe("resized pixels equal the reference's", () => {
  for (const { k, input_hw, output_hw } of golden.cases) {
    it(`${input_hw.join("×")} → ${output_hw.join("×")}`, () => {
      const [height, width] = input_hw
      const image = { height, width, data: tensors.get(`in_${k}`)?.data as Uint8Array }
      const resized = resizeBilinear(image, ...output_hw)
      expect([resized.height, resized.width]).toEqual(output_hw)
      expect(Buffer.compare(resized.data, tensors.get(`out_${k}`)?.data as Uint8Array)).toBe(0)
    })
  }
})

describe("resizeBilinear", () => {
  const noise = (height: number, width: number): RgbImage => ({
    height,
    width,
    data: Uint8Array.from({ length: height * width * 3 }, (_, i) => (Math.imul(i + 1, 0x9e3779b1) >>> 13) & 255),
  })

  it("is two passes with a rounding between them: the width, then the height", () => {
    for (const [h, w, height, width] of [
      [13, 29, 40, 7],
      [57, 5, 8, 64],
      [1, 9, 6, 4],
      [9, 1, 4, 6],
      [200, 3, 11, 3],
    ]) {
      const image = noise(h, w)
      const twoPasses = resizeBilinear(resizeBilinear(image, h, width), height, width)
      expect(resizeBilinear(image, height, width).data).toEqual(twoPasses.data)
    }
  })

  it("keeps a uniform image uniform, whatever the weights round to", () => {
    for (const value of [0, 1, 128, 255]) {
      const image = { height: 97, width: 31, data: new Uint8Array(97 * 31 * 3).fill(value) }
      expect(new Set(resizeBilinear(image, 64, 224).data)).toEqual(new Set([value]))
    }
  })

  it("returns the image itself when nothing changes", () => {
    const image = noise(4, 5)
    expect(resizeBilinear(image, 4, 5)).toBe(image)
  })

  it("refuses a target without a size", () => {
    expect(() => resizeBilinear(noise(4, 5), 0, 5)).toThrow("5×0")
  })
})
