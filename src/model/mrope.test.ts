import { describe, expect, it } from "vitest"
import { maxAbsDiff, readGolden } from "../../test/golden"
import { isIsaacError } from "../errors"
import { frequencyAxes, inverseFrequencies, plainPositions, ropeDelta, ropeTables } from "./mrope"

describe("mrope", () => {
  it("equals the reference's frequencies and tables, also at large positions", async () => {
    const golden = await readGolden("ops/rope.safetensors")
    const frequencies = inverseFrequencies(128, 1e6)
    const stored = golden.get("inv_freq")!.data
    // One unit in the last place: torch's vectorised float32 pow is not correctly rounded everywhere.
    for (let i = 0; i < 64; i++) expect(Math.abs(frequencies[i] - stored[i])).toBeLessThanOrEqual(stored[i] * 1.2e-7)

    const positions = golden.get("position_ids")!.data as Int32Array
    const modality = golden.get("modality")!.data as Int32Array
    const { cos, sin } = ropeTables(positions, modality, frequencies)
    const own = golden.get("err_vs_fp64")!.data
    for (const [name, table] of [
      ["cos", cos],
      ["sin", sin],
    ] as const) {
      const want = golden.get(name)!.data
      for (let t = 0; t < modality.length; t++) {
        const row = [t * 128, (t + 1) * 128] as const
        const worst = maxAbsDiff(table.subarray(...row), want.subarray(...row))
        expect(worst, `${name} of row ${t}`).toBeLessThanOrEqual(Math.max(6e-6, 2 * own[t]))
      }
    }
  })

  it("gives the golden's tables bit for bit where only its frequencies are put in", async () => {
    const golden = await readGolden("ops/rope.safetensors")
    const { cos } = ropeTables(
      golden.get("position_ids")!.data as Int32Array,
      golden.get("modality")!.data as Int32Array,
      golden.get("inv_freq")!.data as Float32Array,
    )
    expect(maxAbsDiff(cos, golden.get("cos")!.data)).toBeLessThanOrEqual(1.2e-7)
  })

  it("splits any head into quarter, eighth, eighth", () => {
    expect([...frequencyAxes(16)]).toEqual([0, 0, 0, 0, 1, 1, 2, 2])
  })

  it("turns text with its time on all axes, images with three", () => {
    const frequencies = inverseFrequencies(16, 500)
    const { sin } = ropeTables(Int32Array.of(3, 5, 7, 3, 5, 7), Int32Array.of(1, 0), frequencies)
    for (let i = 0; i < 8; i++) {
      expect(sin[i]).toBeCloseTo(Math.sin(3 * frequencies[i]), 6)
      expect(sin[16 + i]).toBeCloseTo(Math.sin((i < 4 ? 3 : i < 6 ? 5 : 7) * frequencies[i]), 6)
      expect(sin[16 + 8 + i]).toBe(sin[16 + i])
    }
  })

  it("counts plain positions on all axes and the delta over all axes", () => {
    expect([...plainPositions(4, 2)]).toEqual([4, 4, 4, 5, 5, 5])
    expect(ropeDelta(9, 4)).toBe(6)
  })

  it("refuses positions of another length", () => {
    expect(() => ropeTables(new Int32Array(5), new Int32Array(2), inverseFrequencies(16, 500))).toThrow(
      /5 position ids/,
    )
    try {
      ropeTables(new Int32Array(5), new Int32Array(2), inverseFrequencies(16, 500))
    } catch (error) {
      expect(isIsaacError(error)).toBe(true)
    }
  })
})
