/** Reads the reference data under test/fixtures/golden for tests. */

import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { expect } from "vitest"
import { readSafetensorsHeader, toFloat32 } from "../src/weights/safetensors"
import { bytesSource } from "../src/weights/source"

/** Path of a file or folder under test/fixtures/golden. */
export function goldenPath(path: string): string {
  return fileURLToPath(new URL(`./fixtures/golden/${path}`, import.meta.url))
}

export function readGoldenJson<T>(path: string): T {
  return JSON.parse(readFileSync(goldenPath(path), "utf8")) as T
}

export interface GoldenTensor {
  readonly dtype: string
  readonly shape: readonly number[]
  /** I64 comes as numbers (all goldens are small enough). */
  readonly data: Float32Array | Float64Array | Int32Array | Uint8Array
}

/** Every tensor of a golden safetensors file. */
export async function readGolden(path: string): Promise<Map<string, GoldenTensor>> {
  const source = bytesSource(path, new Uint8Array(readFileSync(goldenPath(path))))
  const { tensors } = await readSafetensorsHeader(source)
  const out = new Map<string, GoldenTensor>()
  for (const [name, { dtype, shape, offset, bytes }] of tensors) {
    const raw = (await source.read(offset, bytes)).slice()
    out.set(name, { dtype, shape, data: decode(raw, dtype) })
  }
  return out
}

function decode(raw: Uint8Array, dtype: string): GoldenTensor["data"] {
  switch (dtype) {
    case "F32":
    case "BF16":
      return toFloat32(raw, dtype)
    case "F64":
      return new Float64Array(raw.buffer)
    case "I32":
      return new Int32Array(raw.buffer)
    case "I64":
      return Int32Array.from(new BigInt64Array(raw.buffer), Number)
    case "U8":
      return raw
    default:
      throw new Error(`golden dtype ${dtype}`)
  }
}

/** Largest absolute difference; NaN anywhere counts as Infinity unless both are NaN. */
export function maxAbsDiff(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length)
  let worst = 0
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs(a[i] - b[i])
    if (Number.isNaN(d)) {
      if (!(Number.isNaN(a[i]) && Number.isNaN(b[i])) && a[i] !== b[i]) return Number.POSITIVE_INFINITY
    } else if (d > worst) worst = d
  }
  return worst
}
