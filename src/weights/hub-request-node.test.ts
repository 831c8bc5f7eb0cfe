import { describe, expect, it } from "vitest"
import { nextHop, retrying, TransientError } from "./hub-request-node"

describe("redirects", () => {
  it("lead to other hosts and paths", () => {
    const from = new URL("https://hub.test/a/b")
    expect(nextHop(from, "/c?d").href).toBe("https://hub.test/c?d")
    expect(nextHop(from, "https://cdn.test/x").href).toBe("https://cdn.test/x")
    expect(nextHop(new URL("http://localhost/a"), "https://cdn.test/x").href).toBe("https://cdn.test/x")
    expect(nextHop(new URL("http://localhost/a"), "http://localhost:1/x").href).toBe("http://localhost:1/x")
  })

  it.each(["http://hub.test/a", "ftp://hub.test/a", "data:,x", "file:///etc/passwd", "https://", "http://["])(
    "never lead from https to %s",
    (location) => {
      expect(() => nextHop(new URL("https://hub.test/a"), location)).toThrow(/not safe/)
    },
  )
})

describe("retrying", () => {
  const patience = { attempts: 3, delayMs: 20, stallMs: 1000 }

  it("waits twice as long each time", async () => {
    const times: number[] = []
    const failing = retrying({ patience }, async () => {
      times.push(performance.now())
      throw new TransientError("no")
    })
    await expect(failing).rejects.toMatchObject({ name: "IsaacError", code: "io", message: "no (tried 3 times)" })
    expect(times[1] - times[0]).toBeGreaterThanOrEqual(19)
    expect(times[2] - times[1]).toBeGreaterThanOrEqual(39)
  })

  it("does not repeat other failures", async () => {
    let calls = 0
    const failing = retrying({ patience }, async () => {
      calls++
      throw new RangeError("a bug")
    })
    await expect(failing).rejects.toThrow(RangeError)
    expect(calls).toBe(1)
  })

  it("ends a wait when told to stop", async () => {
    const start = performance.now()
    const failing = retrying(
      { patience: { ...patience, delayMs: 20_000 }, signal: AbortSignal.timeout(30) },
      async () => {
        throw new TransientError("no")
      },
    )
    await expect(failing).rejects.toMatchObject({ code: "aborted" })
    expect(performance.now() - start).toBeLessThan(5_000)
  })
})
