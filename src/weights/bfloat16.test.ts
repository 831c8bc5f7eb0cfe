import { expect, it } from "vitest"
import { toBfloat16 } from "./bfloat16"
import { type SafetensorsType, toFloat32 } from "./safetensors"

const bytesOf = (array: Float32Array | Uint16Array) => new Uint8Array(array.buffer)
const rounded = (bytes: Uint8Array, dtype: SafetensorsType) => [...toFloat32(toBfloat16(bytes, dtype), "BF16")]

it("rounds to the nearest bfloat16, ties to even, whatever the sign", () => {
  const step = 2 ** -7 // between 1 and 2
  const cases: [given: number, want: number][] = [
    [1, 1],
    [1 + 0.49 * step, 1],
    [1 + 0.51 * step, 1 + step],
    [1 + 0.5 * step, 1],
    [1 + 1.5 * step, 1 + 2 * step],
    [-1 - 1.5 * step, -1 - 2 * step],
    [2 - 2 ** -23, 2],
    [-0, -0],
    [2 ** -133, 2 ** -133], // the smallest there is
  ]
  expect(rounded(bytesOf(Float32Array.from(cases, ([given]) => given)), "F32")).toEqual(cases.map(([, want]) => want))
})

it("takes half precision too, and bfloat16 as it is, from any offset", () => {
  const half = new Uint8Array([0, 0x00, 0x3c, 0x01, 0x3c, 0xff, 0x3f]).subarray(1) // 1, 1 + 2⁻¹⁰, 2 − 2⁻¹⁰
  expect(rounded(half, "F16")).toEqual([1, 1, 2])
  const same = new Uint8Array([0, 0x80, 0x3f]).subarray(1)
  expect(toBfloat16(same, "BF16")).toBe(same)
})
