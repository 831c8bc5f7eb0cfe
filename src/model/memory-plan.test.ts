import { describe, expect, it } from "vitest"
import { readGoldenJson } from "../../test/golden"
import { PUBLISHED_CONFIG } from "../../test/published-config"
import { parseConfig } from "./config"
import { checkMemory, planMemory } from "./memory-plan"
import { parameterTable } from "./parameters"

const published = parseConfig(PUBLISHED_CONFIG)

const elements = (config = published) => {
  let sum = 0
  for (const { axes } of parameterTable(config).values()) sum += axes.reduce((size, [, n]) => size * n, 1)
  return sum
}

describe("memory plan", () => {
  it("counts the published model's parameters exactly", () => {
    expect(elements()).toBe(2_567_073_008)
  })

  it("counts bytes by storage type", () => {
    expect(planMemory(published, { stored: "f32" }).weights).toBe(4 * 2_567_073_008)
    const { weights, weightsByType, kv } = planMemory(published, { stored: "bf16", maxContext: 2048, kvStored: "bf16" })
    expect(weights).toBe((weightsByType.bf16 ?? 0) + (weightsByType.f32 ?? 0))
    expect(weights / 2_567_073_008).toBeCloseTo(2, 2)
    expect(kv).toBe(2 * 28 * 8 * 128 * 2048 * 2)
    const int8 = planMemory(published, { maxContext: 2048, kvStored: "int8" })
    expect(int8.kv).toBe(2 * 28 * 8 * (128 + 4) * 2048)
    expect(int8.kvStored).toBe("int8")
    const [q8, q4] = (["q8", "q4"] as const).map((stored) => planMemory(published, { stored }).weights)
    expect(q8 / 2_567_073_008).toBeCloseTo(1.02, 1)
    // Four bits and a quarter of one for the scale; four bits more in the vision tower and the projector; norms in f32.
    const vision = 27 * (4 * 1152 ** 2 + 2 * 1152 * 4304) + 18432 * (4608 + 2048)
    expect(q4).toBeGreaterThan((2_567_073_008 * 4.25 + vision * 4) / 8)
    expect(q4).toBeLessThan(((2_567_073_008 * 4.25 + vision * 4) / 8) * 1.01)
  })

  it("leaves a tied lm_head out, and follows the checkpoint's own types", () => {
    const head = 151936 * 2048
    const untied = planMemory(published, { stored: "f32" }).weights
    expect(untied - planMemory(published, { stored: "f32", tied: true }).weights).toBe(4 * head)
    const names = [...parameterTable(published).keys()].filter((name) => name !== "lm_head.weight")
    const tensors = new Map(names.map((name) => [name, { dtype: "F32" }]))
    expect(planMemory(published, { tensors }).weights).toBe(4 * (2_567_073_008 - head))
    expect(planMemory(published, { tensors }).loading).toBe(16 << 20) // a block, not the table of 1.2 GB
  })

  it("has room for the largest image and grows with the prompt", () => {
    const short = planMemory(published, { maxContext: 1 }).activations
    expect(short).toBeGreaterThan(6144 * (4304 + 1152) * 4)
    expect(planMemory(published, { maxContext: 16384 }).activations).toBeGreaterThan(short)
    expect(planMemory(published, { maxContext: 16384, prefillTokens: 1 }).activations).toBe(short)
  })

  it("refuses with the numbers", () => {
    const plan = planMemory(parseConfig(readGoldenJson("random-tiny/config.json")))
    expect(() => checkMemory(plan, plan.total)).not.toThrow()
    expect(() => checkMemory(plan, plan.total - 1)).toThrow(
      /of weights \(bf16, f32\).*64 tokens of context \(f32\).*are allowed/,
    )
    try {
      checkMemory(plan, 1000)
    } catch (error) {
      expect(error).toMatchObject({ code: "out_of_memory" })
    }
  })
})
