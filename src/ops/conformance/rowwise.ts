/** Norms, rotary embedding, elementwise operations and moving rows. */

import { describe, expect, test } from "vitest"
import {
  activationOf,
  expectation,
  expectExact,
  expectedLayerNorm,
  expectedRmsNorm,
  expectWithin,
  U,
} from "./expectation"
import { expectError, HEAD_SIZES, numbers, ODD_SIZES, type Rig } from "./rig"

const WIDTHS = [...ODD_SIZES, 300, 1152] as const

export function normTests(rig: Rig): void {
  describe("layerNorm", () => {
    test("all widths and row counts, from views too", async () => {
      for (const D of WIDTHS) {
        for (const T of [0, 1, 3, 5]) {
          const x = numbers(T * D, D, 4)
          const [w, bias] = [numbers(D, 1, 2), numbers(D, 2, 3)]
          const want = expectedLayerNorm(x, w, bias, 1e-6)
          for (const offset of [0, 1, 3]) {
            const got = await rig.evaluate((b) =>
              b.layerNorm(rig.upAt(offset, x, T, D), rig.upAt(offset, w, D), rig.upAt(offset, bias, D), 1e-6),
            )
            expectWithin(got, want, `[${T}, ${D}] at offset ${offset}`)
          }
        }
      }
    })

    test("rows far from zero, constant, tiny, huge", async () => {
      const D = 65
      const w = numbers(D, 3, 2)
      const bias = numbers(D, 4)
      const rows = {
        "mean 1000": numbers(D, 5).map((v) => v + 1000),
        "mean -1e6": numbers(D, 6, 100).map((v) => v - 1e6),
        constant: new Float32Array(D).fill(3.7),
        zero: new Float32Array(D),
        tiny: numbers(D, 7, 1e-20),
        huge: numbers(D, 8, 1e15),
      }
      for (const [name, x] of Object.entries(rows)) {
        const got = await rig.evaluate((b) => b.layerNorm(rig.up(x, 1, D), rig.up(w, D), rig.up(bias, D), 1e-6))
        expectWithin(got, expectedLayerNorm(x, w, bias, 1e-6), name)
      }
    })

    test("more axes: the last one counts", async () => {
      const x = numbers(2 * 3 * 7, 9)
      const [w, bias] = [numbers(7, 1), numbers(7, 2)]
      const b = rig.backend
      const t = b.scope(() => b.layerNorm(rig.up(x, 2, 3, 7), rig.up(w, 7), rig.up(bias, 7), 1e-5))
      expect(t.shape).toEqual([2, 3, 7])
      expectWithin(await b.read(t), expectedLayerNorm(x, w, bias, 1e-5), "[2, 3, 7]")
      b.free(t)
    })
  })

  describe("rmsNorm", () => {
    test("whole rows: all widths", async () => {
      for (const D of WIDTHS) {
        for (const T of [0, 1, 3, 5]) {
          const x = numbers(T * D, D, 4)
          const w = numbers(D, 1, 2)
          for (const offset of [0, 1, 3]) {
            const got = await rig.evaluate((b) => b.rmsNorm(rig.upAt(offset, x, T, D), rig.upAt(offset, w, D), 1e-6))
            expectWithin(got, expectedRmsNorm(x, w, 1e-6), `[${T}, ${D}] at offset ${offset}`)
          }
        }
      }
    })

    test("every head by itself", async () => {
      for (const headDim of HEAD_SIZES) {
        for (const heads of [1, 2, 5]) {
          const T = 3
          const x = numbers(T * heads * headDim, headDim, 4).map((v, i) => v * (1 + (i % 7) * 10))
          const w = numbers(headDim, 1, 2)
          const got = await rig.evaluate((b) => b.rmsNorm(rig.up(x, T, heads * headDim), rig.up(w, headDim), 1e-6))
          expectWithin(got, expectedRmsNorm(x, w, 1e-6), `${heads} heads of ${headDim}`)
        }
      }
    })

    test("tiny, zero and huge rows, another eps", async () => {
      const D = 33
      const w = numbers(D, 2, 2)
      for (const [size, eps] of [
        [1e-4, 1e-6],
        [1e-20, 1e-6],
        [0, 1e-6],
        [1e15, 1e-6],
        [1, 1e-2],
      ]) {
        const x = numbers(2 * D, 3, size)
        const got = await rig.evaluate((b) => b.rmsNorm(rig.up(x, 2, D), rig.up(w, D), eps))
        expectWithin(got, expectedRmsNorm(x, w, eps), `size ${size}, eps ${eps}`)
      }
    })
  })

  test("norms refuse what does not fit", () => {
    const b = rig.backend
    b.scope(() => {
      const x = rig.up(numbers(12, 1), 2, 6)
      const [four, six] = [rig.up(numbers(4, 1), 4), rig.up(numbers(6, 1), 6)]
      expectError(() => b.layerNorm(x, four, six, 1e-6), "bad_input", /layerNorm.*weight.*\[4\].*\[6\]/)
      expectError(() => b.layerNorm(x, six, four, 1e-6), "bad_input", /layerNorm.*bias.*\[4\].*\[6\]/)
      expectError(() => b.rmsNorm(x, four, 1e-6), "bad_input", /rmsNorm.*\[2, 6\].*4/)
      expectError(() => b.rmsNorm(x, x, 1e-6), "bad_input", /rmsNorm.*\[2, 6\]/)
    })
  })
}

