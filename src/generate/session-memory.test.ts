import { expect, it } from "vitest"
import { defaultSessionMemory, memoryOption } from "./session-memory"

const situation = { limit: 4000, used: 2000, working: 300, images: 200, machine: 16_000, full: 400 }

it("takes what the backend has left, at most a quarter of the machine, at least one full session", () => {
  expect(defaultSessionMemory(situation)).toBe(1500)
  expect(defaultSessionMemory({ ...situation, machine: 4000 })).toBe(1000)
  expect(defaultSessionMemory({ ...situation, machine: undefined })).toBe(1500)
  expect(defaultSessionMemory({ ...situation, used: 3500 })).toBe(400)
  expect(defaultSessionMemory({ ...situation, limit: undefined })).toBe(4000)
  expect(defaultSessionMemory({ ...situation, limit: undefined, machine: undefined })).toBe(2 ** 30)
})

it("takes a caller's number of bytes, and refuses what is none", () => {
  expect(memoryOption("sessionMemory", undefined, 100, 500)).toBe(500)
  expect(memoryOption("sessionMemory", 100, 100, 500)).toBe(100)
  expect(memoryOption("sessionMemory", Number.POSITIVE_INFINITY, 100, 500)).toBe(Number.POSITIVE_INFINITY)
  for (const bytes of [99, -1, Number.NaN, "1e9" as unknown as number, null as unknown as number]) {
    expect(() => memoryOption("sessionMemory", bytes, 100, 500)).toThrow(/sessionMemory is .*at least 100/)
  }
})
