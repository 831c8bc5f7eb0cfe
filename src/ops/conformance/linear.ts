/** Weights, the embedding table and linear layers. */

import { describe, expect, test } from "vitest"
import type { Activation, SourceType, StoredType } from "../backend"
import { expectExact, expectedLinear, expectWithin } from "./expectation"
import { bytesOf, expectError, numbers, ODD_SIZES, type Rig, roundTo, wholeNumbers } from "./rig"

export function linearTests(rig: Rig): void {
  describe("weights", () => {
    test("float32 is kept exactly, or rounded to bfloat16: to nearest, ties to even", async () => {
      const plain = [0, 1, -1, 3.140625, 1 + 2 ** -7, -(2 ** -120), 2 ** 127]
      const ties = [1 + 2 ** -8, 1 + 3 * 2 ** -8, -(1 + 2 ** -8), -(1 + 3 * 2 ** -8), 2 + 2 ** -7]
      const near = [1 + 2 ** -8 + 2 ** -23, 1 + 2 ** -8 - 2 ** -23, 1.2345678, -9.87654e-12, 255.5, 1e30]
      const data = Float32Array.from([...plain, ...ties, ...near])
      for (const stored of rig.floatTypes) {
        const want = roundTo(stored, data)
        await rig.withWeight(data, [data.length, 1], stored, async (w) => {
          const ids = Int32Array.from(data.keys())
          expectExact(await rig.evaluate((b) => b.embed(ids, w)), want, `embed, ${stored}`)
          const one = await rig.evaluate((b) => b.linear(rig.up([1], 1, 1), w))
          expectExact(one, want, `linear, ${stored}`)
        })
      }
      expect(roundTo("bf16", Float32Array.from(ties))).toEqual(Float32Array.of(1, 1 + 2 ** -6, -1, -(1 + 2 ** -6), 2))
    })

    test("rounding to bfloat16 may reach infinity; NaN stays NaN", async () => {
      if (!rig.floatTypes.includes("bf16")) return
      const inf = Number.POSITIVE_INFINITY
      const data = Float32Array.of(3.4e38, -3.4e38, inf, Number.NaN, Number.NaN, Number.NaN)
      // NaNs that rounding would make an infinity or a zero: their payload in the lower half only, or all ones.
      new Uint32Array(data.buffer).set([0x7f800001, 0x7fffffff, 0xffffffff], 3)
      await rig.withWeight(data, [6, 1], "bf16", async (w) => {
        const got = await rig.evaluate((b) => b.embed(Int32Array.of(0, 1, 2, 3, 4, 5), w))
        expectExact(got, [inf, -inf, inf, Number.NaN, Number.NaN, Number.NaN], "embed")
      })
    })

    test("every half-precision number is read", async () => {
      const halves = Uint16Array.from({ length: 65536 }, (_, i) => i)
      const want = Float32Array.from(halves, (h) => {
        const [sign, exponent, fraction] = [h >> 15 ? -1 : 1, (h >> 10) & 31, h & 1023]
        if (exponent === 31) return fraction ? Number.NaN : sign / 0
        return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25)
      })
      const b = rig.backend
      const w = b.loadWeight(bytesOf(halves), "F16", [256, 256], "f32")
      const ids = Int32Array.from({ length: 256 }, (_, i) => i)
      expectExact(await rig.evaluate(() => b.embed(ids, w)), want, "F16 as f32")
      b.free(w)
    })

    test("all source types, from bytes at any offset", async () => {
      const b = rig.backend
      const size = 3 * 5
      // Numbers that all three types hold: nothing is rounded.
      const exact = wholeNumbers(size, 1, 100)
      const bf16Bits = Uint16Array.from(new Uint32Array(exact.buffer), (u) => u >>> 16)
      const sources: [SourceType, Uint8Array][] = [
        ["F32", bytesOf(exact)],
        ["BF16", bytesOf(bf16Bits)],
        ["F16", bytesOf(Uint16Array.from(exact, halfOf))],
      ]
      for (const [source, bytes] of sources) {
        for (const stored of rig.floatTypes) {
          for (const offset of [0, 1, 3]) {
            const shifted = new Uint8Array(bytes.length + offset)
            shifted.set(bytes, offset)
            const w = b.loadWeight(shifted.subarray(offset), source, [3, 5], stored)
            expect(w.stored).toBe(stored)
            shifted.fill(0)
            const got = await rig.evaluate(() => b.embed(Int32Array.of(0, 1, 2), w))
            expectExact(got, exact, `${source} → ${stored} at offset ${offset}`)
            b.free(w)
          }
        }
      }
    })

    test("a bfloat16 weight takes half the bytes", () => {
      if (!rig.floatTypes.includes("bf16")) return
      const b = rig.backend
      const bytes = bytesOf(numbers(256 * 256, 1))
      const [wide, narrow] = (["f32", "bf16"] as const).map((stored) => b.loadWeight(bytes, "F32", [256, 256], stored))
      expect(wide.bytes).toBeGreaterThanOrEqual(256 * 256 * 4)
      expect(narrow.bytes).toBeLessThan(wide.bytes * 0.6)
      b.free(wide, narrow)
    })

    test("what does not fit is refused", () => {
      const b = rig.backend
      const bytes = new Uint8Array(60)
      expectError(() => b.loadWeight(bytes, "F32", [3, 4], "f32"), "bad_input", /loadWeight.*\[3, 4\].*48.*60/)
      expectError(() => b.loadWeight(bytes, "BF16", [3, 5], "f32"), "bad_input", /loadWeight.*30.*60/)
      expectError(() => b.loadWeight(bytes, "I8" as SourceType, [3, 5], "f32"), "bad_input", /loadWeight.*I8/)
      const missing = (["f32", "bf16", "q8", "q4"] as const).filter((t) => !b.info.stored.includes(t))
      for (const stored of [...missing, "q3" as StoredType]) {
        expectError(() => b.loadWeight(bytes, "F32", [3, 5], stored), "unsupported", new RegExp(`${stored}.*f32`))
      }
    })
  })

  describe("embed", () => {
    test("rows in any order, repeated, none", async () => {
      const data = numbers(7 * 33, 2)
      for (const stored of rig.floatTypes) {
        const table = roundTo(stored, data)
        await rig.withWeight(data, [7, 33], stored, async (w) => {
          const ids = Int32Array.of(6, 0, 3, 3, 6)
          const want = Float32Array.from([...ids].flatMap((id) => [...table.subarray(id * 33, (id + 1) * 33)]))
          expectExact(await rig.evaluate((b) => b.embed(ids, w)), want, stored)
          const none = rig.backend.embed(new Int32Array(0), w)
          expect(none.shape).toEqual([0, 33])
          rig.backend.free(none)
          for (const id of [-1, 7]) {
            expectError(() => rig.backend.embed(Int32Array.of(0, id), w), "bad_input", new RegExp(`embed.*${id}.*7`))
          }
          const list = [0, 1] as unknown as Int32Array
          expectError(() => rig.backend.embed(list, w), "bad_input", /embed.*Int32Array/)
        })
      }
    })
  })

  describe("linear", () => {
    test("all small sizes, exact with whole numbers", async () => {
      for (const stored of rig.floatTypes) {
        for (const K of [...ODD_SIZES, 300]) {
          for (const N of ODD_SIZES) {
            const w = wholeNumbers(N * K, K + N)
            await rig.withWeight(w, [N, K], stored, async (weight) => {
              for (const T of [0, 1, 2, 3, 5, 7, 17, 33]) {
                const x = wholeNumbers(T * K, T + 1)
                const got = await rig.evaluate((b) => b.linear(rig.up(x, T, K), weight))
                expectExact(got, expectedLinear(x, w, [T, K, N]).want, `[${T}, ${K}] · [${N}, ${K}]ᵀ as ${stored}`)
              }
            })
          }
        }
      }
    })

    const sizes: readonly (readonly [T: number, K: number, N: number])[] = [
      [1, 4304, 33],
      [5, 4304, 65],
      [65, 1152, 17],
      [300, 31, 300],
      [33, 300, 65],
      [2, 7, 1],
      [1, 1, 300],
    ]

    test("fractions, within the rounding of float32 sums", async () => {
      for (const stored of rig.floatTypes) {
        for (const [T, K, N] of sizes) {
          const w = numbers(N * K, 3, 0.1)
          const x = numbers(T * K, 4, 3)
          const want = expectedLinear(x, roundTo(stored, w), [T, K, N])
          await rig.withWeight(w, [N, K], stored, async (weight) => {
            const got = await rig.evaluate((b) => b.linear(rig.up(x, T, K), weight))
            expectWithin(got, want, `[${T}, ${K}] · [${N}, ${K}]ᵀ as ${stored}`)
          })
        }
      }
    })

    test("numbers of one sign, very large, very small", async () => {
      const [T, K, N] = [3, 300, 17]
      for (const stored of rig.floatTypes) {
        for (const size of [1, 1e15, 1e-15]) {
          const x = numbers(T * K, 5, size).map(Math.abs)
          const w = numbers(N * K, 6, size).map(Math.abs)
          const want = expectedLinear(x, roundTo(stored, w), [T, K, N])
          await rig.withWeight(w, [N, K], stored, async (weight) => {
            const got = await rig.evaluate((b) => b.linear(rig.up(x, T, K), weight))
            expectWithin(got, want, `size ${size}, ${stored}`)
          })
        }
      }
    })

    test("bias, activation and residual, in that order, alone and together", async () => {
      for (const stored of rig.floatTypes) {
        for (const [T, K, N] of [
          [1, 33, 65],
          [5, 17, 31],
          [33, 65, 7],
        ] as const) {
          const w = numbers(N * K, 7)
          const x = numbers(T * K, 8, 2)
          const bias = numbers(N, 9, 5)
          const residual = numbers(T * N, 10, 5)
          await rig.withWeight(w, [N, K], stored, async (weight) => {
            for (const activation of [undefined, "silu", "gelu_tanh"] as (Activation | undefined)[]) {
              for (const [withBias, withResidual] of [
                [true, false],
                [false, true],
                [true, true],
                [false, false],
              ]) {
                const options = {
                  activation,
                  bias: withBias ? bias : undefined,
                  residual: withResidual ? residual : undefined,
                }
                const want = expectedLinear(x, roundTo(stored, w), [T, K, N], options)
                const got = await rig.evaluate((b) =>
                  b.linear(rig.up(x, T, K), weight, {
                    activation,
                    bias: withBias ? rig.up(bias, N) : undefined,
                    residual: withResidual ? rig.up(residual, T, N) : undefined,
                  }),
                )
                expectWithin(got, want, `${activation}, bias ${withBias}, residual ${withResidual}, ${stored}`)
              }
            }
          })
        }
      }
    })

    test("views at any offset: x, bias, residual", async () => {
      const [T, K, N] = [5, 7, 33]
      const w = wholeNumbers(N * K, 11)
      const x = wholeNumbers(T * K, 12)
      const bias = wholeNumbers(N, 13)
      const residual = wholeNumbers(T * N, 14)
      const { want } = expectedLinear(x, w, [T, K, N], { bias, residual })
      await rig.withWeight(w, [N, K], "f32", async (weight) => {
        for (const offset of [1, 2, 3]) {
          const got = await rig.evaluate((b) =>
            b.linear(rig.upAt(offset, x, T, K), weight, {
              bias: rig.upAt(offset, bias, N),
              residual: rig.upAt(offset + 1, residual, T, N),
            }),
          )
          expectExact(got, want, `offset ${offset}`)
        }
      })
    })

    test("the residual may be x itself, which stays as it is", async () => {
      const [T, K] = [7, 33]
      const w = wholeNumbers(K * K, 15)
      const x = wholeNumbers(T * K, 16)
      const { want } = expectedLinear(x, w, [T, K, K], { residual: x })
      await rig.withWeight(w, [K, K], "f32", async (weight) => {
        const [y, after] = await rig.evaluateAll((b) => {
          const input = rig.up(x, T, K)
          return [b.linear(input, weight, { residual: input }), input]
        })
        expectExact(y, want, "x·Wᵀ + x")
        expectExact(after, x, "x")
      })
    })

    test("a NaN or infinity stays in its row", async () => {
      const [T, K, N] = [6, 31, 17]
      const w = numbers(N * K, 17).map((v) => v + 2)
      for (const [value, result] of [
        [Number.NaN, Number.NaN],
        [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY],
      ]) {
        const x = numbers(T * K, 18)
        const want = expectedLinear(x, w, [T, K, N])
        x[3 * K + 30] = value
        want.want.fill(result, 3 * N, 4 * N)
        await rig.withWeight(w, [N, K], "f32", async (weight) => {
          const got = await rig.evaluate((b) => b.linear(rig.up(x, T, K), weight))
          expectWithin(got, want, `x has a ${value}`)
        })
      }
    })

    test("wrong shapes are refused with the shapes", async () => {
      await rig.withWeight(numbers(15, 1), [3, 5], "f32", async (w) => {
        const b = rig.backend
        const refuse = (fn: () => unknown, message: RegExp) => {
          b.scope(() => expectError(fn, "bad_input", message))
        }
        refuse(() => b.linear(rig.up(numbers(8, 1), 2, 4), w), /linear.*\[2, 4\].*\[3, 5\]/)
        refuse(() => b.linear(rig.up(numbers(5, 1), 5), w), /linear.*\[5\]/)
        const x = rig.up(numbers(10, 1), 2, 5)
        refuse(() => b.linear(x, w, { bias: rig.up(numbers(5, 1), 5) }), /linear.*bias.*\[5\].*\[3\]/)
        refuse(() => b.linear(x, w, { residual: x }), /linear.*residual.*\[2, 5\].*\[2, 3\]/)
        refuse(() => b.linear(x, w, { activation: "relu" as Activation }), /linear.*relu/)
        b.free(x)
      })
    })
  })
}

/** Whole numbers below 2048 → half precision. */
function halfOf(x: number): number {
  if (x === 0) return 0
  const exponent = Math.floor(Math.log2(Math.abs(x)))
  const fraction = (Math.abs(x) / 2 ** exponent - 1) * 1024
  return (x < 0 ? 0x8000 : 0) | ((exponent + 15) << 10) | fraction
}