export function ropeTests(rig: Rig): void {
  describe("rope", () => {
    test("every head turns by its token's angles, in place", async () => {
      for (const headDim of HEAD_SIZES) {
        for (const [T, heads] of [
          [0, 2],
          [1, 1],
          [5, 3],
          [17, 2],
        ]) {
          const width = heads * headDim
          const x = numbers(T * width, headDim, 4)
          const angles = numbers(T * headDim, 2, 3)
          const [cos, sin] = [angles.map(Math.cos), angles.map(Math.sin)]
          const want = expectation(x.length)
          for (let i = 0; i < x.length; i++) {
            const t = Math.floor(i / width)
            const inHead = i % headDim
            const first = inHead < headDim / 2
            const partner = first ? -x[i + headDim / 2] : x[i - headDim / 2]
            const [a, c] = [x[i] * cos[t * headDim + inHead], partner * sin[t * headDim + inHead]]
            want.want[i] = a + c
            want.slack[i] = 3 * U * (Math.abs(a) + Math.abs(c))
          }
          for (const offset of [0, 1, 3]) {
            const [got, around] = await rig.evaluateAll((b) => {
              const padded = rig.up(
                [...new Float32Array(offset * width).fill(9), ...x, 9],
                offset * width + T * width + 1,
              )
              const view = b.reshape(b.rows(padded, offset * width, (offset + T) * width), [T, width])
              const turned = b.rope(view, rig.upAt(offset, cos, T, headDim), rig.upAt(offset, sin, T, headDim))
              expect(turned).toBe(view)
              return [b.concatRows([turned]), padded]
            })
            expectWithin(got, want, `[${T}, ${heads} × ${headDim}] at offset ${offset}`)
            expectExact(around.slice(0, offset * width), new Float32Array(offset * width).fill(9), "rows before")
            expect(around[around.length - 1]).toBe(9)
          }
        }
      }
    })

    test("refuses what does not fit", () => {
      const b = rig.backend
      b.scope(() => {
        const x = rig.up(numbers(24, 1), 2, 12)
        const four = rig.up(numbers(8, 1), 2, 4)
        expectError(() => b.rope(x, rig.up(numbers(10, 1), 2, 5), four), "bad_input", /rope.*\[2, 12\].*\[2, 5\]/)
        expectError(() => b.rope(x, rig.up(numbers(6, 1), 2, 3), four), "bad_input", /rope.*\[2, 3\]/)
        expectError(() => b.rope(x, rig.up(numbers(12, 1), 3, 4), four), "bad_input", /rope.*cos.*\[3, 4\]/)
        expectError(() => b.rope(x, four, rig.up(numbers(12, 1), 3, 4)), "bad_input", /rope.*sin.*\[3, 4\]/)
      })
    })
  })
}

export function elementwiseTests(rig: Rig): void {
  /** From far left to far right, with what overflows when squared, cubed or put into exp. */
  const grid = Float32Array.from([
    ...Array.from({ length: 801 }, (_, i) => (i - 400) / 8),
    ...[0, -0, 1e-30, -1e-30, 1e-5, -1e-5, 87, -87, 88.8, -88.8, 104, -104, 1000, -1000, 1e13, -1e13, 1e30, -1e30],
  ])

  describe("elementwise", () => {
    test("silu and gelu", async () => {
      for (const [op, activation] of [
        ["silu", "silu"],
        ["gelu", "gelu_tanh"],
      ] as const) {
        const want = expectation(grid.length)
        for (const [i, x] of grid.entries()) {
          const { y, slack } = activationOf(activation, x)
          want.want[i] = y
          want.slack[i] = slack
        }
        expectWithin(await rig.evaluate((b) => b[op](rig.up(grid, grid.length))), want, op)
        for (const size of [0, ...ODD_SIZES]) {
          const part = { want: want.want.slice(300, 300 + size), slack: want.slack.slice(300, 300 + size) }
          const x = grid.slice(300, 300 + size)
          expectWithin(await rig.evaluate((b) => b[op](rig.upAt(3, x, size))), part, `${op} of ${size}`)
        }
        const nan = await rig.evaluate((b) => b[op](rig.up([1, Number.NaN, 1], 3)))
        expect([...nan].map(Number.isNaN)).toEqual([false, true, false])
      }
    })

    test("swiglu is silu(gate) · up", async () => {
      const shifted = Float32Array.from(grid, (_, i) => grid[(i * 7) % grid.length] / 1e3)
      const want = expectation(grid.length)
      for (const [i, x] of grid.entries()) {
        const { y, slack } = activationOf("silu", x)
        want.want[i] = y * shifted[i]
        want.slack[i] = (slack + U * Math.abs(y)) * Math.abs(shifted[i])
      }
      const whole = await rig.evaluate((b) => b.swiglu(rig.up(grid, 1, grid.length), rig.up(shifted, 1, grid.length)))
      expectWithin(whole, want, "swiglu")
      for (const size of [0, ...ODD_SIZES]) {
        const part = { want: want.want.slice(300, 300 + size), slack: want.slack.slice(300, 300 + size) }
        const [gate, up] = [grid, shifted].map((a) => a.slice(300, 300 + size))
        const got = await rig.evaluate((b) => b.swiglu(rig.upAt(1, gate, size), rig.upAt(2, up, size)))
        expectWithin(got, part, `swiglu of ${size}`)
      }
    })

    test("add rounds once", async () => {
      for (const size of [0, ...ODD_SIZES, 300]) {
        const [x, y] = [numbers(size, 1), numbers(size, 2, 1e-3)]
        const want = x.map((v, i) => Math.fround(v + y[i]))
        expectExact(await rig.evaluate((b) => b.add(rig.upAt(1, x, size), rig.upAt(3, y, size))), want, `${size}`)
      }
      const twice = await rig.evaluate((b) => {
        const t = rig.up([1, 2, 3], 3)
        return b.add(t, t)
      })
      expect(twice).toEqual(Float32Array.of(2, 4, 6))
    })

    test("keep the shape, refuse another", () => {
      const b = rig.backend
      b.scope(() => {
        const x = rig.up(numbers(12, 1), 2, 3, 2)
        const y = rig.up(numbers(12, 1), 3, 4)
        for (const t of [b.silu(x), b.gelu(x), b.add(x, x), b.swiglu(x, x)]) expect(t.shape).toEqual([2, 3, 2])
        expectError(() => b.add(x, y), "bad_input", /add.*\[3, 4\].*\[2, 3, 2\]/)
        expectError(() => b.swiglu(x, y), "bad_input", /swiglu.*\[3, 4\].*\[2, 3, 2\]/)
      })
    })
  })
}

