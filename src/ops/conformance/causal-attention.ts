/** Causal attention over the key/value cache: prefill, chunks, decoding, batches, sharing, shrinking. */

import { describe, expect, test } from "vitest"
import { IsaacError } from "../../errors"
import type { KvCache, KvInt8, KvNumbers, KvSequence, KvType } from "../backend"
import { type Expectation, expectAttention, expectation, expectExact, expectWithin } from "./expectation"
import { quantiseHeads } from "./q8-scheme"
import { choices, expectError, HEAD_SIZES, numbers, type Rig, roundTo } from "./rig"

const KV_TYPES: readonly KvType[] = ["f32", "bf16", "int8"]

interface Shape {
  readonly heads: number
  readonly kvHeads: number
  readonly headDim: number
  readonly layers?: number
  readonly stored?: KvType
  readonly maxTokens?: number
}

/** A token's key or value, [kvHeads, headDim]. */
interface Row {
  readonly given: Float32Array
  /** As the cache holds it. */
  readonly held: Float32Array
}

/** Keys and values of one layer of one slot. */
interface History {
  readonly k: Row[]
  readonly v: Row[]
}

/**
 * A cache on the backend beside what it must hold, as plain lists of rows. `pass` runs one forward pass over all
 * layers with fresh numbers and compares every row.
 */
class Twin {
  readonly kv: KvCache
  readonly layers: number
  private readonly stored: KvType
  private readonly slots = new Map<number, History[]>()
  private seed = 1

  constructor(
    readonly rig: Rig,
    readonly shape: Shape,
  ) {
    this.layers = shape.layers ?? 1
    this.stored = shape.stored ?? "f32"
    this.kv = rig.backend.createKv({
      layers: this.layers,
      kvHeads: shape.kvHeads,
      headDim: shape.headDim,
      maxTokens: shape.maxTokens ?? 1000,
      ...(shape.stored && { stored: shape.stored }),
    })
  }

  length(slot: number): number {
    return this.rig.backend.kvLength(this.kv, slot)
  }

  /** New tokens at the end of each slot, committed. */
  async append(...slots: readonly (readonly [slot: number, length: number])[]): Promise<void> {
    const sequences = slots.map(([slot, length]) => ({ slot, start: this.length(slot), length }))
    await this.pass(sequences)
    this.commit(sequences)
  }

  commit(sequences: readonly KvSequence[]): void {
    for (const { slot, start, length } of sequences) this.shrink(slot, start + length)
  }

  /** Set a slot's length to what was written, or drop its end. */
  shrink(slot: number, length: number): void {
    this.rig.backend.kvCommit(this.kv, slot, length)
    for (const layer of this.history(slot)) {
      layer.k.length = Math.min(length, layer.k.length)
      layer.v.length = Math.min(length, layer.v.length)
    }
    expect(this.length(slot)).toBe(length)
  }

  copy(from: number, to: number, length: number): void {
    this.rig.backend.kvCopy(this.kv, from, to, length)
    this.copyHistory(from, to, length)
    expect(this.length(to)).toBe(length)
  }

  /** The given layers (all of them unless told), compared row by row; commits nothing. */
  async pass(sequences: readonly KvSequence[], layers = this.layers, offset = 0): Promise<void> {
    const { heads, kvHeads, headDim } = this.shape
    const T = sequences.reduce((sum, s) => sum + s.length, 0)
    const lengths = sequences.map(({ slot }) => this.length(slot))
    for (let layer = 0; layer < layers; layer++) {
      const q = numbers(T * heads * headDim, this.seed++, 3)
      const k = numbers(T * kvHeads * headDim, this.seed++, 3)
      const v = numbers(T * kvHeads * headDim, this.seed++, 3)
      const want = this.expected(layer, sequences, q, k, v)
      const got = await this.rig.evaluate((b) =>
        b.causalAttention(
          this.rig.upAt(offset, q, T, heads * headDim),
          this.rig.upAt(offset, k, T, kvHeads * headDim),
          this.rig.upAt(offset, v, T, kvHeads * headDim),
          { kv: this.kv, layer, sequences, scale: headDim ** -0.5 },
        ),
      )
      const where = sequences.map((s) => `slot ${s.slot} from ${s.start} + ${s.length}`).join(", ")
      expectWithin(got, want, `layer ${layer}, ${where}`)
    }
    expect(sequences.map(({ slot }) => this.length(slot))).toEqual(lengths)
  }

