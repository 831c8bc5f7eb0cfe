import { describe, expect, it } from "vitest"
import { readGoldenJson } from "../../test/golden"
import { targetSize } from "./vision-sizing"

interface GoldenParams {
  patch_size: number
  max_num_patches: number
  min_num_patches: number | null
  pixel_shuffle_scale: number
}

const golden = readGoldenJson<{
  real: { params: GoldenParams; rows: [number, number, number, number][] }
  other: (GoldenParams & { height: number; width: number; out: [number, number] })[]
}>("ops/image_size.json")

const sizing = (params: GoldenParams) => ({
  patchSize: params.patch_size,
  pixelShuffle: params.pixel_shuffle_scale,
  minPatches: params.min_num_patches,
  maxPatches: params.max_num_patches,
})

describe("targetSize equals the reference", () => {
  it("for the published parameters", () => {
    expect(golden.real.rows.length).toBe(400)
    const real = sizing(golden.real.params)
    for (const [height, width, ...expected] of golden.real.rows) {
      const target = targetSize(height, width, real)
      expect([height, width, target.height, target.width]).toEqual([height, width, ...expected])
    }
  })

  it("for other patch sizes, shuffle factors and limits", () => {
    expect(golden.other.length).toBe(100)
    for (const { height, width, out, ...params } of golden.other) {
      const target = targetSize(height, width, sizing(params))
      expect({ ...params, height, width, out: [target.height, target.width] }).toEqual({
        ...params,
        height,
        width,
        out,
      })
    }
  })
})

describe("targetSize", () => {
  const real = { patchSize: 16, pixelShuffle: 2, minPatches: 256, maxPatches: 6144 }

  it("leaves 1×1 below the minimum: the scale up is capped", () => {
    expect(targetSize(1, 1, real)).toEqual({ height: 128, width: 128 })
    expect(targetSize(1, 1, { ...real, patchSize: 10, pixelShuffle: 1 })).toEqual({ height: 100, width: 100 })
  })

  it("keeps extreme shapes within the maximum", () => {
    for (const [h, w] of [
      [8000, 1],
      [1, 8000],
      [1, 60_000_000],
      [7745, 7746],
    ]) {
      const { height, width } = targetSize(h, w, real)
      expect((height / 16) * (width / 16)).toBeLessThanOrEqual(6144)
      expect([height % 32, width % 32]).toEqual([0, 0])
    }
  })

  it("refuses sizes and limits that are not positive, with the numbers", () => {
    expect(() => targetSize(0, 5, real)).toThrow("5×0")
    expect(() => targetSize(5, 1.5, real)).toThrow("1.5×5")
    expect(() => targetSize(5, 5, { ...real, patchSize: 0 })).toThrow("Patch size 0")
    expect(() => targetSize(5, 5, { ...real, minPatches: -1 })).toThrow("-1 patches")
  })
})
