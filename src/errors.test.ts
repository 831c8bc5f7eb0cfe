import { describe, expect, it } from "vitest"
import { plainText, shown } from "./errors"

describe("a stranger's value in a message", () => {
  it.each([
    [3, "3"],
    [null, "null"],
    [undefined, "undefined"],
    ["x", '"x"'],
    [[1, "a", [true]], '[1,"a",[true]]'],
    [{ a: { b: 1 } }, '{"a":{"b":1}}'],
    [[[[[[1]]]]], "[[[[…]]]]"],
    ["\u001b[2J\u202e\ud800", '"\\u001b[2J\\u202e\\ud800"'],
    ["é😀", '"é😀"'],
    [10n, "10"],
    [{ toString: 1, __proto__: null }, '{"toString":1}'],
  ])("%# is short and plain", (value, text) => expect(shown(value)).toBe(text))

  it("is cut, however large it is", () => {
    expect(shown("x".repeat(1e6))).toHaveLength(121)
    expect(shown(Array(1e6).fill(1))).toHaveLength(121)
    expect(shown({ ["k".repeat(1e6)]: 1 })).toHaveLength(121)
    expect(shown("abc", 3)).toBe('"ab…')
  })

  it("keeps no control characters of a text", () => {
    expect(plainText("a\tb\u0085\u2066é😀\udc00")).toBe("a\\u0009b\\u0085\\u2066é😀\\udc00")
  })
})
