import { describe, expect, it } from "vitest"
import { IsaacError } from "../errors"
import { KernelFlag, yieldToEventLoop } from "./abort"

describe("KernelFlag", () => {
  /** A kernel that looks at the word, as backends do, while somebody sets it now and then. */
  function kernel(flag: KernelFlag, interruptions: number) {
    let left = interruptions
    return () => {
      if (left-- > 0) Atomics.store(flag.word, 0, 1)
      if (Atomics.load(flag.word, 0) !== 0) throw new IsaacError("aborted", "by the word")
      return "done"
    }
  }

  it("starts again what was broken off for somebody else's sake", () => {
    const flag = new KernelFlag()
    expect(flag.run(kernel(flag, 3), { aborted: false })).toBe("done")
    expect(flag.word[0]).toBe(0)
  })

  it("gives up for its own sake, and lets the next one work", () => {
    const flag = new KernelFlag()
    const own = { aborted: false }
    const compute = kernel(flag, 1)
    const breakOff = () => {
      own.aborted = true
      return compute()
    }
    expect(() => flag.run(breakOff, own)).toThrow("by the word")
    expect(flag.word[0]).toBe(0)
    expect(() => flag.run(compute, own)).toThrow(/signal was aborted/)
    expect(flag.run(compute, undefined)).toBe("done")
  })

  it("hands on every other error", () => {
    const fail = () => {
      throw new IsaacError("not_finite", "broken")
    }
    expect(() => new KernelFlag().run(fail, undefined)).toThrow("broken")
  })

  it("knows whether another thread can set it", () => {
    expect(new KernelFlag().shared).toBe(false)
    expect(new KernelFlag(new Int32Array(new SharedArrayBuffer(4))).shared).toBe(true)
  })
})

it("yieldToEventLoop lets timers have their turn", async () => {
  let fired = false
  setTimeout(() => {
    fired = true
  }, 0)
  for (let i = 0; i < 1000 && !fired; i++) await yieldToEventLoop()
  expect(fired).toBe(true)
})
