/**
 * q8 and q4 weights: the bytes, the whole numbers and what comes of them.
 *
 * That integer dot products are equal shows where scales are powers of two and all sums are whole numbers that float32
 * holds: there the result must be exact.
 */

import { describe, expect, test } from "vitest"
import {
  type Activation,
  PACKED,
  type PackedType,
  packedBytes,
  Q8_GROUP,
  Q8_PANEL,
  type SourceType,
  type Weight,
} from "../backend"
import { type Expectation, expectExact, expectWithin } from "./expectation"
import { expectedProduct, packedWeight, quantiseActivations, quantiseWeights, valuesOf } from "./q8-scheme"
import { bytesOf, choices, expectError, numbers, type Rig } from "./rig"

/** Inner sizes around a step, a group and several, with remainders of every kind. */
const INNER = [1, 2, 3, 4, 5, 31, Q8_GROUP - 1, Q8_GROUP, Q8_GROUP + 1, 2 * Q8_GROUP + 5, 300] as const
const OUT = [1, 2, 31, 32, 33, 65] as const

/**
 * Whole numbers, each group of a row times a power of two, and the largest magnitude in each group so that the scale is
 * that power.
 */
function wholeGroups(
  rows: number,
  K: number,
  seed: number,
  /** Of largest magnitude, and of the others. */
  { farthest, others }: { readonly farthest: number; readonly others: number },
): Float32Array {
  const next = choices(seed)
  const out = new Float32Array(rows * K)
  for (let row = 0; row < rows; row++) {
    for (let start = 0; start < K; start += Q8_GROUP) {
      const length = Math.min(Q8_GROUP, K - start)
      const power = 2 ** POWERS[next(POWERS.length)]
      const largest = next(length)
      for (let i = 0; i < length; i++) {
        const number = i === largest ? (next(2) ? farthest : -farthest) : next(2 * others + 1) - others
        out[row * K + start + i] = number * power
      }
    }
  }
  return out
}

const POWERS = [-1, 0, 0, 1]
const ACTIVATIONS = { farthest: 127, others: 127 }

/** What differs between the types, for tests that are written in numbers. */
const CASES = {
  q8: {
    bits: 8.5,
    whole: { farthest: 63, others: 63 },
    // The first is the farthest and makes the scale 1; then numbers, and what they are rounded to with either sign.
    first: 63,
    given: [0.5, 1.5, 2.5, 62.5, 62.75, 0.25, 1, 62, 1e-20, 0],
    rounded: [1, 2, 3, 63, 63, 0, 1, 62, 0, 0],
    roundedBelow: [0, 1, 2, 62, 63, 0, 1, 62, 0, 0],
  },
  q4: {
    bits: 4.5,
    whole: { farthest: 8, others: 7 },
    first: -8,
    given: [0.5, 1.5, 2.5, 6.5, 6.75, 0.25, 1, 7, 1e-20, 0],
    rounded: [1, 2, 3, 7, 7, 0, 1, 7, 0, 0],
    roundedBelow: [0, 1, 2, 6, 7, 0, 1, 7, 0, 0],
  },
} as const

