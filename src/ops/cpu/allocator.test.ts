import { describe, expect, test } from "vitest"
import { IsaacError } from "../../errors"
import { choices } from "../conformance/rig"
import { ALIGNMENT, Allocator } from "./allocator"

/** An allocator over `limit` bytes from address 1024 on, which grows by 4 KiB at least. */
function over(limit: number) {
  let end = 1024
  const allocator = new Allocator((bytes) => {
    const size = Math.max(bytes, 4096)
    if (end + size > 1024 + limit) return undefined
    const region = { start: end, bytes: size }
    end += size
    return region
  }, limit)
  return { allocator, grown: () => end - 1024 }
}

describe("allocator", () => {
  test("aligned, counted, given back", () => {
    const { allocator } = over(1 << 20)
    const a = allocator.allocate(1, "a")
    const b = allocator.allocate(65, "b")
    const empty = allocator.allocate(0, "nothing")
    expect([a, b, empty].map((p) => p % ALIGNMENT)).toEqual([0, 0, 0])
    expect(new Set([a, b, empty]).size).toBe(3)
    expect(allocator.used).toBe(64 + 128 + 64)
    allocator.free(b)
    expect(allocator.used).toBe(128)
    expect(allocator.peak).toBe(256)
  })

  test("neighbours that were freed make room for a larger one, in any order of freeing", () => {
    for (const order of [
      [0, 1, 2],
      [2, 1, 0],
      [0, 2, 1],
      [1, 0, 2],
    ]) {
      const { allocator, grown } = over(1 << 20)
      const pointers = [0, 1, 2].map(() => allocator.allocate(1024, "third"))
      allocator.allocate(1024, "rest")
      for (const i of order) allocator.free(pointers[i])
      expect(allocator.allocate(3072, "all three")).toBe(pointers[0])
      expect(grown()).toBe(4096)
    }
  })

  test("regions that lie side by side become one", () => {
    const { allocator } = over(1 << 20)
    const small = allocator.allocate(64, "small")
    const large = allocator.allocate(8192, "large")
    allocator.free(small)
    allocator.free(large)
    expect(allocator.allocate(8192 + 4096, "both")).toBe(small)
  })

  test("a size that is no number is refused and harms nothing", () => {
    const { allocator } = over(1 << 20)
    const a = allocator.allocate(4096, "a")
    for (const size of [Number.NaN, -1, 0.5, Number.POSITIVE_INFINITY]) {
      expect(() => allocator.allocate(size, "nonsense")).toThrow(expect.objectContaining({ code: "internal" }))
    }
    const b = allocator.allocate(4096, "b")
    allocator.free(a)
    allocator.free(b)
    expect(allocator.allocate(8192, "both")).toBe(a)
  })

  test("a long random life: nothing overlaps, all comes back", () => {
    const { allocator, grown } = over(1 << 24)
    const next = choices(7)
    const live = new Map<number, number>()
    const usedBy: number[] = []
    for (let step = 0; step < 5000; step++) {
      if (live.size > 0 && next(2) === 0) {
        const pointer = [...live.keys()][next(live.size)]
        live.delete(pointer)
        allocator.free(pointer)
      } else if (live.size < 60) {
        const size = next(5000)
        const pointer = allocator.allocate(size, "some")
        for (const [p, s] of live) expect(pointer + size <= p || p + s <= pointer).toBe(true)
        live.set(pointer, size)
      }
      usedBy.push([...live.values()].reduce((sum, s) => sum + Allocator.rounded(s), 0))
      expect(allocator.used).toBe(usedBy.at(-1))
    }
    expect(allocator.peak).toBe(Math.max(...usedBy))
    for (const pointer of live.keys()) allocator.free(pointer)
    expect(allocator.used).toBe(0)
    const before = grown()
    allocator.allocate(before, "everything that there is, in one piece")
    expect(grown()).toBe(before)
  })

  test("what does not fit is out_of_memory with the numbers, and leaves all as it was", () => {
    const { allocator } = over(1 << 20)
    const pointer = allocator.allocate(1 << 19, "half")
    const error = (() => {
      try {
        allocator.allocate(1 << 20, "linear: a result [512, 512]")
      } catch (e) {
        return e
      }
    })()
    expect(error).toBeInstanceOf(IsaacError)
    expect((error as IsaacError).code).toBe("out_of_memory")
    expect((error as IsaacError).message).toMatch(/linear: a result \[512, 512\] needs 1.00 MiB.*0.50 MiB.*1.00 MiB/)
    expect(allocator.used).toBe(1 << 19)
    allocator.free(pointer)
    expect(() => allocator.free(pointer)).toThrow(/twice/)
    allocator.allocate(1 << 19, "half")
  })
})
