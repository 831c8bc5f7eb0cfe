import { describe, expect, it } from "vitest"
import { parseDataUri } from "./data-uri"

describe("data URIs", () => {
  it("have their limit after decoding too", () => {
    // Plain characters are bytes of their own, or three.
    for (const content of ["a".repeat(65), "猫".repeat(22), "%41".repeat(65)]) {
      expect(() => parseDataUri(`data:,${content}`, 64)).toThrow(
        expect.objectContaining({
          code: "bad_input",
          message: expect.stringMatching(/about (?:65|66|195) bytes; at most 64/),
        }),
      )
    }
    expect(parseDataUri(`data:,${"%41".repeat(64)}`, 64).bytes).toHaveLength(64)
  })
})
