import { describe, expect, it } from "vitest"
import { TextStream } from "./text-stream"

const bytes = (text: string) => new TextEncoder().encode(text)

describe("TextStream", () => {
  const text = "\uFEFFaé漢字👩‍🚀́ end"

  it("gives whole characters however the bytes are cut", () => {
    for (const step of [1, 2, 3, 5]) {
      const all = bytes(text)
      const stream = new TextStream()
      let out = ""
      for (let i = 0; i < all.length; i += step) {
        const piece = stream.push(all.subarray(i, i + step))
        expect(piece).not.toMatch(/[\uD800-\uDBFF]$/)
        expect(piece).not.toContain("\uFFFD")
        out += piece
      }
      expect(out + stream.end()).toBe(text)
    }
  })

  it("holds an open character back and gives it up as U+FFFD only at the end", () => {
    const stream = new TextStream()
    expect(stream.push(bytes("漢").subarray(0, 2))).toBe("")
    expect(stream.end()).toBe("\uFFFD")
  })

  it("goes on after bytes that are no character", () => {
    const stream = new TextStream()
    expect(stream.push(Uint8Array.of(0x61, 0xff, 0x62))).toBe("a\uFFFDb")
    expect(stream.push(bytes("é").subarray(0, 1))).toBe("")
    expect(stream.push(bytes("x"))).toBe("\uFFFDx")
    expect(stream.end()).toBe("")
  })
})