export function packedTests(rig: Rig, stored: PackedType): void {
  const { source } = PACKED[stored]
  const own = CASES[stored]
  const largest = own.whole.farthest
  /** `fn` with a packed weight made of float32 numbers. */
  const withPacked = async (w: Float32Array, shape: readonly [number, number], fn: (w: Weight) => Promise<void>) => {
    await rig.withWeight(w, shape, stored, fn)
  }
  const linear = (x: Float32Array, T: number, K: number, w: Weight) => rig.evaluate((b) => b.linear(rig.up(x, T, K), w))

  describe(`${stored} weights`, () => {
    test("the packed bytes are the scheme's, whatever the size", async () => {
      for (const K of INNER) {
        for (const N of OUT) {
          const data = numbers(N * K, K + N, 0.3)
          await withPacked(data, [N, K], async (w) => {
            expect(w.bytes, `[${N}, ${K}]`).toBe(packedBytes([N, K], stored))
            expectBytes(await rig.backend.readWeight(w), packedWeight(stored, data, [N, K]), `[${N}, ${K}]`)
          })
        }
      }
    })

    test("the packed bytes of a row as long as the vision tower's, and of all source types at any offset", async () => {
      const long = numbers(3 * 4304, 1)
      await withPacked(long, [3, 4304], async (w) => {
        expectBytes(await rig.backend.readWeight(w), packedWeight(stored, long, [3, 4304]), "[3, 4304]")
      })
      const [N, K] = [33, 133]
      const halves = Uint16Array.from({ length: N * K }, (_, i) => ((i * 40503) & 0x83ff) | 0x3000 | ((i % 7) << 10))
      const sources = [
        ["F16", halves, Float32Array.from(halves, f16)],
        ["BF16", halves, new Float32Array(Uint32Array.from(halves, (h) => h << 16).buffer)],
        ["F32", numbers(N * K, 2), numbers(N * K, 2)],
      ] as const
      for (const [type, given, values] of sources) {
        for (const offset of [0, 1]) {
          const bytes = new Uint8Array(given.byteLength + offset)
          bytes.set(bytesOf(given), offset)
          const w = rig.backend.loadWeight(bytes.subarray(offset), type, [N, K], stored)
          bytes.fill(0)
          expectBytes(
            await rig.backend.readWeight(w),
            packedWeight(stored, values, [N, K]),
            `${type} at offset ${offset}`,
          )
          rig.backend.free(w)
        }
      }
    })

    test("rounding: halves away from zero, not what is just below; scales to bfloat16", async () => {
      const below = (x: number) => x * (1 - 2 ** -24)
      const data = Float32Array.from([own.first, ...[...own.given, ...own.given.map(below)].flatMap((x) => [x, -x])])
      const want = [own.first, ...[...own.rounded, ...own.roundedBelow].flatMap((x) => [x, -x])]
      expect(quantiseWeights(stored, data, data.length).numbers[0].map((x) => x + 0)).toEqual(want.map((x) => x + 0))
      await withPacked(data, [1, data.length], async (w) => {
        expectExact(await rig.evaluate((b) => b.embed(Int32Array.of(0), w)), want, "weights")
      })
      // A scale that bfloat16 rounds, down and up.
      for (const largest of [own.first * 1.0039, own.first * 1.00391]) {
        const two = Float32Array.of(largest, 1.51)
        await withPacked(two, [1, 2], async (w) => {
          expectBytes(await rig.backend.readWeight(w), packedWeight(stored, two, [1, 2]), `largest ${largest}`)
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
      await withPacked(data, [N, K], async (w) => {
        expectBytes(await rig.backend.readWeight(w), packedWeight(stored, data, [N, K]), "bytes")
        const x = numbers(2 * K, 4)
        const want = expectedProduct(stored, x, data, [2, K, N])
        const got = await linear(x, 2, K, w)
        expectWithin(got, want, "products")
        for (const t of [0, 1]) {
          expect([...got.subarray(t * N + 1, t * N + 4)].map(Math.abs)).toEqual([0, 0, 0])
          expect([...got.subarray(t * N + 5, t * N + 7)]).toEqual([Number.NaN, Number.NaN])
        }
      })
    })

    if (stored === "q4") {
      test("the farthest weight is −8 whatever its sign, the first of two; what lies beyond 7 on the other side is 7", async () => {
        for (const sign of [1, -1]) {
          const data = Float32Array.from([1, 8, -8, 7.75, -3].map((v) => v * sign))
          expect(quantiseWeights(stored, data, 5).numbers[0]).toEqual([-1, -8, 7, -8, 3])
          await withPacked(data, [1, 5], async (w) => {
            const values = [1, 8, -7, 8, -3].map((v) => v * sign)
            expectExact(await rig.evaluate((b) => b.embed(Int32Array.of(0), w)), values, `sign ${sign}`)
          })
        }
      })
    }

    test("takes the bits of its numbers and scales", async () => {
      const b = rig.backend
      const w = b.createWeight([256, 512], stored)
      expect(w.bytes).toBeLessThan((256 * 512 * own.bits) / 8)
      b.free(w)
    })
  })

  describe(`writing and reading ${stored} weights`, () => {
    test("zeros at first, then filled in blocks in any order: the same as loaded at once", async () => {
      const b = rig.backend
      const [N, K] = [Q8_PANEL * 3 + 5, 37]
      const data = numbers(N * K, 5)
      for (const kept of ["f32", "bf16", stored] as const) {
        const ids = Int32Array.from({ length: N }, (_, i) => i)
        const rows = (w: Weight) => rig.evaluate(() => b.embed(ids, w))
        const [made, loaded] = [b.createWeight([N, K], kept), b.loadWeight(bytesOf(data), "F32", [N, K], kept)]
        expect(made).toMatchObject({ shape: [N, K], stored: kept, bytes: loaded.bytes })
        expectExact(await rows(made), new Float32Array(N * K), "at first")
        for (const [first, end] of [
          [Q8_PANEL * 2, N],
          [Q8_PANEL, Q8_PANEL * 2],
          [0, Q8_PANEL],
          [Q8_PANEL, Q8_PANEL],
        ]) {
          b.writeWeight(made, first, bytesOf(data.slice(first * K, end * K)), "F32")
        }
        expectExact(await rows(made), await rows(loaded), kept)
        if (kept === stored) {
          expectBytes(await b.readWeight(made), await b.readWeight(loaded), "bytes")
          // The middle panel again, as packed bytes of other numbers.
          const panel = packedWeight(stored, data.slice(0, Q8_PANEL * K), [Q8_PANEL, K])
          b.writeWeight(made, Q8_PANEL, panel, source)
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
        const w = b.loadWeight(bytesOf(numbers(N * K, 6)), "F32", [N, K], stored)
        const bytes = await b.readWeight(w)
        const shifted = new Uint8Array(bytes.length + 3)
        shifted.set(bytes, 3)
        const again = b.loadWeight(shifted.subarray(3), source, [N, K], stored)
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
      const w = b.createWeight([40, 5], stored)
      const plain = b.createWeight([40, 5], "bf16")
      const write = (first: number, bytes: number, from: SourceType = "F32", to = w) => {
        return () => b.writeWeight(to, first, new Uint8Array(bytes), from)
      }
      expectError(write(8, 20 * 32), "bad_input", /writeWeight.* 8 .*\[40, 5\].*32/)
      expectError(write(-32, 20), "bad_input", /writeWeight.*-32/)
      expectError(write(0, 19), "bad_input", /writeWeight.*19 bytes.*rows.*\[40, 5\]/)
      expectError(write(32, 20 * 9), "bad_input", /writeWeight.*32 … 40.*\[40, 5\]/)
      expectError(write(64, 20), "bad_input", /writeWeight.*64.*\[40, 5\]/)
      expectError(write(0, 20 * 31), "bad_input", /writeWeight.*0 … 30.*panel/)
      expectError(write(0, 100, source), "bad_input", /writeWeight.*100 bytes.*panels.*\[40, 5\]/)
      expectError(write(0, packedBytes([96, 5], stored), source), "bad_input", /writeWeight.*0 … 95/)
      expectError(write(0, packedBytes([40, 5], stored), source, plain), "unsupported", /writeWeight.*bf16/)
      const short = new Uint8Array(packedBytes([40, 5], stored) - 1)
      expectError(
        () => b.loadWeight(short, source, [40, 5], stored),
        "bad_input",
        new RegExp(`loadWeight.*\\[40, 5\\].*${source}`),
      )
      expectError(() => b.loadWeight(short, source, [40, 5], "f32"), "unsupported", /loadWeight.*f32/)
      expectError(() => b.createWeight([3, 2.5], stored), "bad_input", /createWeight.*2\.5/)
      const other = stored === "q8" ? "Q4" : "Q8"
      expectError(write(0, 0, other), "unsupported", new RegExp(`writeWeight.*${other.toLowerCase()}.*${stored}`))
      await expect(b.readWeight(plain)).rejects.toMatchObject({ code: "unsupported" })
      b.free(w, plain)
      expectError(write(0, 0), "bad_input", /writeWeight.*freed/)
      await expect(b.readWeight(w)).rejects.toMatchObject({ code: "bad_input" })
    })

    test("damaged panels are refused: numbers that q8 does not have, scales that are not finite", () => {
      const b = rig.backend
      const shape = [65, Q8_GROUP + 5] as const
      const good = packedWeight(stored, numbers(shape[0] * shape[1], 8), shape)
      const spoil = (at: number, ...bytes: number[]) => {
        const bad = good.slice()
        bad.set(bytes, at)
        return () => b.free(b.loadWeight(bad, source, shape, stored))
      }
      expect(spoil(0)).not.toThrow()
      for (const spoilt of [spoil(good.length - 1, 128), spoil(2 * Q8_PANEL, 255)]) {
        // Every byte is two numbers of q4.
        if (stored === "q4") expect(spoilt).not.toThrow()
        else expectError(spoilt, "bad_input", /damaged/)
      }
      expectError(spoil(2 * Q8_PANEL - 2, 0xc0, 0x7f), "not_finite", /damaged/)
      expectError(spoil(0, 0x80, 0xff), "not_finite", /damaged/)
      const last = packedBytes([Q8_PANEL, shape[1]], stored) - packedBytes([Q8_PANEL, 5], stored)
      expectError(spoil(2 * (good.length / 3) + last, 0x80, 0x7f), "not_finite", /damaged/)
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
        for (const kept of ["f32", stored] as const) {
          const w = b.loadWeight(new Uint8Array(0), "F32", [N, K], kept)
          const got = await rig.evaluate(() => b.linear(rig.up([], 0, K), w))
          expect(got.length).toBe(0)
          const bias = numbers(N, 9)
          const two = await rig.evaluate(() =>
            b.linear(rig.up(new Float32Array(2 * K), 2, K), w, { bias: rig.up(bias, N) }),
          )
          expectExact(two, [...bias, ...bias], `[${N}, ${K}] as ${kept}`)
          if (kept === stored) expect((await b.readWeight(w)).length).toBe(0)
          b.free(w)
        }
      }
    })
  })

  describe(`${stored} products`, () => {
    test("integer dot products are exact: all small sizes, powers of two as scales", async () => {
      for (const K of INNER) {
        for (const N of [1, 31, 33, 65]) {
          const w = wholeGroups(N, K, K + N, own.whole)
          await withPacked(w, [N, K], async (weight) => {
            for (const T of [0, 1, 2, 3, 4, 5, 7, 33]) {
              const x = wholeGroups(T, K, T + 1, ACTIVATIONS)
              const { want } = expectedProduct(stored, x, w, [T, K, N])
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
        const [w, x] = [rows(largest), rows(127)]
        await withPacked(w, [N, K], async (weight) => {
          const { want } = expectedProduct(stored, x, w, [N, K, N])
          expect(Math.abs(want[0])).toBe(largest * 127 * K)
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
      for (let k = 0; k < K; k++) unit[k * K + k] = largest
      await withPacked(unit, [K, K], async (w) => {
        expectExact(
          await linear(x, 1, K, w),
          want.map((v) => largest * v),
          "one row",
        )
        const rows = Float32Array.from([...x, ...x, ...x])
        expectExact(
          await linear(rows, 3, K, w),
          [...want, ...want, ...want].map((v) => largest * v),
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
        await withPacked(w, [N, K], async (weight) => {
          const what = `[${T}, ${K}] · [${N}, ${K}]ᵀ`
          expectWithin(await linear(x, T, K, weight), expectedProduct(stored, x, w, [T, K, N]), what)
        })
      }
    })

    test("a row's result does not depend on the rows beside it", async () => {
      const [T, K, N] = [69, 300, 65]
      const x = numbers(T * K, 12)
      await withPacked(numbers(N * K, 13), [N, K], async (w) => {
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
        await withPacked(w, [N, K], async (weight) => {
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
              const want = expectedProduct(stored, x, w, [T, K, N], options)
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
      const want = expectedProduct(stored, x, w, [T, K, N])
      for (const t of [0, 2, 8]) want.want.fill(Number.NaN, t * N, (t + 1) * N)
      await withPacked(w, [N, K], async (weight) => {
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
        await withPacked(w, [N, K], async (weight) => {
          const got = await linear(x, 2, K, weight)
          expectWithin(got, expectedProduct(stored, x, w, [2, K, N]), "products")
          expect(got.filter((y) => y === 0).length).toBe(2)
        })
      }
    })
  })

  describe(`${stored} embed`, () => {
    test("rows in any order, repeated, none: scale times number, exactly", async () => {
      for (const [N, K] of [
        [70, 33],
        [7, 300],
        [33, 1],
      ] as const) {
        const data = numbers(N * K, 21)
        const values = valuesOf(stored, data, K)
        await withPacked(data, [N, K], async (w) => {
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
