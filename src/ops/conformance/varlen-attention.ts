/** Bidirectional attention over packed segments. */

import { describe, expect, test } from "vitest"
import { type Expectation, expectAttention, expectation, expectExact, expectWithin } from "./expectation"
import { expectError, HEAD_SIZES, numbers, type Rig, wholeNumbers } from "./rig"

/** Every segment by itself, in double. */
function expectedVarlen(
  q: Float32Array,
  k: Float32Array,
  v: Float32Array,
  cuSeqlens: readonly number[],
  heads: number,
  headDim: number,
  scale: number,
): Expectation {
  const width = heads * headDim
  const out = expectation(q.length)
  const head = (x: Float32Array, t: number, h: number) =>
    x.subarray(t * width + h * headDim, t * width + (h + 1) * headDim)
  for (let s = 0; s + 1 < cuSeqlens.length; s++) {
    const tokens = Array.from({ length: cuSeqlens[s + 1] - cuSeqlens[s] }, (_, i) => cuSeqlens[s] + i)
    for (let h = 0; h < heads; h++) {
      const keys = tokens.map((t) => head(k, t, h))
      const values = tokens.map((t) => head(v, t, h))
      for (const t of tokens) expectAttention(out, t * width + h * headDim, head(q, t, h), keys, values, scale)
    }
  }
  return out
}

interface Case {
  readonly cuSeqlens: readonly number[]
  readonly heads: number
  readonly headDim: number
  readonly q: Float32Array
  readonly k: Float32Array
  readonly v: Float32Array
}

function makeCase(cuSeqlens: readonly number[], heads: number, headDim: number, sizes = [2, 2, 3]): Case {
  const size = cuSeqlens[cuSeqlens.length - 1] * heads * headDim
  const [q, k, v] = sizes.map((amplitude, i) => numbers(size, i + headDim, amplitude))
  return { cuSeqlens, heads, headDim, q, k, v }
}

