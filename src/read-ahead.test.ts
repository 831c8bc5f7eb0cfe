import { describe, expect, it } from "vitest"
import { readAhead } from "./read-ahead"

async function* numbers(count: number, log: string[], failAt = count + 1): AsyncGenerator<number> {
  try {
    for (let i = 1; i <= count; i++) {
      await new Promise((resolve) => setTimeout(resolve, 1))
      if (i === failAt) throw new Error("broken")
      log.push(`made ${i}`)
      yield i
    }
  } finally {
    log.push("closed")
  }
}

describe("readAhead", () => {
  it("gives every item in order, and ends before its reader does", async () => {
    const log: string[] = []
    const seen: number[] = []
    for await (const item of readAhead(numbers(3, log), async () => void log.push("ended"))) {
      if (item === 1) await new Promise((resolve) => setTimeout(resolve, 30))
      log.push(`read ${item}`)
      seen.push(item)
    }
    expect(seen).toEqual([1, 2, 3])
    expect(log.indexOf("ended")).toBeLessThan(log.indexOf("read 1"))
    expect(log.indexOf("closed")).toBeLessThan(log.indexOf("ended"))
  })

  it("shows a failure behind what came before it", async () => {
    const log: string[] = []
    const seen: number[] = []
    const read = async () => {
      for await (const item of readAhead(numbers(3, log, 3), async () => void log.push("ended"))) {
        await new Promise((resolve) => setTimeout(resolve, 20))
        seen.push(item)
      }
    }
    await expect(read()).rejects.toThrow("broken")
    expect(seen).toEqual([1, 2])
    expect(log.slice(-2)).toEqual(["closed", "ended"])
    const failing = readAhead(numbers(1, []), () => Promise.reject(new Error("not ended")))
    expect((await failing.next()).value).toBe(1)
    await expect(failing.next()).rejects.toThrow("not ended")
  })

  it("ends its source when the reader leaves", async () => {
    const log: string[] = []
    for await (const _ of readAhead(numbers(1000, log), async () => void log.push("ended"))) break
    expect(log.length).toBeLessThan(10)
    expect(log.slice(-2)).toEqual(["closed", "ended"])
  })
})
