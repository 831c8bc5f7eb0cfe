import { describe, expect, it } from "vitest"
import { encodeSafetensors, halfToFloat, readSafetensorsHeader, toFloat32 } from "./safetensors"
import { bytesSource } from "./source"

const header = (bytes: Uint8Array) => readSafetensorsHeader(bytesSource("x.safetensors", bytes))

/** A file with this header text and this many bytes of data. */
function file(json: string, data: number): Uint8Array {
  const text = new TextEncoder().encode(json)
  const out = new Uint8Array(8 + text.length + data)
  new DataView(out.buffer).setBigUint64(0, BigInt(text.length), true)
  out.set(text, 8)
  return out
}

const entry = (dtype: string, shape: unknown, span: unknown) => ({ dtype, shape, data_offsets: span })

const HUGE = Array(12).fill(Number.MAX_SAFE_INTEGER)
const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth)

/** As large as it claims, and never read. */
function hugeHeader(): Uint8Array {
  const bytes = new Uint8Array((16 << 20) + 9)
  new DataView(bytes.buffer).setBigUint64(0, BigInt((16 << 20) + 1), true)
  return bytes
}

describe("safetensors", () => {
  it("reads back what it writes, every type aligned to its elements", async () => {
    const bytes = encodeSafetensors(
      {
        bytes: { shape: [3], data: Uint8Array.of(1, 2, 3) },
        half: { shape: [2], data: Uint16Array.of(0x3c00, 0xc000), dtype: "F16" },
        brain: { shape: [1, 2], data: Uint16Array.of(0x3f80, 0xc000), dtype: "BF16" },
        single: { shape: [2], data: Float32Array.of(0.5, -3) },
        wide: { shape: [], data: Float64Array.of(Math.PI) },
        long: { shape: [1], data: BigInt64Array.of(-7n) },
        int: { shape: [1], data: Int32Array.of(-8) },
        empty: { shape: [0, 4], data: new Float32Array(0) },
      },
      { format: "pt" },
    )
    const { tensors, metadata } = await header(bytes)
    expect(metadata).toEqual({ format: "pt" })
    expect([...tensors].map(([name, { dtype, shape }]) => [name, dtype, shape]).sort()).toEqual([
      ["brain", "BF16", [1, 2]],
      ["bytes", "U8", [3]],
      ["empty", "F32", [0, 4]],
      ["half", "F16", [2]],
      ["int", "I32", [1]],
      ["long", "I64", [1]],
      ["single", "F32", [2]],
      ["wide", "F64", []],
    ])
    const numbers = (name: string) => {
      const { offset, bytes: length, dtype } = tensors.get(name)!
      return [...toFloat32(bytes.subarray(offset, offset + length), dtype)]
    }
    expect(numbers("half")).toEqual([1, -2])
    expect(numbers("brain")).toEqual([1, -2])
    expect(numbers("single")).toEqual([0.5, -3])
    expect(numbers("wide")).toEqual([Math.fround(Math.PI)])
    for (const { offset, bytes: length, shape } of tensors.values()) {
      const element = length / shape.reduce((a, b) => a * b, 1)
      if (length > 0) expect(offset % element).toBe(0)
    }
  })

  it.each([
    ["fewer than 8 bytes", new Uint8Array(5), /5 bytes/],
    ["a header longer than the file", file("{}", 0).subarray(0, 9), /claims 2 bytes, the file has 9/],
    ["a header of absurd length", Uint8Array.of(0, 0, 0, 0, 0, 1, 0, 0), /claims 1099511627776 bytes/],
    ["a header that is not JSON", file("{nope", 0), /not JSON/],
    ["a header that is not UTF-8", Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0, 0xff), /not JSON/],
    ["a header that is a list", file("[]", 0), /not a JSON object/],
    ["an entry that is no object", file('{"a":3}', 0), /"a" is not an object/],
    ["an unknown dtype", file(JSON.stringify({ a: entry("F3", [1], [0, 4]) }), 4), /unknown dtype "F3"/],
    [
      "a dtype that is a property of every object",
      file(JSON.stringify({ a: entry("toString", [1], [0, 4]) }), 4),
      /dtype/,
    ],
    ["a negative size", file(JSON.stringify({ a: entry("F32", [-1], [0, 4]) }), 4), /shape \[-1\]/],
    ["a fractional size", file(JSON.stringify({ a: entry("F32", [0.5], [0, 2]) }), 4), /shape \[0.5\]/],
    ["offsets that are no pair", file(JSON.stringify({ a: entry("F32", [1], [0]) }), 4), /offsets \[0\]/],
    ["a span that is not its shape's", file(JSON.stringify({ a: entry("F32", [2], [0, 4]) }), 4), /needs 8/],
    ["a truncated file", file(JSON.stringify({ a: entry("F32", [2], [0, 8]) }), 7), /truncated/],
    [
      "two tensors on the same bytes",
      file(JSON.stringify({ a: entry("F32", [2], [0, 8]), b: entry("F32", [1], [4, 8]) }), 8),
      /"a" and "b" overlap/,
    ],
    [
      "bytes that no tensor has",
      file(JSON.stringify({ a: entry("F32", [1], [4, 8]) }), 8),
      /no tensor has the 4 bytes/,
    ],
    ["bytes behind the last tensor", file(JSON.stringify({ a: entry("F32", [1], [0, 4]) }), 9), /5 bytes follow/],
    ["bytes without a tensor", file("{}", 3), /3 bytes follow/],
    [
      "a name that stands twice",
      file(`{"a":${JSON.stringify(entry("U8", [1], [0, 1]))},"a":${JSON.stringify(entry("U8", [1], [0, 1]))}}`, 1),
      /stands twice/,
    ],
    [
      "a field that stands twice",
      file('{"a":{"dtype":"U8","shape":[9],"shape":[1],"data_offsets":[0,1]}}', 1),
      /stands twice/,
    ],
    [
      "sizes whose product is astronomical",
      file(JSON.stringify({ a: entry("U8", HUGE, [0, 1]) }), 1),
      /needs [\d.]+e\+/,
    ],
    [
      "sizes whose product wraps to the span in 64 bits",
      file(JSON.stringify({ a: entry("U8", [2 ** 32, 2 ** 32 + 1], [0, 2 ** 32]) }), 1),
      /spans 4294967296 bytes/,
    ],
    [
      "an offset beyond exact numbers",
      file('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1e30]}}', 1),
      /offsets \[0,1e\+30\]/,
    ],
    ["offsets in the wrong order", file(JSON.stringify({ a: entry("U8", [0], [1, 0]) }), 1), /spans -1 bytes/],
    [
      "a shape with very many axes",
      file(JSON.stringify({ a: entry("U8", Array(1e5).fill(1), [0, 1]) }), 1),
      /shape \[1,1/,
    ],
    ["a shape nested deeper than the stack", file(`{"a":{"dtype":"U8","shape":${nested(1e5)}}}`, 0), /shape \[\[\[\[…/],
    [
      "metadata nested deeper than the stack",
      file(`{"__metadata__":{"k":${nested(1e5)}}}`, 0),
      /"k", which is no text/,
    ],
    ["a dtype that cannot be written as text", file('{"a":{"dtype":{"toString":1}}}', 0), /dtype \{"toString":1\}/],
    ["metadata that cannot be written as text", file('{"__metadata__":{"k":{"toString":1}}}', 0), /which is no text/],
    ["a name that would move a terminal's cursor", file('{"\\u001b[2J":1}', 0), /entry "\\u001b\[2J" is not/],
    ["a header of over 16 MB", hugeHeader(), /claims 16777217 bytes; at most 16777216 are read/],
    ["a Git LFS pointer", new TextEncoder().encode("version https://git-lfs.github.com/spec/v1\n"), /git lfs pull/],
  ])("refuses %s", async (_, bytes, message) => {
    await expect(header(bytes)).rejects.toMatchObject({
      code: "bad_checkpoint",
      message: expect.stringMatching(message),
    })
  })

  it("widens from unaligned bytes", () => {
    const bytes = new Uint8Array(9)
    bytes.set(new Uint8Array(Float32Array.of(1.25, -2).buffer), 1)
    expect([...toFloat32(bytes.subarray(1), "F32")]).toEqual([1.25, -2])
  })

  it("knows every kind of half", () => {
    const halves: [number, number][] = [
      [0x0000, 0],
      [0x0001, 2 ** -24],
      [0x03ff, 1023 * 2 ** -24],
      [0x0400, 2 ** -14],
      [0x3555, 0.333251953125],
      [0x7bff, 65504],
      [0x7c00, Number.POSITIVE_INFINITY],
      [0xfc00, Number.NEGATIVE_INFINITY],
      [0x7e00, Number.NaN],
    ]
    for (const [bits, value] of halves) expect(halfToFloat(bits)).toBe(value)
    expect(Object.is(halfToFloat(0x8000), -0)).toBe(true)
  })

  it("does not take integers for weights", () => {
    expect(() => toFloat32(new Uint8Array(8), "I64")).toThrow(/I64/)
  })
})
