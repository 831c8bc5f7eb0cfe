/** Tensors, views, scopes and the books of memory. */

import { describe, expect, test } from "vitest"
import { IsaacError } from "../../errors"
import type { Tensor } from "../backend"
import { expectExact } from "./expectation"
import { bytesOf, expectError, numbers, type Rig } from "./rig"

export function memoryTests(rig: Rig): void {
  describe("memory", () => {
    test("what is uploaded is read back, as copies", async () => {
      const b = rig.backend
      const data = numbers(35, 1)
      const t = b.upload(data, [5, 7])
      const want = data.slice()
      data.fill(0)
      const got = await b.read(t)
      expect(got).toEqual(want)
      got.fill(0)
      expect(await b.read(t)).toEqual(want)
      expect(t.shape).toEqual([5, 7])
      b.free(t)
    })

    test("empty tensors, single numbers", async () => {
      const b = rig.backend
      const empty = b.upload(new Float32Array(0), [0, 7])
      const one = b.upload(Float32Array.of(3), [])
      expect(await b.read(empty)).toEqual(new Float32Array(0))
      expect(await b.read(one)).toEqual(Float32Array.of(3))
      b.free(empty, one)
    })

    test("reshape and rows are views of the same numbers", async () => {
      const b = rig.backend
      const data = numbers(30, 2)
      const t = b.upload(data, [5, 6])
      const used = b.memory().used
      const middle = b.rows(t, 1, 4)
      const inner = b.rows(b.reshape(middle, [9, 2]), 2, 3)
      expect(b.memory().used).toBe(used)
      expect(middle.shape).toEqual([3, 6])
      expect(await b.read(middle)).toEqual(data.slice(6, 24))
      expect(inner.shape).toEqual([1, 2])
      expect(await b.read(inner)).toEqual(data.slice(10, 12))
      expect(await b.read(b.rows(t, 5, 5))).toEqual(new Float32Array(0))
      // Writing through a view is seen by its source.
      b.scope(() => {
        const zero = rig.up([0, 0], 1, 2)
        b.rope(inner, zero, zero)
      })
      const want = data.slice()
      want.fill(0, 10, 12)
      expectExact(await b.read(t), want, "the source")
      b.free(t)
      expectError(() => b.rows(middle, 0, 1), "bad_input", /freed/)
      await expect(b.read(inner)).rejects.toThrow(IsaacError)
    })

    test("free gives the bytes back, once; a view frees nothing", () => {
      const b = rig.backend
      const before = b.memory().used
      const t = rig.up(numbers(1000, 3), 10, 100)
      const used = b.memory().used
      expect(used - before).toBeGreaterThanOrEqual(4000)
      expect(b.memory().peak).toBeGreaterThanOrEqual(used)
      b.free(b.rows(t, 0, 5))
      b.free(b.reshape(t, [1000]))
      expect(b.memory().used).toBe(used)
      b.free(t)
      expect(b.memory().used).toBe(before)
      b.free(t)
      expect(b.memory().used).toBe(before)
      expect(b.memory().peak).toBeGreaterThanOrEqual(used)
    })

    test("the peak stays when the bytes go", () => {
      const b = rig.backend
      const big = (b.memory().peak >> 2) + 1000
      b.free(b.upload(new Float32Array(big), [big]))
      const { used, peak } = b.memory()
      expect(peak).toBeGreaterThanOrEqual(used + big * 4)
    })

    test("a freed tensor is refused, with the operation's name", () => {
      const b = rig.backend
      const t = rig.up([1, 2], 1, 2)
      b.free(t)
      expectError(() => b.add(t, t), "bad_input", /add.*freed/)
      expectError(() => b.silu(t), "bad_input", /silu.*freed/)
      expectError(() => b.concatRows([t]), "bad_input", /concatRows.*freed/)
    })

    test("weights and caches are in the books and refused once freed", () => {
      const b = rig.backend
      const before = b.memory().used
      const w = b.loadWeight(bytesOf(numbers(35, 4)), "F32", [5, 7], "f32")
      expect(w.bytes).toBeGreaterThanOrEqual(35 * 4)
      expect(w.shape).toEqual([5, 7])
      expect(w.stored).toBe("f32")
      expect(b.memory().used - before).toBe(w.bytes)
      const x = rig.up(numbers(7, 5), 1, 7)
      b.free(b.linear(x, w))
      b.free(w, w)
      expectError(() => b.linear(x, w), "bad_input", /linear.*freed/)
      expectError(() => b.embed(Int32Array.of(0), w), "bad_input", /embed.*freed/)
      const kv = b.createKv({ layers: 1, kvHeads: 1, headDim: 7, maxTokens: 10 })
      b.free(kv, kv)
      expectError(() => b.kvLength(kv, 0), "bad_input", /kvLength.*freed/)
      expectError(() => b.kvCommit(kv, 0, 0), "bad_input", /kvCommit.*freed/)
      b.free(x)
    })
  })

  describe("scope", () => {
    test("frees what is not returned, keeps what is, in arrays and objects too", async () => {
      const b = rig.backend
      const before = b.memory().used
      let lost: Tensor | undefined
      const kept = b.scope(() => {
        const [a, c, d] = [rig.up([1, 2], 2), rig.up([3], 1), rig.up([4], 1)]
        lost = b.add(c, d)
        return { a, list: [{ deep: c }, undefined, null, "text", 5] as const, n: 7, d, view: b.reshape(d, [1, 1]) }
      })
      expectError(() => b.silu(lost!), "bad_input", /freed/)
      expect(await b.read(kept.a)).toEqual(Float32Array.of(1, 2))
      expect(await b.read(kept.list[0].deep)).toEqual(Float32Array.of(3))
      expect(kept.n).toBe(7)
      b.free(kept.a, kept.list[0].deep, kept.view)
      expect(await b.read(kept.view)).toEqual(Float32Array.of(4))
      expect(b.memory().used).toBeGreaterThan(before)
      b.free(kept.d)
      expect(b.memory().used).toBe(before)
    })

    test("a view that is returned without its source takes its place", async () => {
      const b = rig.backend
      const before = b.memory().used
      const [first, second] = b.scope(() => {
        const [x, y] = b.scope(() => {
          const t = rig.up([1, 2, 3, 4], 2, 2)
          return [b.rows(t, 1, 2), b.reshape(t, [4])]
        })
        return [x, y]
      })
      expect(await b.read(first)).toEqual(Float32Array.of(3, 4))
      expect(await b.read(second)).toEqual(Float32Array.of(1, 2, 3, 4))
      expect(b.memory().used).toBeGreaterThan(before)
      b.free(first, second)
      expect(b.memory().used).toBe(before)
      expectError(() => b.silu(second), "bad_input", /freed/)
    })

    test("tensors from outside live on, those from nested scopes go to the scope around", async () => {
      const b = rig.backend
      const outside = rig.up([1], 1)
      let middle: Tensor | undefined
      const result = b.scope(() => {
        middle = b.scope(() => {
          const inner = b.scope(() => b.add(outside, outside))
          return b.add(inner, outside)
        })
        return b.add(middle, outside)
      })
      expect(await b.read(result)).toEqual(Float32Array.of(4))
      expectError(() => b.silu(middle!), "bad_input", /freed/)
      expect(await b.read(outside)).toEqual(Float32Array.of(1))
      b.free(result, outside)
    })

    test("an error frees everything made inside and passes through", () => {
      const b = rig.backend
      const before = b.memory().used
      const error = new Error("mine")
      let lost: Tensor | undefined
      expect(() =>
        b.scope(() => {
          lost = rig.up([1], 1)
          b.scope(() => {
            rig.up([2], 1)
            throw error
          })
        }),
      ).toThrow(error)
      expect(b.memory().used).toBe(before)
      expectError(() => b.silu(lost!), "bad_input", /freed/)
      // The scopes are closed: a tensor made now is nobody's but ours.
      const t = rig.up([3], 1)
      expect(b.memory().used).toBeGreaterThan(before)
      b.free(t)
    })

    test("freeing by hand inside a scope is fine", () => {
      const b = rig.backend
      const before = b.memory().used
      b.scope(() => {
        const t = rig.up([1], 1)
        b.free(t)
        b.free(t)
      })
      expect(b.memory().used).toBe(before)
    })

    test("an asynchronous function is refused", () => {
      const b = rig.backend
      const before = b.memory().used
      expectError(
        () =>
          b.scope(async () => {
            rig.up([1], 1)
          }),
        "bad_input",
        /scope.*asynchronous/,
      )
      expect(b.memory().used).toBe(before)
    })
  })

  test("a disposed backend refuses to work", async () => {
    const b = await rig.create()
    const t = b.upload(Float32Array.of(1), [1])
    await b.dispose()
    expectError(() => b.upload(Float32Array.of(1), [1]), "bad_input", /disposed/)
    expectError(() => b.silu(t), "bad_input", /disposed/)
  })
}