  /** Make the slot hold `length` tokens of fresh numbers, those of a key times `size`. */
  readonly fill = (slot: number, length: number, size: (token: number) => number = () => 1): void => {
    const { backend } = this.rig
    const width = this.shape.kvHeads * this.shape.headDim
    for (const [layer, history] of this.history(slot).entries()) {
      const rows = (factor: (token: number) => number) => {
        const all = numbers(length * width, this.seed++, 3)
        return Array.from({ length }, (_, t) =>
          this.row(all.slice(t * width, (t + 1) * width).map((x) => x * factor(t))),
        )
      }
      history.k.splice(0, history.k.length, ...rows(size))
      history.v.splice(0, history.v.length, ...rows(() => 1))
      backend.kvImport(this.kv, slot, layer, this.exported(slot, layer, length))
    }
    backend.kvCommit(this.kv, slot, length)
  }

  /** Tell the lists that slot `to` has become the first tokens of `from` by other ways than `copy`. */
  copyHistory(from: number, to: number, length: number): void {
    this.slots.set(
      to,
      this.history(from).map(({ k, v }) => ({ k: k.slice(0, length), v: v.slice(0, length) })),
    )
  }

  /** What `kvExport` must give. */
  exported(slot: number, layer: number, length: number): KvNumbers {
    const { k, v } = this.history(slot)[layer]
    const rows = [...k.slice(0, length), ...v.slice(0, length)]
    if (this.stored === "int8") {
      const heads = rows.map(({ given }) => quantiseHeads(given, this.shape.headDim))
      return {
        numbers: Int8Array.from(heads.flatMap(({ numbers }) => numbers.flat())),
        scales: Float32Array.from(heads.flatMap(({ scales }) => scales.flat())),
      }
    }
    const numbers = Float32Array.from(rows.flatMap(({ held }) => [...held]))
    return this.stored === "f32" ? numbers : new Uint16Array(numbers.buffer).filter((_, i) => i % 2 === 1)
  }

  free(): void {
    this.rig.backend.free(this.kv)
  }

  private row(given: Float32Array): Row {
    if (this.stored !== "int8") return { given, held: roundTo(this.stored, given) }
    const { numbers, scales } = quantiseHeads(given, this.shape.headDim)
    return { given, held: Float32Array.from(numbers.flatMap((head, h) => head.map((n) => n * scales[h][0]))) }
  }

  private history(slot: number): History[] {
    let layers = this.slots.get(slot)
    if (!layers) {
      layers = Array.from({ length: this.layers }, () => ({ k: [], v: [] }))
      this.slots.set(slot, layers)
    }
    return layers
  }

  /** Write k and v to the plain lists, then attend in double. */
  private expected(
    layer: number,
    sequences: readonly KvSequence[],
    q: Float32Array,
    k: Float32Array,
    v: Float32Array,
  ): Expectation {
    const { heads, kvHeads, headDim } = this.shape
    const out = expectation(q.length)
    const kvWidth = kvHeads * headDim
    let row = 0
    for (const { slot, start, length } of sequences) {
      const history = this.history(slot)[layer]
      for (let i = 0; i < length; i++, row++) {
        const at = [row * kvWidth, (row + 1) * kvWidth] as const
        history.k[start + i] = this.row(k.slice(...at))
        history.v[start + i] = this.row(v.slice(...at))
        for (let h = 0; h < heads; h++) {
          const kvHead = Math.floor(h / (heads / kvHeads))
          const part = ({ held }: Row) => held.subarray(kvHead * headDim, (kvHead + 1) * headDim)
          const seen = start + i + 1
          const queryAt = (row * heads + h) * headDim
          const query = q.subarray(queryAt, queryAt + headDim)
          const keys = history.k.slice(0, seen).map(part)
          expectAttention(out, queryAt, query, keys, history.v.slice(0, seen).map(part), headDim ** -0.5)
        }
      }
    }
    return out
  }
}