export function rowTests(rig: Rig): void {
  describe("rows", () => {
    test("concatRows stacks, empty parts and views included", async () => {
      for (const D of ODD_SIZES) {
        const parts = [3, 0, 1, 7].map((n, i) => ({ n, data: numbers(n * D, i) }))
        const want = parts.flatMap(({ data }) => [...data])
        const got = await rig.evaluate((b) => b.concatRows(parts.map(({ n, data }, i) => rig.upAt(i, data, n, D))))
        expectExact(got, want, `rows of ${D}`)
      }
      const copy = await rig.evaluateAll((b) => {
        const t = rig.up([1, 2], 1, 2)
        const stacked = b.concatRows([t])
        b.rope(t, rig.up([0, 0], 1, 2), rig.up([0, 0], 1, 2))
        return [stacked, t]
      })
      expect(copy).toEqual([Float32Array.of(1, 2), Float32Array.of(0, 0)])
    })

    test("gatherRows picks in any order, repeated, none", async () => {
      for (const D of [...ODD_SIZES, 300]) {
        const x = numbers(17 * D, D)
        for (const index of [[], [16], [0, 0, 5, 16, 3], Array.from({ length: 33 }, (_, i) => (i * 7) % 17)]) {
          const want = index.flatMap((row) => [...x.subarray(row * D, (row + 1) * D)])
          const got = await rig.evaluate((b) => b.gatherRows(rig.upAt(3, x, 17, D), Int32Array.from(index)))
          expectExact(got, want, `${index.length} rows of ${D}`)
        }
      }
    })

    test("keep the shape of a row, refuse what does not fit", () => {
      const b = rig.backend
      b.scope(() => {
        const x = rig.up(numbers(24, 1), 2, 3, 4)
        expect(b.gatherRows(x, Int32Array.of(1, 1, 0)).shape).toEqual([3, 3, 4])
        expect(b.concatRows([x, x]).shape).toEqual([4, 3, 4])
        const y = rig.up(numbers(24, 1), 2, 12)
        expectError(() => b.concatRows([x, y]), "bad_input", /concatRows.*\[2, 12\]/)
        expectError(() => b.concatRows([]), "bad_input", /concatRows/)
        expectError(() => b.gatherRows(x, Int32Array.of(0, 2)), "bad_input", /gatherRows.*2.*\[2, 3, 4\]/)
        expectError(() => b.gatherRows(x, Int32Array.of(-1)), "bad_input", /gatherRows.*-1/)
        expectError(() => b.gatherRows(x, [0] as unknown as Int32Array), "bad_input", /gatherRows.*Int32Array/)
        expectError(() => b.rows(x, 1, 3), "bad_input", /rows.*3.*2/)
        expectError(() => b.rows(x, 2, 1), "bad_input", /rows/)
        expectError(() => b.rows(x, -1, 1), "bad_input", /rows/)
        expectError(() => b.rows(x, 0.5, 1), "bad_input", /rows/)
        expectError(() => b.reshape(x, [5, 5]), "bad_input", /reshape.*24.*25/)
        expectError(() => b.reshape(x, [-24, -1]), "bad_input", /reshape/)
        expectError(() => b.upload(new Float32Array(5), [2, 3]), "bad_input", /upload.*5.*\[2, 3\]/)
      })
    })
  })
}
