import { describe, expect, it } from "vitest"
import { asciiDigits, isSpace, readFloat, strip, writeFloat } from "./python-text"

// Every expected value here is what Python 3 gives.

describe("readFloat", () => {
  it.each([
    [" 4 ", 4],
    ["5.", 5],
    [".5", 0.5],
    ["+2.0", 2],
    ["1e3", 1000],
    ["1_000.5_0e1_0", 1000.5e10],
    ["1e400", Number.POSITIVE_INFINITY],
    ["-Infinity", Number.NEGATIVE_INFINITY],
    ["iNf", Number.POSITIVE_INFINITY],
    ["+nan", Number.NaN],
    ["١٢.٥", 12.5],
    ["𝟜", 4],
    ["\xa05\u2003", 5],
    ["\x855", 5],
  ])("reads %j as %d", (text, value) => {
    expect(readFloat(text)).toBe(value)
  })

  it.each([
    ..."._-e",
    ...[
      "",
      " ",
      "abc",
      "0x10",
      "1__0",
      "_1",
      "1_",
      "1_.5",
      "1e",
      "1e_5",
      "1 2",
      "\ufeff5",
      "\x1c5",
      "infin",
      "--1",
      "1,5",
    ],
  ])("refuses %j", (text) => {
    expect(readFloat(text)).toBeUndefined()
  })
})

describe("writeFloat", () => {
  it.each([
    [0, "0.0"],
    [-0, "-0.0"],
    [2, "2.0"],
    [0.1, "0.1"],
    [123456.789, "123456.789"],
    [0.0001, "0.0001"],
    [0.00001, "1e-05"],
    [1.5e-7, "1.5e-07"],
    [5e-324, "5e-324"],
    [9999999999999998, "9999999999999998.0"],
    [1e16, "1e+16"],
    [1.7976931348623157e308, "1.7976931348623157e+308"],
    [Number.NaN, "nan"],
    [Number.NEGATIVE_INFINITY, "-inf"],
  ])("writes %d as %s", (value, text) => {
    expect(writeFloat(value)).toBe(text)
  })
})

describe("white space and digits", () => {
  it("are Python's, not JavaScript's", () => {
    expect(strip("\x1f\x85\u3000 a\ufeff \n")).toBe("a\ufeff")
    expect(strip(" \t ")).toBe("")
    expect(
      [..."\t\r\x1c\x1f \x85\xa0\u1680\u200a\u2028\u202f\u205f\u3000"].every((c) => isSpace(c.charCodeAt(0))),
    ).toBe(true)
    expect([..."\x08\x0e\x1b\u200b\u180e\ufeffa"].some((c) => isSpace(c.charCodeAt(0)))).toBe(false)
  })

  it("gives digits of every script their value", () => {
    expect(asciiDigits("a٣-९-９-𝟎𝟗𝟘𝟿")).toBe("a3-9-9-0909")
  })
})
