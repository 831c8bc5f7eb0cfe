/** What the conformance tests share: a backend under test, numbers to feed it, and how results are read. */

import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest"
import { IsaacError } from "../../errors"
import type { Backend, StoredType, Tensor, Weight } from "../backend"

/** Sizes that leave remainders in every unrolling and vector width. */
export const ODD_SIZES = [1, 2, 3, 5, 7, 17, 31, 33, 65] as const
/** Head sizes to serve: some no multiple of 4, 8 or 16, and those of isaac-tiny, of Isaac's vision tower and decoder. */
export const HEAD_SIZES = [6, 12, 16, 32, 72, 128] as const

/** The backend under test. One backend serves all tests of a suite; each test must leave no bytes behind. */
export class Rig {
  private made: Backend | undefined

  get backend(): Backend {
    return this.made!
  }

  constructor(readonly create: () => Promise<Backend>) {
    let before = 0
    beforeAll(async () => {
      this.made = await create()
    })
    afterAll(async () => {
      await this.made?.dispose()
    })
    beforeEach(() => {
      before = this.backend.memory().used
    })
    afterEach(() => {
      expect(this.backend.memory().used, "bytes in use after the test").toBe(before)
    })
  }

  /** Run operations and read the tensor they return; everything made on the way is freed. */
  async evaluate(fn: (b: Backend) => Tensor): Promise<Float32Array> {
    const [out] = await this.evaluateAll((b) => [fn(b)])
    return out
  }

  async evaluateAll(fn: (b: Backend) => Tensor[]): Promise<Float32Array[]> {
    const results = this.backend.scope(() => fn(this.backend))
    try {
      return await Promise.all(results.map((t) => this.backend.read(t)))
    } finally {
      this.backend.free(...results)
    }
  }

  up(data: ArrayLike<number>, ...shape: number[]): Tensor {
    return this.backend.upload(Float32Array.from(data), shape)
  }

  /**
   * The same numbers as a view, `offset` rows into a larger tensor whose other rows are NaN: an operation that ignores
   * the offset or reads past its rows shows.
   */
  upAt(offset: number, data: ArrayLike<number>, ...shape: number[]): Tensor {
    const [rows, ...row] = shape
    const rowSize = row.reduce((a, b) => a * b, 1)
    const padded = new Float32Array((offset + rows + 1) * rowSize).fill(Number.NaN)
    padded.set(data, offset * rowSize)
    return this.backend.rows(this.backend.upload(padded, [offset + rows + 1, ...row]), offset, offset + rows)
  }

  /** A weight from float32 numbers, freed after `fn`. */
  async withWeight<T>(
    data: Float32Array,
    shape: readonly [number, number],
    stored: StoredType,
    fn: (w: Weight) => Promise<T>,
  ): Promise<T> {
    const w = this.backend.loadWeight(bytesOf(data), "F32", shape, stored)
    try {
      return await fn(w)
    } finally {
      this.backend.free(w)
    }
  }

  /** Of the storage types the backend has, those that are plain rounding. */
  get floatTypes(): ("f32" | "bf16")[] {
    return (["f32", "bf16"] as const).filter((t) => this.backend.info.stored.includes(t))
  }
}

export function bytesOf(data: Float32Array | Uint16Array): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
}

/** Evenly spread numbers in ±amplitude, each from a hash of its index: the same everywhere. */
export function numbers(size: number, seed: number, amplitude = 1): Float32Array {
  return Float32Array.from({ length: size }, (_, i) => (hash(i, seed) / 2 ** 32 - 0.5) * 2 * amplitude)
}

/** Whole numbers in −most … most: sums of their products are exact in float32, in any order. */
export function wholeNumbers(size: number, seed: number, most = 4): Float32Array {
  return Float32Array.from({ length: size }, (_, i) => (hash(i, seed) % (2 * most + 1)) - most)
}

function hash(i: number, seed: number): number {
  let x = (i + Math.imul(seed, 0x9e3779b9)) >>> 0
  x = Math.imul(x ^ (x >>> 16), 0x21f0aaad)
  x = Math.imul(x ^ (x >>> 15), 0x735a2d97)
  return (x ^ (x >>> 15)) >>> 0
}

/** A small random source for choices: next(n) is a whole number below n. */
export function choices(seed: number): (n: number) => number {
  let i = 0
  return (n) => hash(i++, seed) % n
}

/** Round to bfloat16 and back, to nearest, ties to even: by arithmetic, for finite normal numbers. */
export function bf16(x: number): number {
  if (x === 0) return x
  const step = 2 ** (Math.floor(Math.log2(Math.abs(x))) - 7)
  const scaled = x / step
  const down = Math.floor(scaled)
  const rest = scaled - down
  const up = rest > 0.5 || (rest === 0.5 && down % 2 !== 0)
  return (up ? down + 1 : down) * step
}

/** Numbers as a weight or cache of this type holds them. */
export function roundTo(stored: StoredType, data: Float32Array): Float32Array {
  return stored === "bf16" ? data.map(bf16) : data
}

/** `fn` must throw an IsaacError of this code whose message matches. */
export function expectError(fn: () => unknown, code: string, message: RegExp): void {
  let thrown: unknown
  try {
    fn()
  } catch (error) {
    thrown = error
  }
  expect(thrown, `an IsaacError that says ${message}`).toBeInstanceOf(IsaacError)
  expect((thrown as IsaacError).message).toMatch(message)
  expect((thrown as IsaacError).code).toBe(code)
}
