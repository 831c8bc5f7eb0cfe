/** Image file → patches, against everything the reference stored about its own: sizes, values, sums. */

import { readFileSync } from "node:fs"
import { beforeAll, describe, expect, it } from "vitest"
import { type GoldenTensor, goldenPath, readGolden, readGoldenJson } from "../../test/golden"
import { type Event, Stream, TensorStream } from "../stream"
import { decodeImage } from "./decode-image-node"
import { imageToEvent } from "./image-event"
import { patchify } from "./patchify"
import { resizeBilinear } from "./resize-bilinear"
import type { RgbImage } from "./rgb-image"
import type { VisionSizing } from "./vision-sizing"

interface Expected {
  target_height: number
  target_width: number
  dims_virtual: number[]
  dims_real: number[]
  num_patches: number
  mean: number
  std: number
  sum: number
  token_view_head: number[]
}

type GoldenParams = Record<"patch_size" | "max_num_patches" | "min_num_patches" | "pixel_shuffle_scale", number>

const index = readGoldenJson<{
  params: Record<"real" | "tiny", GoldenParams>
  images: { name: string; file: string; height: number; width: number; real: Expected; tiny: Expected }[]
}>("processor/index.json")

function sizingOf(params: GoldenParams): VisionSizing {
  return {
    patchSize: params.patch_size,
    pixelShuffle: params.pixel_shuffle_scale,
    minPatches: params.min_num_patches,
    maxPatches: params.max_num_patches,
  }
}

let tensors: Map<string, GoldenTensor>
beforeAll(async () => {
  tensors = await readGolden("processor/expected.safetensors")
})

/** Sums of the rows in float64. */
function rowSums({ data }: Event): number[] {
  return Array.from({ length: data.rows }, (_, row) => {
    let sum = 0
    for (let i = row * data.width; i < (row + 1) * data.width; i++) sum += data.values[i]
    return sum
  })
}

for (const { name, file, ...golden } of index.images) {
  describe(name, () => {
    let image: RgbImage
    beforeAll(async () => {
      image = await decodeImage(new Uint8Array(readFileSync(goldenPath(`processor/${file}`))), file)
    })

    for (const set of ["real", "tiny"] as const) {
      it(`${set} parameters`, () => {
        const expected = golden[set]
        const event = imageToEvent(image, sizingOf(index.params[set]), 1)
        expect(event.type).toBe("image")
        expect(event.dimsReal).toEqual(expected.dims_real)
        expect(event.dimsVirtual).toEqual(expected.dims_virtual)
        expect(event.data.rows).toBe(expected.num_patches)
        expect(event.dimsReal[1] * index.params[set].patch_size).toBe(expected.target_height)
        expect(event.dimsReal[2] * index.params[set].patch_size).toBe(expected.target_width)

        const values = event.data.values as Float32Array
        const all = tensors.get(`${name}.${set}.patches`)
        if (all) expect(values).toEqual(all.data)
        const sampled = tensors.get(`${name}.${set}.index`)
        if (sampled) {
          expect(sampled.data.length).toBe(2000)
          const at = Float32Array.from(sampled.data as Int32Array, (i) => values[i])
          expect(at).toEqual(tensors.get(`${name}.${set}.value`)?.data)
        }
        // Of the one image above the maximum only the sums are stored for the small parameters.
        expect((all ?? sampled) !== undefined).toBe(!(name === "big" && set === "tiny"))

        // Exact values, so their exact sums differ by float64 rounding only.
        const sums = rowSums(event)
        const expectedSums = tensors.get(`${name}.${set}.patch_sums_f64`)?.data as Float64Array
        expect(sums.length).toBe(expectedSums.length)
        for (const [row, sum] of sums.entries()) expect(Math.abs(sum - expectedSums[row])).toBeLessThan(1e-9)
        const total = sums.reduce((a, b) => a + b, 0)
        const mean = total / values.length
        expect(Math.abs(total - expected.sum)).toBeLessThan(1e-6)
        expect(Math.abs(mean - expected.mean)).toBeLessThan(1e-12)
        let squares = 0
        for (const value of values) squares += (value - mean) ** 2
        expect(Math.abs(Math.sqrt(squares / values.length) - expected.std)).toBeLessThan(1e-9)

        // The reference sums in float32, so a sum close to an integer may be truncated to its neighbour.
        const view = new TensorStream([Stream.create([event], ["image"])]).tokenView()
        for (const [i, id] of expected.token_view_head.entries()) expect(Math.abs(view[i] - id)).toBeLessThanOrEqual(1)
      })
    }

    it("resized pixels", () => {
      const resized = tensors.get(`${name}.real.resized`)
      expect(resized !== undefined).toBe(["gradient", "noise", "rgba"].includes(name))
      if (!resized) return
      const ours = resizeBilinear(image, golden.real.target_height, golden.real.target_width)
      expect(Buffer.compare(ours.data, resized.data as Uint8Array)).toBe(0)
    })
  })
}