export function causalAttentionTests(rig: Rig): void {
  const withTwin = async (shape: Shape, fn: (twin: Twin) => Promise<void> | void) => {
    const twin = new Twin(rig, shape)
    try {
      await fn(twin)
    } finally {
      twin.free()
    }
  }
  const SMALL: Shape = { heads: 4, kvHeads: 2, headDim: 6, layers: 2 }

  describe("causalAttention", () => {
    test("every head size and grouping, prefill then decode", async () => {
      for (const headDim of HEAD_SIZES) {
        for (const [heads, kvHeads] of [
          [1, 1],
          [6, 2],
          [5, 5],
          [8, 1],
        ]) {
          for (const stored of heads === 6 ? KV_TYPES : KV_TYPES.slice(0, 1)) {
            await withTwin({ heads, kvHeads, headDim, stored }, async (twin) => {
              await twin.append([0, 17])
              await twin.append([0, 1])
              await twin.append([0, 1])
            })
          }
        }
      }
    })

    for (const stored of KV_TYPES) {
      test(`prefill in chunks of all sizes, over the ends of blocks, keys and values as ${stored}`, async () => {
        for (const chunks of [[130], [1, 2, 3, 5, 7, 17, 31, 33, 31], [63, 1, 1, 1, 64], [64, 64, 2]]) {
          await withTwin({ ...SMALL, stored }, async (twin) => {
            for (const n of chunks) await twin.append([0, n])
            await twin.append([0, 1])
          })
        }
      })
    }

    for (const stored of KV_TYPES) {
      test(`long contexts of odd lengths, keys and values as ${stored}`, async () => {
        await withTwin({ heads: 2, kvHeads: 1, headDim: 12, stored, maxTokens: 6000 }, async (twin) => {
          for (const length of [447, 511, 1089]) {
            twin.fill(0, length)
            await twin.append([0, 1])
            await twin.append([0, 2])
          }
          await twin.append([0, 17])
          twin.fill(1, 4100)
          await twin.append([1, 1], [2, 1], [0, 1])
        })
        await withTwin({ heads: 9, kvHeads: 3, headDim: 72, stored }, async (twin) => {
          twin.fill(0, 600)
          await twin.append([0, 1])
        })
      })
    }

    test("a long context whose largest scores lie anywhere", async () => {
      await withTwin({ heads: 2, kvHeads: 1, headDim: 16, maxTokens: 2000 }, async (twin) => {
        for (const [at, size] of [
          [0, 100],
          [700, 100],
          [1023, 100],
          [300, 1e4],
        ]) {
          twin.fill(0, 1024, (token) => (token === at ? size : 1))
          await twin.append([0, 1])
        }
      })
    })

    test("a sequence's numbers do not depend on what else is computed with it", async () => {
      await withTwin({ heads: 4, kvHeads: 1, headDim: 32, maxTokens: 6000 }, async ({ fill, kv, rig }) => {
        for (const [slot, length] of [700, 2000, 5].entries()) fill(slot, length)
        const rows = [128, 32, 32].map((width, i) => numbers(3 * width, i + 1, 3))
        const attend = async (sequences: readonly KvSequence[]) => {
          const first = sequences[0].slot
          const [q, k, v] = rows.map((x) => x.subarray((first * x.length) / 3))
          const up = (x: Float32Array, width: number) =>
            rig.up(x.subarray(0, sequences.length * width), sequences.length, width)
          return rig.evaluate((b) =>
            b.causalAttention(up(q, 128), up(k, 32), up(v, 32), { kv, layer: 0, sequences, scale: 0.2 }),
          )
        }
        const sequences = [700, 2000, 5].map((start, slot) => ({ slot, start, length: 1 }))
        const together = await attend(sequences)
        for (const [i, sequence] of sequences.entries()) {
          expectExact(await attend([sequence]), together.slice(i * 128, (i + 1) * 128), `sequence ${i}`)
        }
      })
    })

    test("one pass, chunks and token by token agree", async () => {
      const { heads, kvHeads, headDim } = { heads: 6, kvHeads: 2, headDim: 32 }
      const b = rig.backend
      const T = 70
      const q = numbers(T * heads * headDim, 1, 3)
      const k = numbers(T * kvHeads * headDim, 2, 3)
      const v = numbers(T * kvHeads * headDim, 3, 3)
      const kv = b.createKv({ layers: 1, kvHeads, headDim, maxTokens: 1000 })
      const run = async (slot: number, chunk: number) => {
        const results: number[] = []
        for (let start = 0; start < T; start += chunk) {
          const length = Math.min(chunk, T - start)
          const part = (x: Float32Array, width: number) =>
            rig.up(x.slice(start * width, (start + length) * width), length, width)
          const out = await rig.evaluate(() =>
            b.causalAttention(part(q, heads * headDim), part(k, kvHeads * headDim), part(v, kvHeads * headDim), {
              kv,
              layer: 0,
              sequences: [{ slot, start, length }],
              scale: headDim ** -0.5,
            }),
          )
          results.push(...out)
          b.kvCommit(kv, slot, start + length)
        }
        return Float32Array.from(results)
      }
      const whole = await run(0, T)
      for (const [slot, chunk] of [1, 7, 64].entries()) {
        const parts = await run(slot + 1, chunk)
        // Values are within ±3: both differ from the right result by less than 1e-5 of that.
        expectWithin(
          parts,
          { want: Float64Array.from(whole), slack: new Float64Array(whole.length).fill(3e-5) },
          `chunks of ${chunk}`,
        )
      }
      b.free(kv)
    })

    test("several slots in one call: decode in a batch, prefill beside decode, an empty one between", async () => {
      await withTwin(SMALL, async (twin) => {
        await twin.append([3, 5], [0, 64], [9, 1])
        await twin.append([0, 1], [9, 1], [3, 1])
        await twin.append([9, 1], [5, 33], [0, 1])
        await twin.append([5, 0], [9, 2])
        expect([0, 3, 5, 9, 4].map((slot) => twin.length(slot))).toEqual([66, 6, 33, 5, 0])
      })
    })

    test("no tokens at all", async () => {
      await withTwin(SMALL, async (twin) => {
        await twin.pass([])
        await twin.pass([{ slot: 0, start: 0, length: 0 }])
        await twin.append([0, 3])
        await twin.pass([{ slot: 0, start: 3, length: 0 }])
      })
    })

    test("views at any offset", async () => {
      await withTwin({ heads: 3, kvHeads: 3, headDim: 6 }, async (twin) => {
        for (const offset of [1, 2, 3]) {
          const sequences = [{ slot: 0, start: twin.length(0), length: 5 }]
          await twin.pass(sequences, 1, offset)
          twin.commit(sequences)
        }
      })
    })

    test("large scores do not overflow", async () => {
      const b = rig.backend
      const [T, d] = [65, 16]
      const kv = b.createKv({ layers: 1, kvHeads: 1, headDim: d, maxTokens: T })
      const [q, k, v] = [numbers(T * d, 1, 1e3), numbers(T * d, 2, 1e3), numbers(T * d, 3)]
      const rows = (x: Float32Array) => Array.from({ length: T }, (_, t) => x.subarray(t * d, (t + 1) * d))
      const want = expectation(T * d)
      for (let t = 0; t < T; t++) {
        expectAttention(want, t * d, rows(q)[t], rows(k).slice(0, t + 1), rows(v).slice(0, t + 1), 1)
      }
      const got = await rig.evaluate(() =>
        b.causalAttention(rig.up(q, T, d), rig.up(k, T, d), rig.up(v, T, d), {
          kv,
          layer: 0,
          sequences: [{ slot: 0, start: 0, length: T }],
          scale: 1,
        }),
      )
      expectWithin(got, want, "scores up to 1e7")
      b.free(kv)
    })
  })

  describe("key/value cache", () => {
    test("shrink, then write other tokens", async () => {
      for (const to of [0, 1, 63, 64, 65, 69]) {
        await withTwin(SMALL, async (twin) => {
          await twin.append([0, 70])
          twin.shrink(0, to)
          await twin.append([0, 7])
          await twin.append([0, 1])
        })
      }
    })

    test("a pass that broke off between layers leaves the slot as it was", async () => {
      await withTwin({ ...SMALL, layers: 3 }, async (twin) => {
        await twin.append([0, 62])
        await twin.pass([{ slot: 0, start: 62, length: 9 }], 1)
        expect(twin.length(0)).toBe(62)
        await twin.append([0, 4])
        await twin.append([0, 1])
        expect(twin.length(0)).toBe(67)
      })
    })

    test("what lies behind `start` may be written again without shrinking first", async () => {
      await withTwin(SMALL, async (twin) => {
        await twin.append([0, 70])
        const again = [{ slot: 0, start: 40, length: 10 }]
        await twin.pass(again)
        twin.commit(again)
        await twin.append([0, 1])
      })
    })

    test("a copy shares its blocks, then both go their own way", async () => {
      for (const stored of KV_TYPES) {
        for (const length of [1, 60, 64, 70]) {
          await withTwin({ ...SMALL, stored }, async (twin) => {
            await twin.append([0, 70])
            const bytes = twin.kv.bytes
            twin.copy(0, 1, length)
            expect(twin.kv.bytes).toBe(bytes)
            await twin.append([1, 3])
            await twin.append([0, 3])
            twin.copy(1, 2, length)
            await twin.append([0, 1], [1, 1], [2, 1])
            twin.shrink(0, 0)
            await twin.append([1, 1], [2, 1], [0, 2])
          })
        }
      }
    })

    test("copies that both write in the same call", async () => {
      await withTwin(SMALL, async (twin) => {
        await twin.append([0, 5])
        twin.copy(0, 1, 5)
        twin.copy(0, 2, 4)
        await twin.append([1, 1], [0, 1], [2, 1])
        await twin.append([2, 1], [1, 1], [0, 1])
      })
    })

    test("bytes follow the tokens, bfloat16 takes half, int8 a quarter and its scales", async () => {
      const sizes: number[] = []
      for (const stored of KV_TYPES) {
        await withTwin({ ...SMALL, stored }, async (twin) => {
          const b = rig.backend
          expect(twin.kv.options).toMatchObject({ layers: 2, kvHeads: 2, headDim: 6, stored, maxTokens: 1000 })
          expect(twin.kv.bytes).toBe(0)
          await twin.append([0, 1])
          const [bytes, used] = [twin.kv.bytes, b.memory().used]
          expect(bytes).toBeGreaterThan(0)
          await twin.append([0, 99])
          expect(twin.kv.bytes).toBeGreaterThan(bytes)
          expect(b.memory().used).toBeGreaterThan(used)
          sizes.push(twin.kv.bytes)
          twin.shrink(0, 1)
          expect(twin.kv.bytes).toBe(bytes)
          twin.shrink(0, 0)
          expect(twin.kv.bytes).toBe(0)
        })
      }
      expect(sizes[1]).toBe(sizes[0] / 2)
      const scales = sizes[0] / SMALL.headDim
      expect(sizes[2]).toBe(sizes[0] / 4 + scales)
    })

    test("keys and values are float32 unless told otherwise", () => {
      const b = rig.backend
      const kv = b.createKv({ layers: 1, kvHeads: 1, headDim: 8, maxTokens: 5 })
      expect(kv.options.stored).toBe("f32")
      b.free(kv)
    })

    test("more than maxTokens is out_of_memory and changes nothing", async () => {
      await withTwin({ ...SMALL, maxTokens: 70 }, async (twin) => {
        await twin.append([0, 64], [1, 5])
        const full = () => twin.append([0, 1], [1, 1])
        await expect(full()).rejects.toThrow(IsaacError)
        await expect(full()).rejects.toMatchObject({ code: "out_of_memory", message: expect.stringMatching(/70/) })
        expect([twin.length(0), twin.length(1)]).toEqual([64, 5])
      })
      await withTwin({ ...SMALL, maxTokens: 70 }, async (twin) => {
        await twin.append([0, 64], [1, 5])
        await twin.append([1, 1])
        twin.shrink(0, 3)
        await twin.append([1, 61])
      })
    })

    for (const stored of KV_TYPES) {
      test(`${stored} goes out and comes in again, and the slot goes on as the one it was taken from`, async () => {
        for (const length of [1, 63, 64, 65, 130]) {
          await withTwin({ ...SMALL, stored }, async (twin) => {
            const { backend: b } = rig
            await twin.append([0, length])
            await twin.append([3, 70]) // blocks of another slot between
            const layers = await Promise.all([0, 1].map((layer) => b.kvExport(twin.kv, 0, layer, length)))
            for (const [layer, numbers] of layers.entries()) {
              expect(numbers).toEqual(twin.exported(0, layer, length))
              b.kvImport(twin.kv, 7, layer, numbers)
              expect(twin.length(7)).toBe(0)
            }
            b.kvCommit(twin.kv, 7, length)
            twin.copyHistory(0, 7, length)
            await twin.append([7, 3], [0, 2])
            await twin.append([7, 1], [0, 1])
            // A part of it, over what a slot holds and shares.
            if (length > 1) {
              twin.copy(0, 8, length)
              b.kvImport(twin.kv, 8, 0, await b.kvExport(twin.kv, 3, 0, 1))
              b.kvImport(twin.kv, 8, 1, await b.kvExport(twin.kv, 3, 1, 1))
              twin.shrink(8, 1)
              twin.copyHistory(3, 8, 1)
              await twin.append([8, 1], [0, 1], [3, 1])
            }
          })
        }
      })
    }

    test("what is written after an export does not touch it", async () => {
      await withTwin(SMALL, async (twin) => {
        await twin.append([0, 5])
        const want = twin.exported(0, 1, 5)
        const exported = rig.backend.kvExport(twin.kv, 0, 1, 5)
        twin.shrink(0, 0)
        await twin.append([0, 5])
        expect(await exported).toEqual(want)
      })
    })

    test("int8: halves are rounded away from zero, and what is nothing or no number has no number", async () => {
      const [b, headDim, kvHeads] = [rig.backend, 20, 2]
      const row = (...numbers: number[]) => Array.from({ length: headDim }, (_, i) => numbers[i % numbers.length])
      const heads = [
        row(127, 0.5, -0.5, 1.5, -1.5, 2.5, 126.5, -126.5, 0.49999997, -0.49999997),
        row(-3.7e-31, 1e-38, 0),
        row(0),
        row(-0, 1e-45),
        row(3.4e38, -3.4e38, 1.7e38, 1),
        row(2e-30, -1e-30, 1.5e-30),
        row(1, 1 / 254, 3 / 254, -5 / 254, 0.1, -0.7),
        row(-0.3, 0.123, 0.2999, 0.15),
      ]
      const k = Float32Array.from([...heads, ...heads.toReversed()].flat())
      const v = k.toReversed()
      const T = k.length / (kvHeads * headDim)
      const kv = b.createKv({ layers: 1, kvHeads, headDim, maxTokens: 100, stored: "int8" })
      const run = (slot: number, q: Float32Array, k: Float32Array, v: Float32Array) => {
        const [length, width] = [q.length / (kvHeads * headDim), kvHeads * headDim]
        const sequences = [{ slot, start: 0, length }]
        const up = (x: Float32Array) => rig.up(x, length, width)
        return rig.evaluate(() => b.causalAttention(up(q), up(k), up(v), { kv, layer: 0, sequences, scale: 1 }))
      }
      await run(0, new Float32Array(k.length), k, v)
      b.kvCommit(kv, 0, T)
      const { numbers: whole, scales } = quantiseHeads(Float32Array.from([...k, ...v]), headDim)
      expect(await b.kvExport(kv, 0, 0, T)).toEqual({
        numbers: Int8Array.from(whole.flat()),
        scales: Float32Array.from(scales.flat()),
      })
      // A number that is none makes its head NaN for all that see it, and only that.
      for (const none of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
        const [bad, good] = [new Float32Array(40).fill(1), new Float32Array(40).fill(1)]
        bad[3] = none
        for (const [k, v] of [
          [bad, good],
          [good, bad],
        ]) {
          const got = await run(1, good, k, v)
          expect(Array.from(got, Number.isNaN)).toEqual(Array.from(got, (_, i) => i < 20))
        }
      }
      b.free(kv)
    })

    test("int8 imports that do not fit are refused and change nothing", async () => {
      await withTwin({ ...SMALL, stored: "int8" }, async (twin) => {
        const b = rig.backend
        await twin.append([0, 5])
        const good = (await b.kvExport(twin.kv, 0, 0, 5)) as KvInt8
        const put = <T extends Int8Array | Float32Array>(list: T, at: number, value: number) => {
          const changed = list.slice() as T
          changed[at] = value
          return changed
        }
        for (const [given, code, message] of [
          [new Float32Array(24), "bad_input", /Int8Array/],
          [{ ...good, numbers: new Uint8Array(120) }, "bad_input", /Int8Array/],
          [{ numbers: good.numbers }, "bad_input", /Float32Array/],
          [undefined, "bad_input", /Int8Array/],
          [{ ...good, numbers: good.numbers.slice(1) }, "bad_input", /119 numbers/],
          [{ ...good, scales: good.scales.slice(1) }, "bad_input", /19 scales.*20/],
          [{ ...good, scales: put(good.scales, 7, Number.NaN) }, "not_finite", /scale 7 of layer 0/],
          [{ ...good, scales: put(good.scales, 3, -1) }, "bad_input", /scale 3 of layer 0 is -1/],
          [{ ...good, numbers: put(good.numbers, 9, -128) }, "bad_input", /number 9 of layer 0 is -128/],
        ] as const) {
          for (const slot of [0, 1]) {
            expectError(() => b.kvImport(twin.kv, slot, 0, given as KvNumbers), code, message)
          }
        }
        expect(await b.kvExport(twin.kv, 0, 0, 5)).toEqual(good)
        await twin.append([0, 1], [1, 1])
      })
    })

    test("imports and exports that do not fit are refused and change nothing", async () => {
      await withTwin({ ...SMALL, stored: "bf16", maxTokens: 70 }, async (twin) => {
        const b = rig.backend
        await twin.append([0, 5])
        const numbers = (tokens: number) => new Uint16Array(tokens * 2 * 2 * 6).fill(0x3f80)
        const nan = numbers(3)
        nan[40] = 0x7fc0
        for (const [layer, given, code, message] of [
          [2, numbers(3), "bad_input", /layer 2/],
          [-1, numbers(3), "bad_input", /layer -1/],
          [0, new Float32Array(24), "bad_input", /Uint16Array/],
          [0, new Uint16Array(25), "bad_input", /25 numbers/],
          [1, nan, "not_finite", /number 40 of layer 1/],
          [0, numbers(71), "out_of_memory", /70/],
        ] as const) {
          expectError(() => b.kvImport(twin.kv, 1, layer, given), code, message)
          expectError(() => b.kvImport(twin.kv, 0, layer, given), code, message)
        }
        for (const [slot, layer, length] of [
          [0, 2, 1],
          [0, 0, 6],
          [0, 0, -1],
          [0, 0, Number.NaN],
          [4, 0, 1],
        ]) {
          await expect(b.kvExport(twin.kv, slot, layer, length)).rejects.toMatchObject({ code: "bad_input" })
        }
        expect(await b.kvExport(twin.kv, 4, 1, 0)).toEqual(new Uint16Array(0))
        expect([0, 1].map((slot) => twin.length(slot))).toEqual([5, 0])
        await twin.append([0, 1], [1, 1])
      })
    })

    test("growth is told before it happens, to the byte", async () => {
      await withTwin(SMALL, async (twin) => {
        const b = rig.backend
        const grow = async (...slots: [slot: number, length: number][]) => {
          const sequences = slots.map(([slot, length]) => ({ slot, start: twin.length(slot), length }))
          const [told, before] = [b.kvGrowth(twin.kv, sequences), twin.kv.bytes]
          expect(b.kvGrowth(twin.kv, sequences)).toBe(told)
          await twin.append(...slots)
          expect(twin.kv.bytes - before).toBe(told)
          return told
        }
        expect(await grow([0, 1])).toBeGreaterThan(0)
        expect(await grow([0, 3])).toBe(0)
        twin.copy(0, 1, 4)
        expect(await grow([1, 1])).toBeGreaterThan(0) // its own copy of the shared block
        expect(await grow([0, 1])).toBe(0)
        twin.copy(0, 2, 5)
        await grow([0, 200], [2, 1], [1, 70])
        expectError(() => b.kvGrowth(twin.kv, [{ slot: 9, start: 1, length: 1 }]), "bad_input", /slot 9/)
      })
    })

    test("a long random life of four slots", async () => {
      await withTwin({ heads: 2, kvHeads: 1, headDim: 6, layers: 2, maxTokens: 700 }, async (twin) => {
        const choose = choices(7)
        for (let step = 0; step < 120; step++) {
          const slot = choose(4)
          const length = twin.length(slot)
          switch (choose(5)) {
            case 0:
              twin.shrink(slot, choose(length + 1))
              break
            case 1: {
              const to = (slot + 1 + choose(3)) % 4
              twin.copy(slot, to, choose(length + 1))
              break
            }
            case 2:
              await twin.pass([{ slot, start: length, length: 1 + choose(9) }], 1)
              break
            default: {
              const other = (slot + 1 + choose(3)) % 4
              if (length < 120) await twin.append([slot, 1 + choose(40)], [other, choose(3)])
              else twin.shrink(slot, choose(20))
            }
          }
        }
      })
    })

    test("refuses what does not fit", async () => {
      await withTwin({ heads: 4, kvHeads: 2, headDim: 6, layers: 2 }, async (twin) => {
        await twin.append([0, 3])
        const b = rig.backend
        const { kv } = twin
        b.scope(() => {
          const q = rig.up(numbers(48, 1), 2, 24)
          const k = rig.up(numbers(24, 2), 2, 12)
          const sequences = [{ slot: 0, start: 3, length: 2 }]
          const good = { kv, layer: 0, sequences, scale: 1 }
          const refuse = (fn: () => unknown, message: RegExp) => expectError(fn, "bad_input", message)
          refuse(() => b.causalAttention(q, q, k, good), /causalAttention.*k.*\[2, 24\].*\[2, 12\]/)
          refuse(() => b.causalAttention(q, k, q, good), /causalAttention.*v.*\[2, 24\].*\[2, 12\]/)
          refuse(() => b.causalAttention(rig.up(numbers(36, 1), 2, 18), k, k, good), /causalAttention.*\[2, 18\]/)
          refuse(() => b.causalAttention(q, k, k, { ...good, layer: 2 }), /causalAttention.*layer 2.*2 layers/)
          refuse(() => b.causalAttention(q, k, k, { ...good, layer: -1 }), /causalAttention.*layer -1/)
          refuse(() => b.causalAttention(q, k, k, { ...good, scale: Number.NaN }), /causalAttention.*NaN/)
          const set = (...s: KvSequence[]) => ({ ...good, sequences: s })
          refuse(() => b.causalAttention(q, k, k, set({ slot: 0, start: 3, length: 1 })), /causalAttention.*1.*2/)
          refuse(() => b.causalAttention(q, k, k, set({ slot: 0, start: 4, length: 2 })), /start at 4.*3/)
          refuse(() => b.causalAttention(q, k, k, set({ slot: -1, start: 0, length: 2 })), /slot.*-1/)
          const twice = set({ slot: 0, start: 3, length: 1 }, { slot: 0, start: 3, length: 1 })
          refuse(() => b.causalAttention(q, k, k, twice), /slot 0 .*twice/)
          refuse(() => b.kvCommit(kv, 0, 4), /4.*3/)
          refuse(() => b.kvCommit(kv, 0, -1), /-1/)
          refuse(() => b.kvCopy(kv, 0, 1, 4), /4.*3/)
          refuse(() => b.kvCopy(kv, 7, 1, 1), /1.*slot 7.*0/)
          const options = { layers: 1, kvHeads: 1, headDim: 8, maxTokens: 10 }
          refuse(() => b.createKv({ ...options, layers: 0 }), /createKv.*layers/)
          refuse(() => b.createKv({ ...options, headDim: 1.5 }), /createKv.*headDim/)
          refuse(() => b.createKv({ ...options, maxTokens: -1 }), /maxTokens/)
          refuse(() => b.createKv({ ...options, stored: "q8" as "f32" }), /createKv.*q8/)
        })
        expect(twin.length(0)).toBe(3)
        await twin.append([0, 1])
      })
    })
  })
}
