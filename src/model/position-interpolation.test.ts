import { describe, expect, it } from "vitest"
import { maxAbsDiff, readGolden } from "../../test/golden"
import { interpolatePositions } from "./position-interpolation"

const golden = await readGolden("ops/pos_embed_interp.safetensors")

describe("position interpolation", () => {
  const outputs = [...golden.keys()].filter((name) => name.includes(".out_"))
  it("covers every stored shape", () => expect(outputs.length).toBeGreaterThanOrEqual(16))

  for (const name of outputs) {
    const [, side, rows, columns] = /^grid(\d+)\.out_(\d+)x(\d+)$/.exec(name)!.map(Number)
    it(`${side}×${side} → ${rows}×${columns} equals the reference`, () => {
      const table = golden.get(`grid${side}.weight`)!
      const out = interpolatePositions(table.data as Float32Array, side, table.shape[1], rows, columns)
      expect(maxAbsDiff(out, golden.get(name)!.data)).toBeLessThanOrEqual(2e-5)
    })
  }

  it("is the identity on its own size, and keeps a constant table constant at the borders", () => {
    const table = golden.get("grid16.weight")!
    const width = table.shape[1]
    expect(maxAbsDiff(interpolatePositions(table.data as Float32Array, 16, width, 16, 16), table.data)).toBe(0)
    const flat = interpolatePositions(new Float32Array(49).fill(0.75), 7, 1, 20, 3)
    expect(maxAbsDiff(flat, new Float32Array(60).fill(0.75))).toBeLessThan(1e-6)
  })

  it("averages whole blocks when it shrinks (antialias): not the two nearest entries only", () => {
    // 8 → 2: triangle of half width 4 around 2: entries 0…5 with weights 2.5, 3.5, 3.5, 2.5, 1.5, 0.5 of 14
    const table = new Float32Array(64)
    for (let row = 0; row < 8; row++) table[row * 8 + 5] = 14
    const [left, right] = interpolatePositions(table, 8, 1, 8, 2)
    expect(left).toBeCloseTo(0.5, 6)
    expect(right).toBeCloseTo(3.5, 6)
  })
})