describe("the images of the model cases become their patches", () => {
  const { cases } = readGoldenJson<{ cases: { name: string; file: string }[] }>("random-tiny/cases/index.json")
  for (const { name, file } of cases) {
    it(name, async () => {
      const golden = await readGolden(`random-tiny/cases/${file}`)
      const patches: number[] = []
      const grids: number[] = []
      for (let k = 0; golden.has(`image_${k}`); k++) {
        const { shape, data } = golden.get(`image_${k}`) as GoldenTensor
        const image = { height: shape[0], width: shape[1], data: data as Uint8Array }
        const event = imageToEvent(image, sizingOf(index.params.tiny))
        for (const value of event.data.values) patches.push(value)
        grids.push(event.dimsReal[1], event.dimsReal[2])
      }
      expect(grids.length > 0).toBe(name !== "text_only")
      expect(Int32Array.from(grids)).toEqual(golden.get("token_grids")?.data ?? new Int32Array(0))
      expect(Float32Array.from(patches)).toEqual(golden.get("patches")?.data ?? new Float32Array(0))
    })
  }
})

describe("imageToEvent", () => {
  const real = sizingOf(index.params.real)

  it("makes 16 tokens of a 1×1 image", () => {
    const event = imageToEvent({ width: 1, height: 1, data: Uint8Array.of(255, 0, 51) }, real)
    expect(event.dimsVirtual).toEqual([1, 4, 4])
    expect(event.data.rows).toBe(64)
    // 51/255 is 0.2, but three float32 roundings end one step beside the float32 nearest to −0.6.
    expect([...event.data.values.slice(0, 3)]).toEqual([1, -1, -0.5999999642372131])
  })

  it("makes one row of tokens of 8000×1 pixels", () => {
    const event = imageToEvent({ width: 8000, height: 1, data: new Uint8Array(24_000) }, real)
    expect(event.dimsReal).toEqual([1, 2, 500])
    expect(event.dimsVirtual).toEqual([1, 1, 250])
  })

  it("puts pixel (row, column, channel) where the patch order says, for any patch size", () => {
    const [height, width, patch] = [6, 9, 3]
    const image = { height, width, data: Uint8Array.from({ length: height * width * 3 }, (_, i) => i) }
    const { values, rows, width: patchValues } = patchify(image, patch)
    expect([rows, patchValues]).toEqual([6, 27])
    for (const [y, x, c] of [
      [0, 0, 0],
      [4, 7, 2],
      [5, 8, 1],
      [2, 3, 0],
    ]) {
      const row = Math.floor(y / patch) * (width / patch) + Math.floor(x / patch)
      const at = ((y % patch) * patch + (x % patch)) * 3 + c
      expect(Math.round((values[row * patchValues + at] * 0.5 + 0.5) * 255)).toBe((y * width + x) * 3 + c)
    }
  })

  it("refuses to cut what is not made of whole patches", () => {
    expect(() => patchify({ width: 33, height: 32, data: new Uint8Array(33 * 32 * 3) }, 16)).toThrow("33×32")
  })

  it("takes 60 megapixels in about a tenth of a second", () => {
    const image = { width: 10_000, height: 6000, data: new Uint8Array(180_000_000) }
    const start = process.cpuUsage()
    const event = imageToEvent(image, real)
    expect(event.data.rows).toBeGreaterThan(5800)
    // Of the processor, not of the clock: test machines are busy.
    expect(process.cpuUsage(start).user / 1000).toBeLessThan(3000)
  })
})