export function varlenAttentionTests(rig: Rig): void {
  const attend = ({ q, k, v, cuSeqlens, heads, headDim }: Case, scale: number, offset = 0, factors?: "bf16") => {
    const shape = [cuSeqlens[cuSeqlens.length - 1], heads * headDim]
    return rig.evaluate((b) =>
      b.varlenAttention(
        rig.upAt(offset, q, ...shape),
        rig.upAt(offset, k, ...shape),
        rig.upAt(offset, v, ...shape),
        Int32Array.from(cuSeqlens),
        heads,
        scale,
        { factors },
      ),
    )
  }

  const check = async (c: Case, scale: number, offset = 0) => {
    const { q, k, v, cuSeqlens, heads, headDim } = c
    const want = expectedVarlen(q, k, v, cuSeqlens, heads, headDim, scale)
    expectWithin(await attend(c, scale, offset), want, `segments ${cuSeqlens}, ${heads} heads of ${headDim}`)
  }

  // Rounding to bfloat16 is a permission: float32 results are right as well.
  describe("varlenAttention with bfloat16 factors", () => {
    /** Half a step between bfloat16 numbers, relative. */
    const HALF_STEP = 2 ** -9
    const segments = [0, 1, 3, 9, 26, 90, 221]

    test("equal scores average, every head size", async () => {
      for (const headDim of HEAD_SIZES) {
        const { q, k, v, ...rest } = makeCase(segments, 1, headDim)
        const c = { ...rest, q, k: k.fill(0), v: wholeNumbers(v.length, 5, 8) }
        const want = expectedVarlen(c.q, c.k, c.v, segments, 1, headDim, 0.1)
        expectWithin(await attend(c, 0.1, 1, "bf16"), want, `heads of ${headDim}`)
      }
    })

    test("whole numbers: only the softmax weights are rounded", async () => {
      for (const headDim of HEAD_SIZES) {
        const { q, k, v, ...rest } = makeCase(segments, 1, headDim)
        const [a, b, c] = [q, k, v].map((x, i) => wholeNumbers(x.length, i + 1, i === 2 ? 8 : 2))
        const scale = headDim ** -0.5
        const { want } = expectedVarlen(a, b, c, segments, 1, headDim, scale)
        const { want: sizes } = expectedVarlen(a, b, c.map(Math.abs), segments, 1, headDim, scale)
        // Each weight may be off by half a step and what the power of two is off by, and so may their sum.
        const slack = sizes.map((x) => 2 * (HALF_STEP + 1.5e-4) * x + 1e-5)
        const got = await attend({ ...rest, q: a, k: b, v: c }, scale, 0, "bf16")
        expectWithin(got, { want, slack }, `heads of ${headDim}`)
      }
    })

    test("fractions", async () => {
      const c = makeCase(segments, 2, 72, [1, 1, 3])
      const scale = 72 ** -0.5
      const { want } = expectedVarlen(c.q, c.k, c.v, segments, 2, 72, scale)
      // A score is off by a step of the sum of its products' sizes, below 30, a weight by twice that.
      const slack = want.map(() => 3 * (2 * scale * 30 * 2 * HALF_STEP + 2 * HALF_STEP))
      expectWithin(await attend(c, scale, 0, "bf16"), { want, slack }, "fractions")
    })

    test("nothing of one segment reaches another", async () => {
      const c = makeCase([0, 5, 70, 90], 2, 32)
      const before = await attend(c, 0.2, 0, "bf16")
      for (const x of [c.q, c.k, c.v]) x.fill(Number.NaN, 5 * 64, 70 * 64)
      const after = await attend(c, 0.2, 0, "bf16")
      expectExact(after.slice(0, 5 * 64), before.slice(0, 5 * 64), "the segment before")
      expectExact(after.slice(70 * 64), before.slice(70 * 64), "the segment behind")
      expect(after.slice(5 * 64, 70 * 64).every(Number.isNaN)).toBe(true)
    })

    test("scores of any size, no tokens, empty segments", async () => {
      for (const amplitude of [1e4, 1e-30]) {
        const c = makeCase([0, 17, 17, 100], 1, 16, [amplitude, amplitude, 3])
        expect((await attend(c, 1, 0, "bf16")).every((x) => Math.abs(x) <= 3.1)).toBe(true)
      }
      expect((await attend(makeCase([0, 0], 2, 16), 1, 0, "bf16")).length).toBe(0)
    })
  })

  describe("varlenAttention", () => {
    test("every head size, segments of all small lengths", async () => {
      for (const headDim of HEAD_SIZES) {
        for (const heads of [1, 3]) {
          await check(makeCase([0, 1, 3, 6, 11, 18, 35, 66], heads, headDim), headDim ** -0.5)
        }
      }
    })

    test("one token, no tokens, empty segments", async () => {
      await check(makeCase([0, 1], 2, 16), 0.25)
      await check(makeCase([0], 2, 16), 0.25)
      await check(makeCase([0, 0], 2, 16), 0.25)
      await check(makeCase([0, 0, 3, 3, 8, 8], 2, 72), 0.25)
    })

    test("long segments", async () => {
      await check(makeCase([0, 300], 1, 72), 72 ** -0.5)
      await check(makeCase([0, 65, 64 + 129], 2, 32), 32 ** -0.5)
    })

    test("a segment of one token returns its value", async () => {
      const c = makeCase([0, 1, 2, 3], 2, 12)
      expectWithin(await attend(c, 0.3), { want: Float64Array.from(c.v), slack: new Float64Array(72) }, "values")
    })

    test("views at any offset", async () => {
      for (const offset of [1, 2, 3]) await check(makeCase([0, 5, 12], 1, 6), 0.4, offset)
    })

    test("large scores do not overflow, equal scores average", async () => {
      await check(makeCase([0, 17, 33], 2, 16, [100, 100, 3]), 1)
      await check(makeCase([0, 17, 33], 2, 16, [1e4, 1e4, 3]), 1)
      await check(makeCase([0, 17, 33], 2, 16, [0, 100, 3]), 1)
      // All scores far below zero: the largest must be subtracted, not zero.
      const c = makeCase([0, 31], 1, 16)
      await check({ ...c, q: c.q.map((x) => Math.abs(x) + 20), k: c.k.map((x) => -Math.abs(x) - 20) }, 1)
      await check(makeCase([0, 17], 1, 16, [3, 3, 1e30]), 0.25)
      await check(makeCase([0, 17], 1, 16, [3, 3, 1e-25]), 0.25)
    })

    test("packed equals one by one", async () => {
      const lengths = [7, 1, 33, 12]
      const cuSeqlens = [0]
      for (const n of lengths) cuSeqlens.push(cuSeqlens[cuSeqlens.length - 1] + n)
      const c = makeCase(cuSeqlens, 2, 72)
      const packed = await attend(c, 72 ** -0.5)
      const { slack } = expectedVarlen(c.q, c.k, c.v, cuSeqlens, 2, 72, 72 ** -0.5)
      for (const [s, n] of lengths.entries()) {
        const cut = <T extends Float32Array | Float64Array>(x: T) =>
          x.slice(cuSeqlens[s] * 144, cuSeqlens[s + 1] * 144) as T
        const alone = await attend({ ...c, cuSeqlens: [0, n], q: cut(c.q), k: cut(c.k), v: cut(c.v) }, 72 ** -0.5)
        expectWithin(cut(packed), { want: Float64Array.from(alone), slack: cut(slack).map((e) => 2 * e) }, `image ${s}`)
      }
    })

    test("nothing of one segment reaches another", async () => {
      const c = makeCase([0, 5, 12, 20], 2, 32)
      const before = await attend(c, 0.2)
      for (const x of [c.q, c.k, c.v]) x.fill(Number.NaN, 5 * 64, 12 * 64)
      const after = await attend(c, 0.2)
      expectExact(after.slice(0, 5 * 64), before.slice(0, 5 * 64), "the segment before")
      expectExact(after.slice(12 * 64), before.slice(12 * 64), "the segment behind")
      expect(after.slice(5 * 64, 12 * 64).every(Number.isNaN)).toBe(true)
    })

    test("refuses what does not fit", () => {
      const b = rig.backend
      b.scope(() => {
        const x = rig.up(numbers(48, 1), 4, 12)
        const y = rig.up(numbers(36, 1), 3, 12)
        const all = Int32Array.of(0, 4)
        const refuse = (fn: () => unknown, message: RegExp) => expectError(fn, "bad_input", message)
        refuse(() => b.varlenAttention(x, y, x, all, 2, 1), /varlenAttention.*k.*\[3, 12\].*\[4, 12\]/)
        refuse(() => b.varlenAttention(x, x, y, all, 2, 1), /varlenAttention.*v.*\[3, 12\].*\[4, 12\]/)
        refuse(() => b.varlenAttention(x, x, x, all, 5, 1), /varlenAttention.*12.*5/)
        refuse(() => b.varlenAttention(x, x, x, all, 0, 1), /varlenAttention.*0 heads/)
        refuse(() => b.varlenAttention(x, x, x, all, 2, Number.NaN), /varlenAttention.*NaN/)
        for (const segments of [[], [0, 3], [1, 4], [0, 5], [0, 3, 2, 4], [0, -1, 4]]) {
          refuse(() => b.varlenAttention(x, x, x, Int32Array.from(segments), 2, 1), /varlenAttention.*cuSeqlens/)
        }
      })
    })
  })
}
