/**
 * q8 weights: the bytes, the whole numbers and what comes of them.
 *
 * That integer dot products are equal shows where scales are powers of two and all sums are whole numbers that float32
 * holds: there the result must be exact.
 */

import { describe, expect, test } from "vitest"
import { type Activation, packedBytes, Q8_GROUP, Q8_PANEL, type Weight } from "../backend"
import { type Expectation, expectExact, expectWithin } from "./expectation"
import { expectedQ8, packedQ8, quantiseActivations, quantiseWeights, valuesOf } from "./q8-scheme"
import { bytesOf, choices, expectError, numbers, type Rig } from "./rig"

/** Inner sizes around a step, a group and several, with remainders of every kind. */
const INNER = [1, 2, 3, 4, 5, 31, Q8_GROUP - 1, Q8_GROUP, Q8_GROUP + 1, 2 * Q8_GROUP + 5, 300] as const
const OUT = [1, 2, 31, 32, 33, 65] as const

/**
 * Whole numbers, each group of a row times a power of two, and the largest magnitude in each group so that the scale is
 * that power.
 */
function wholeGroups(rows: number, K: number, most: number, seed: number, powers: readonly number[]): Float32Array {
  const next = choices(seed)
  const out = new Float32Array(rows * K)
  for (let row = 0; row < rows; row++) {
    for (let start = 0; start < K; start += Q8_GROUP) {
      const length = Math.min(Q8_GROUP, K - start)
      const power = 2 ** powers[next(powers.length)]
      const largest = next(length)
      for (let i = 0; i < length; i++) {
        const number = i === largest ? (next(2) ? most : -most) : next(2 * most + 1) - most
        out[row * K + start + i] = number * power
      }
    }
  }
  return out
}

const POWERS = [-1, 0, 0, 1]

