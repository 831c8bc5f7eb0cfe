/** Choosing from logits. */

import { describe, expect, test } from "vitest"
import { expectation, expectExact, expectWithin, sumSlack, U } from "./expectation"
import { choices, expectError, numbers, ODD_SIZES, type Rig } from "./rig"

const INF = Number.POSITIVE_INFINITY

/** Rows with many equal numbers. */
function tied(size: number, seed: number): Float32Array {
  const choose = choices(seed)
  return Float32Array.from({ length: size }, () => choose(5) - 7)
}

/** Indices from the largest to the smallest, ties by lower index. */
function ranking(row: Float32Array): number[] {
  return Array.from(row.keys()).sort((a, b) => row[b] - row[a] || a - b)
}

export function logitsTests(rig: Rig): void {
  describe("argmax", () => {
    test("the first largest of each row, at every place", async () => {
      for (const V of [...ODD_SIZES, 300]) {
        for (let at = 0; at < V; at += V > 40 ? 13 : 1) {
          const row = numbers(V, V).map((x) => x - 5)
          row[at] = -1
          row[V - 1] = -1
          const got = await rig.evaluate((b) => b.argmax(rig.up(row, 1, V)))
          expectExact(got, [at], `largest at ${at} of ${V}`)
        }
        const rows = tied(5 * V, V)
        const want = Array.from({ length: 5 }, (_, t) => ranking(rows.subarray(t * V, (t + 1) * V))[0])
        expectExact(await rig.evaluate((b) => b.argmax(rig.upAt(3, rows, 5, V))), want, `ties among ${V}`)
      }
    })

    test("a whole vocabulary", async () => {
      const V = 151936
      for (const at of [0, 77777, V - 1]) {
        const row = numbers(V, 1)
        row[at] = 2
        expectExact(await rig.evaluate((b) => b.argmax(rig.up(row, 1, V))), [at], `${at}`)
      }
    })

    test("infinities are numbers, a NaN counts as −∞", async () => {
      const rows: [number[], number][] = [
        [[-INF, -INF, -INF, -INF, -INF], 0],
        [[-INF, -3e38, -INF, -INF, -INF], 1],
        [[0, INF, 5, INF, 1], 1],
        [[Number.NaN, 1, Number.NaN, 2, 0], 3],
        [[3, Number.NaN, 1, 2, Number.NaN], 0],
        [[Number.NaN, Number.NaN, Number.NaN, Number.NaN, Number.NaN], 0],
      ]
      for (const [row, want] of rows) {
        for (const copies of [1, 7]) {
          const wide = Array.from({ length: copies }, () => row).flat()
          const got = await rig.evaluate((b) => b.argmax(rig.up(wide, 1, wide.length)))
          expectExact(got, [want], `argmax of ${copies} × ${row}`)
        }
      }
    })

    test("shape, no rows, refusals", () => {
      const b = rig.backend
      b.scope(() => {
        expect(b.argmax(rig.up(numbers(15, 1), 3, 5)).shape).toEqual([3])
        expect(b.argmax(rig.up([], 0, 5)).shape).toEqual([0])
        expectError(() => b.argmax(rig.up([], 3, 0)), "bad_input", /argmax.*\[3, 0\]/)
        expectError(() => b.argmax(rig.up([1], 1)), "bad_input", /argmax.*\[1\]/)
      })
    })
  })

  describe("topK", () => {
    test("descending, ties by lower index, all k", async () => {
      for (const V of [...ODD_SIZES, 300]) {
        for (const k of [...new Set([1, 2, 5, 50, V - 1, V])].filter((n) => n >= 1 && n <= V)) {
          for (const rows of [tied(3 * V, V), numbers(3 * V, V, 10)]) {
            const order = Array.from({ length: 3 }, (_, t) => ranking(rows.subarray(t * V, (t + 1) * V)).slice(0, k))
            const [values, indices] = await rig.evaluateAll((b) => {
              const top = b.topK(rig.upAt(1, rows, 3, V), k)
              return [top.values, top.indices]
            })
            expectExact(indices, order.flat(), `indices, ${k} of ${V}`)
            expectExact(
              values,
              order.flatMap((o, t) => o.map((i) => rows[t * V + i])),
              `values, ${k} of ${V}`,
            )
          }
        }
      }
    })

    test("sorted rows, both ways, and a whole vocabulary", async () => {
      const V = 20000
      const rising = Float32Array.from({ length: V }, (_, i) => i)
      const falling = rising.slice().reverse()
      for (const [row, want] of [
        [rising, [V - 1, V - 2, V - 3]],
        [falling, [0, 1, 2]],
      ] as const) {
        const [indices] = await rig.evaluateAll((b) => [b.topK(rig.up(row, 1, V), 3).indices])
        expectExact(indices, want, "three of 20000")
      }
    })

    test("infinities are numbers, a NaN ranks as −∞", async () => {
      const [indices] = await rig.evaluateAll((b) => [
        b.topK(rig.up([1, -INF, Number.NaN, INF, -INF, 2], 1, 6), 6).indices,
      ])
      expectExact(indices, [3, 5, 0, 1, 2, 4], "order")
    })

    test("shapes, no rows, refusals", () => {
      const b = rig.backend
      b.scope(() => {
        const x = rig.up(numbers(15, 1), 3, 5)
        const { values, indices } = b.topK(x, 2)
        expect([values.shape, indices.shape]).toEqual([
          [3, 2],
          [3, 2],
        ])
        expect(b.topK(rig.up([], 0, 5), 2).values.shape).toEqual([0, 2])
        for (const k of [0, 6, -1, 1.5]) expectError(() => b.topK(x, k), "bad_input", /topK.*k is/)
      })
    })
  })

  describe("logSoftmax", () => {
    test("all widths, large logits, one far above the rest", async () => {
      for (const V of [...ODD_SIZES, 300, 5000]) {
        for (const [size, shift] of [
          [5, 0],
          [100, 1000],
          [1e4, -1e4],
          [0, 3],
        ]) {
          const T = 3
          const x = numbers(T * V, V, size).map((v) => v + shift)
          const want = expectation(T * V)
          for (let t = 0; t < T; t++) {
            const row = Array.from(x.subarray(t * V, (t + 1) * V))
            const largest = Math.max(...row)
            const log = Math.log(row.reduce((sum, v) => sum + Math.exp(v - largest), 0))
            for (let i = 0; i < V; i++) {
              want.want[t * V + i] = row[i] - largest - log
              want.slack[t * V + i] =
                4 * U * (Math.abs(row[i]) + Math.abs(largest) + log) + sumSlack(V) + 2 * U * (Math.abs(largest) + size)
            }
          }
          const got = await rig.evaluate((b) => b.logSoftmax(rig.upAt(1, x, T, V)))
          expectWithin(got, want, `${V} logits of ${shift} ± ${size}`)
        }
      }
    })

    test("−∞ has probability 0; no rows; more axes", async () => {
      const got = await rig.evaluate((b) => b.logSoftmax(rig.up([0, -INF, 0], 1, 3)))
      expect(got[1]).toBe(-INF)
      expect(got[0]).toBeCloseTo(-Math.LN2, 6)
      const b = rig.backend
      b.scope(() => {
        expect(b.logSoftmax(rig.up([], 0, 5)).shape).toEqual([0, 5])
        expect(b.logSoftmax(rig.up(numbers(12, 1), 2, 2, 3)).shape).toEqual([2, 2, 3])
      })
    })
  })
}
