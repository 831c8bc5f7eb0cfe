import { expect, it } from "vitest"
import { rooflineOf } from "./roofline"

const limits = { multiply: 100e9, dot: 400e9, read: 10e9, readBytes: 1 }

it("takes the slower of arithmetic and memory for the bound", () => {
  // 50e9 multiply-adds are 1 s of arithmetic.
  const much = { multiplyAdds: 50e9, bytes: 1e9, ms: 2000 }
  expect(rooflineOf({ ...much, factors: "f32" }, limits)).toEqual({ bound: "arithmetic", share: 0.5 })
  expect(rooflineOf({ ...much, factors: "int8" }, limits)).toEqual({ bound: "arithmetic", share: 0.125 })
  expect(rooflineOf({ ...much, factors: "bf16" }, limits)).toEqual({ bound: "arithmetic", share: 0.5 })
  expect(rooflineOf({ ...much, factors: "bf16" }, { ...limits, pairs: 200e9 })!.share).toBe(0.25)
  const little = { multiplyAdds: 5e9, bytes: 20e9, ms: 2500 }
  expect(rooflineOf({ ...little, factors: "f32" }, limits)).toEqual({ bound: "memory", share: 0.8 })
})

it("has nothing to say of what does nothing", () => {
  expect(rooflineOf({ multiplyAdds: 0, bytes: 0, factors: "f32", ms: 1 }, limits)).toBeUndefined()
  expect(rooflineOf({ multiplyAdds: 0, bytes: 8, factors: "f32", ms: 0 }, limits)).toBeUndefined()
})