export function q8Tests(rig: Rig): void {
  /** `fn` with a q8 weight made of float32 numbers. */
  const withQ8 = async (w: Float32Array, shape: readonly [number, number], fn: (w: Weight) => Promise<void>) => {
    await rig.withWeight(w, shape, "q8", fn)
  }
  const linear = (x: Float32Array, T: number, K: number, w: Weight) => rig.evaluate((b) => b.linear(rig.up(x, T, K), w))

  describe("q8 weights", () => {
    test("the packed bytes are the scheme's, whatever the size", async () => {
      for (const K of INNER) {
        for (const N of OUT) {
          const data = numbers(N * K, K + N, 0.3)
          await withQ8(data, [N, K], async (w) => {
            expect(w.bytes, `[${N}, ${K}]`).toBe(packedBytes([N, K], "q8"))
            expectBytes(await rig.backend.readWeight(w), packedQ8(data, [N, K]), `[${N}, ${K}]`)
          })
        }
      }
    })

    test("the packed bytes of a row as long as the vision tower's, and of all source types at any offset", async () => {
      const long = numbers(3 * 4304, 1)
      await withQ8(long, [3, 4304], async (w) => {
        expectBytes(await rig.backend.readWeight(w), packedQ8(long, [3, 4304]), "[3, 4304]")
      })
      const [N, K] = [33, 133]
      const halves = Uint16Array.from({ length: N * K }, (_, i) => ((i * 40503) & 0x83ff) | 0x3000 | ((i % 7) << 10))
      const sources = [
        ["F16", halves, Float32Array.from(halves, f16)],
        ["BF16", halves, new Float32Array(Uint32Array.from(halves, (h) => h << 16).buffer)],
        ["F32", numbers(N * K, 2), numbers(N * K, 2)],
      ] as const
      for (const [source, stored, values] of sources) {
        for (const offset of [0, 1]) {
          const bytes = new Uint8Array(stored.byteLength + offset)
          bytes.set(bytesOf(stored), offset)
          const w = rig.backend.loadWeight(bytes.subarray(offset), source, [N, K], "q8")
          bytes.fill(0)
          expectBytes(await rig.backend.readWeight(w), packedQ8(values, [N, K]), `${source} at offset ${offset}`)
          rig.backend.free(w)
        }
      }
    })

    test("rounding: halves away from zero, not what is just below; scales to bfloat16", async () => {
      // The scale is 1: numbers are what they are divided by.
      const below = (x: number) => x * (1 - 2 ** -24)
      const plain = [0.5, 1.5, 2.5, 62.5, 62.75, 0.25, 1, 62, 1e-20, 0]
      const data = Float32Array.from([63, ...plain, ...plain.map(below)].flatMap((x) => [x, -x]))
      const want = [63, 1, 2, 3, 63, 63, 0, 1, 62, 0, 0, 0, 1, 2, 62, 63, 0, 1, 62, 0, 0].flatMap((x) => [x, -x])
      expect(quantiseWeights(data, data.length).numbers[0].map((x) => x + 0)).toEqual(want.map((x) => x + 0))
      await withQ8(data, [1, data.length], async (w) => {
        expectExact(await rig.evaluate((b) => b.embed(Int32Array.of(0), w)), want, "weights")
      })
      // A scale that bfloat16 rounds, down and up.
      for (const largest of [63 * 1.0039, 63 * 1.00391]) {
        const two = Float32Array.of(largest, 1.51)
        await withQ8(two, [1, 2], async (w) => {
          expectBytes(await rig.backend.readWeight(w), packedQ8(two, [1, 2]), `largest ${largest}`)
        })
      }
    })

    test("zero, tiny and huge groups; a NaN or infinity makes its group NaN", async () => {
      const [N, K] = [7, Q8_GROUP + 3]
      const data = numbers(N * K, 3)
      for (let k = 0; k < K; k++) {
        data[K + k] = 0
        data[2 * K + k] *= 2 ** -101
        data[3 * K + k] *= 1e-40
        data[4 * K + k] *= 1e36
      }
      data[5 * K + 2] = Number.NaN
      data[6 * K + K - 1] = Number.NEGATIVE_INFINITY
      await withQ8(data, [N, K], async (w) => {
        expectBytes(await rig.backend.readWeight(w), packedQ8(data, [N, K]), "bytes")
        const x = numbers(2 * K, 4)
        const want = expectedQ8(x, data, [2, K, N])
        const got = await linear(x, 2, K, w)
        expectWithin(got, want, "products")
        for (const t of [0, 1]) {
          expect([...got.subarray(t * N + 1, t * N + 4)].map(Math.abs)).toEqual([0, 0, 0])
          expect([...got.subarray(t * N + 5, t * N + 7)]).toEqual([Number.NaN, Number.NaN])
        }
      })
    })

    test("takes less than a third of float32's bytes", async () => {
      const b = rig.backend
      const w = b.createWeight([256, 512], "q8")
      expect(w.bytes).toBeLessThan((256 * 512 * 4) / 3)
      b.free(w)
    })
  })

  describe("writing and reading weights", () => {
    test("zeros at first, then filled in blocks in any order: the same as loaded at once", async () => {
      const b = rig.backend
      const [N, K] = [Q8_PANEL * 3 + 5, 37]
      const data = numbers(N * K, 5)
      for (const stored of ["f32", "bf16", "q8"] as const) {
        const ids = Int32Array.from({ length: N }, (_, i) => i)
        const rows = (w: Weight) => rig.evaluate(() => b.embed(ids, w))
        const [made, loaded] = [b.createWeight([N, K], stored), b.loadWeight(bytesOf(data), "F32", [N, K], stored)]
        expect(made).toMatchObject({ shape: [N, K], stored, bytes: loaded.bytes })
        expectExact(await rows(made), new Float32Array(N * K), "at first")
        for (const [first, end] of [
          [Q8_PANEL * 2, N],
          [Q8_PANEL, Q8_PANEL * 2],
          [0, Q8_PANEL],
          [Q8_PANEL, Q8_PANEL],
        ]) {
          b.writeWeight(made, first, bytesOf(data.slice(first * K, end * K)), "F32")
        }
        expectExact(await rows(made), await rows(loaded), stored)
        if (stored === "q8") {
          expectBytes(await b.readWeight(made), await b.readWeight(loaded), "bytes")
          // The middle panel again, as packed bytes of other numbers.
          const panel = packedQ8(data.slice(0, Q8_PANEL * K), [Q8_PANEL, K])
          b.writeWeight(made, Q8_PANEL, panel, "Q8")
          const got = await rows(made)
          expectExact(got.subarray(Q8_PANEL * K, 2 * Q8_PANEL * K), got.subarray(0, Q8_PANEL * K), "the middle panel")
        }
        b.free(made, loaded)
      }
    })

    test("what is read back is loaded as the same bits, from bytes at any offset", async () => {
      const b = rig.backend
      for (const [N, K] of [
        [33, 133],
        [1, 1],
        [64, Q8_GROUP],
      ] as const) {
        const w = b.loadWeight(bytesOf(numbers(N * K, 6)), "F32", [N, K], "q8")
        const bytes = await b.readWeight(w)
        const shifted = new Uint8Array(bytes.length + 3)
        shifted.set(bytes, 3)
        const again = b.loadWeight(shifted.subarray(3), "Q8", [N, K], "q8")
        shifted.fill(0)
        expectBytes(await b.readWeight(again), bytes, `[${N}, ${K}]`)
        const copy = await b.readWeight(again)
        copy.fill(0)
        expectBytes(await b.readWeight(again), bytes, "after the copy was changed")
        const x = numbers(3 * K, 7)
        expectExact(await linear(x, 3, K, again), await linear(x, 3, K, w), "products")
        b.free(w, again)
      }
    })

    test("what does not fit is refused with the numbers", async () => {
      const b = rig.backend
      const w = b.createWeight([40, 5], "q8")
      const plain = b.createWeight([40, 5], "bf16")
      const write = (first: number, bytes: number, source: "F32" | "Q8" = "F32", to = w) => {
        return () => b.writeWeight(to, first, new Uint8Array(bytes), source)
      }
      expectError(write(8, 20 * 32), "bad_input", /writeWeight.* 8 .*\[40, 5\].*32/)
      expectError(write(-32, 20), "bad_input", /writeWeight.*-32/)
      expectError(write(0, 19), "bad_input", /writeWeight.*19 bytes.*rows.*\[40, 5\]/)
      expectError(write(32, 20 * 9), "bad_input", /writeWeight.*32 … 40.*\[40, 5\]/)
      expectError(write(64, 20), "bad_input", /writeWeight.*64.*\[40, 5\]/)
      expectError(write(0, 20 * 31), "bad_input", /writeWeight.*0 … 30.*panel/)
      expectError(write(0, 100, "Q8"), "bad_input", /writeWeight.*100 bytes.*panels.*\[40, 5\]/)
      expectError(write(0, packedBytes([96, 5], "q8"), "Q8"), "bad_input", /writeWeight.*0 … 95/)
      expectError(write(0, packedBytes([40, 5], "q8"), "Q8", plain), "unsupported", /writeWeight.*bf16/)
      const short = new Uint8Array(packedBytes([40, 5], "q8") - 1)
      expectError(() => b.loadWeight(short, "Q8", [40, 5], "q8"), "bad_input", /loadWeight.*\[40, 5\].*Q8/)
      expectError(() => b.loadWeight(short, "Q8", [40, 5], "f32"), "unsupported", /loadWeight.*f32/)
      expectError(() => b.createWeight([3, 2.5], "q8"), "bad_input", /createWeight.*2\.5/)
      await expect(b.readWeight(plain)).rejects.toMatchObject({ code: "unsupported" })
      b.free(w, plain)
      expectError(write(0, 0), "bad_input", /writeWeight.*freed/)
      await expect(b.readWeight(w)).rejects.toMatchObject({ code: "bad_input" })
    })

    test("damaged panels are refused: numbers of 8 bits, scales that are not finite", () => {
      const b = rig.backend
      const shape = [65, Q8_GROUP + 5] as const
      const good = packedQ8(numbers(shape[0] * shape[1], 8), shape)
      const spoil = (at: number, ...bytes: number[]) => {
        const bad = good.slice()
        bad.set(bytes, at)
        return () => b.free(b.loadWeight(bad, "Q8", shape, "q8"))
      }
      expect(spoil(0)).not.toThrow()
      expectError(spoil(good.length - 1, 128), "bad_input", /damaged/)
      expectError(spoil(2 * Q8_PANEL, 255), "bad_input", /damaged/)
      expectError(spoil(2 * Q8_PANEL - 2, 0xc0, 0x7f), "not_finite", /damaged/)
      expectError(spoil(0, 0x80, 0xff), "not_finite", /damaged/)
      // A scale may have any byte, as long as it is a number.
      expect(spoil(0, 0x7f, 0x7f)).not.toThrow()
    })

    test("weights without rows or columns", async () => {
      const b = rig.backend
      for (const [N, K] of [
        [0, 5],
        [5, 0],
        [0, 0],
      ] as const) {
        for (const stored of ["f32", "q8"] as const) {
          const w = b.loadWeight(new Uint8Array(0), "F32", [N, K], stored)
          const got = await rig.evaluate(() => b.linear(rig.up([], 0, K), w))
          expect(got.length).toBe(0)
          const bias = numbers(N, 9)
          const two = await rig.evaluate(() =>
            b.linear(rig.up(new Float32Array(2 * K), 2, K), w, { bias: rig.up(bias, N) }),
          )
          expectExact(two, [...bias, ...bias], `[${N}, ${K}] as ${stored}`)
          if (stored === "q8") expect((await b.readWeight(w)).length).toBe(0)
          b.free(w)
        }
      }
    })
  })

  describe("q8 products", () => {
    test("integer dot products are exact: all small sizes, powers of two as scales", async () => {
      for (const K of INNER) {
        for (const N of [1, 31, 33, 65]) {
          const w = wholeGroups(N, K, 63, K + N, POWERS)
          await withQ8(w, [N, K], async (weight) => {
            for (const T of [0, 1, 2, 3, 4, 5, 7, 33]) {
              const x = wholeGroups(T, K, 127, T + 1, POWERS)
              const { want } = expectedQ8(x, w, [T, K, N])
              expectExact(await linear(x, T, K, weight), want, `[${T}, ${K}] · [${N}, ${K}]ᵀ`)
            }
          })
        }
      }
    })

    test("integer dot products are exact at the extremes: all largest, alternating signs, the longest rows", async () => {
      const patterns = [() => 1, () => -1, (i: number) => (i % 2 ? 1 : -1), (i: number) => (i % 4 < 2 ? 1 : -1)]
      for (const K of [Q8_GROUP, 4304, 18432]) {
        const N = patterns.length
        const rows = (most: number) =>
          Float32Array.from({ length: N * K }, (_, i) => most * patterns[Math.floor(i / K)](i % K))
        const [w, x] = [rows(63), rows(127)]
        await withQ8(w, [N, K], async (weight) => {
          const { want } = expectedQ8(x, w, [N, K, N])
          expect(Math.abs(want[0])).toBe(63 * 127 * K)
          expectExact(await linear(x, N, K, weight), want, `K ${K}`)
          expectExact(await linear(x.slice(0, K), 1, K, weight), want.slice(0, N), `K ${K}, one row`)
        })
      }
    })

    test("activations are rounded halves away from zero, not what is just below", async () => {
      const below = (x: number) => x * (1 - 2 ** -24)
      const plain = [0.5, 1.5, 2.5, 126.5, 126.75, 0.25, 1, 1e-30, 0]
      const x = Float32Array.from([127, ...plain, ...plain.map(below)].flatMap((v) => [v, -v]))
      const K = x.length
      const want = [127, 1, 2, 3, 127, 127, 0, 1, 0, 0, 0, 1, 2, 126, 127, 0, 1, 0, 0].flatMap((v) => [v, -v])
      expect(quantiseActivations(x, K).numbers[0].map((v) => v + 0)).toEqual(want.map((v) => v + 0))
      // Each output looks at one input.
      const unit = new Float32Array(K * K)
      for (let k = 0; k < K; k++) unit[k * K + k] = 63
      await withQ8(unit, [K, K], async (w) => {
        expectExact(
          await linear(x, 1, K, w),
          want.map((v) => 63 * v),
          "one row",
        )
        const rows = Float32Array.from([...x, ...x, ...x])
        expectExact(
          await linear(rows, 3, K, w),
          [...want, ...want, ...want].map((v) => 63 * v),
          "three rows",
        )
      })
    })

    const sizes: readonly (readonly [T: number, K: number, N: number])[] = [
      [1, 4304, 33],
      [5, 4304, 65],
      [65, 1152, 17],
      [130, 31, 100],
      [33, 300, 65],
      [2, 7, 1],
      [1, 1, 300],
      [300, 129, 7],
    ]

    test("fractions, within the rounding of a float32 sum of as many terms as there are groups", async () => {
      for (const [T, K, N] of sizes) {
        const w = numbers(N * K, 10, 0.1)
        const x = numbers(T * K, 11, 3)
        await withQ8(w, [N, K], async (weight) => {
          const what = `[${T}, ${K}] · [${N}, ${K}]ᵀ`
          expectWithin(await linear(x, T, K, weight), expectedQ8(x, w, [T, K, N]), what)
        })
      }
    })

    test("a row's result does not depend on the rows beside it", async () => {
      const [T, K, N] = [69, 300, 65]
      const x = numbers(T * K, 12)
      await withQ8(numbers(N * K, 13), [N, K], async (w) => {
        const all = await linear(x, T, K, w)
        for (const t of [0, 1, 40, 68]) {
          const one = await linear(x.slice(t * K, (t + 1) * K), 1, K, w)
          expectWithin(one, within(all.slice(t * N, (t + 1) * N)), `row ${t}`)
        }
      })
    })

    test("bias, activation and residual, in that order, alone and together; x may be the residual", async () => {
      for (const [T, K, N] of [
        [1, 33, 65],
        [5, 300, 31],
        [9, 65, 65],
      ] as const) {
        const w = numbers(N * K, 14)
        const x = numbers(T * K, 15, 2)
        const bias = numbers(N, 16, 5)
        const residual = T * N === T * K ? x : numbers(T * N, 17, 5)
        await withQ8(w, [N, K], async (weight) => {
          for (const activation of [undefined, "silu", "gelu_tanh"] as (Activation | undefined)[]) {
            for (const [withBias, withResidual] of [
              [true, false],
              [false, true],
              [true, true],
            ]) {
              const options = {
                activation,
                bias: withBias ? bias : undefined,
                residual: withResidual ? residual : undefined,
              }
              const want = expectedQ8(x, w, [T, K, N], options)
              const got = await rig.evaluate((b) => {
                const input = rig.upAt(2, x, T, K)
                return b.linear(input, weight, {
                  activation,
                  bias: withBias ? rig.upAt(1, bias, N) : undefined,
                  residual: withResidual ? (residual === x ? input : rig.up(residual, T, N)) : undefined,
                })
              })
              expectWithin(got, want, `${activation}, bias ${withBias}, residual ${withResidual}`)
            }
          }
        })
      }
    })

    test("a NaN or infinity makes its row NaN and no other; zero, tiny and huge rows are finite", async () => {
      const [T, K, N] = [9, 2 * Q8_GROUP + 9, 33]
      const w = numbers(N * K, 18, 0.01)
      const x = numbers(T * K, 19)
      const row = (t: number) => x.subarray(t * K, (t + 1) * K)
      row(0)[K - 1] = Number.NaN
      row(2)[0] = Number.POSITIVE_INFINITY
      row(3).fill(0)
      row(4).fill(1e-40)
      row(5).fill(2 ** -101, 0, Q8_GROUP)
      row(6).set(numbers(K, 20, 3e38))
      row(8)[Q8_GROUP] = Number.NEGATIVE_INFINITY
      const want = expectedQ8(x, w, [T, K, N])
      for (const t of [0, 2, 8]) want.want.fill(Number.NaN, t * N, (t + 1) * N)
      await withQ8(w, [N, K], async (weight) => {
        const got = await linear(x, T, K, weight)
        expectWithin(got, want, "all rows")
        for (let t = 0; t < T; t++) {
          const one = await linear(row(t).slice(), 1, K, weight)
          expectWithin(one, slice(want, t * N, (t + 1) * N), `row ${t} alone`)
        }
      })
    })

    test("a group below 2⁻¹⁰⁰ counts as zero, one of 2⁻¹⁰⁰ does not", async () => {
      const [N, K] = [2, Q8_GROUP]
      const huge = new Float32Array(K).fill(2 ** 90)
      const tiny = [2 ** -100, 2 ** -100 * (1 - 2 ** -24)].map((size) => new Float32Array(K).fill(size))
      const both = Float32Array.from([...tiny[0], ...tiny[1]])
      for (const [w, x] of [
        [both, Float32Array.from([...huge, ...huge])],
        [Float32Array.from([...huge, ...huge]), both],
      ]) {
        await withQ8(w, [N, K], async (weight) => {
          const got = await linear(x, 2, K, weight)
          expectWithin(got, expectedQ8(x, w, [2, K, N]), "products")
          expect(got.filter((y) => y === 0).length).toBe(2)
        })
      }
    })
  })

  describe("q8 embed", () => {
    test("rows in any order, repeated, none: scale times number, exactly", async () => {
      for (const [N, K] of [
        [70, 33],
        [7, 300],
        [33, 1],
      ] as const) {
        const data = numbers(N * K, 21)
        const values = valuesOf(data, K)
        await withQ8(data, [N, K], async (w) => {
          const ids = Int32Array.of(N - 1, 0, 3, 3, N - 1)
          const want = Float32Array.from([...ids].flatMap((id) => [...values.subarray(id * K, (id + 1) * K)]))
          expectExact(await rig.evaluate((b) => b.embed(ids, w)), want, `[${N}, ${K}]`)
          expect(await rig.evaluate((b) => b.embed(new Int32Array(0), w))).toEqual(new Float32Array(0))
          expectError(() => rig.backend.embed(Int32Array.of(N), w), "bad_input", new RegExp(`embed.*${N}`))
        })
      }
    })
  })
}

function expectBytes(got: Uint8Array, want: Uint8Array, what: string): void {
  expect(got.length, `${what}: how many bytes`).toBe(want.length)
  const at = got.findIndex((byte, i) => byte !== want[i])
  if (at >= 0) expect.fail(`${what}: byte ${at} is ${got[at]}, ${want[at]} is right`)
}

/** Half precision, normal numbers. */
function f16(h: number): number {
  return (h & 0x8000 ? -1 : 1) * (1 + (h & 1023) / 1024) * 2 ** (((h >> 10) & 31) - 15)
}

/** These numbers, with the rounding of a few float32 operations. */
function within(want: Float32Array): Expectation {
  const slack = want.map((v) => 8 * 2 ** -24 * (Math.abs(v) + 1))
  return { want: Float64Array.from(want), slack: Float64Array.from(slack) }
}

function slice({ want, slack }: Expectation, start: number, end: number): Expectation {
  return { want: want.slice(start, end), slack: slack.slice(start, end) }
}
