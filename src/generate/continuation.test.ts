import { describe, expect, it } from "vitest"
import { promptOf, textEvent } from "../../test/tiny-sessions"
import { Continuation, type ContinuationSetup } from "./continuation"
import { Random } from "./random"

const prompt = promptOf(textEvent(1, 2))

/** Let a continuation pick these ids, one after the other, as far as it goes. */
function run(ids: readonly number[], setup: Partial<ContinuationSetup> & Pick<ContinuationSetup, "vocabulary">) {
  const { size } = setup.vocabulary
  const continuation = new Continuation(prompt, { maxNewTokens: ids.length, stopIds: [], ...setup })
  let text = ""
  for (const id of ids) {
    const logits = new Float32Array(size)
    logits[id] = 1
    text += continuation.next(logits, 1).text
    if (continuation.finishReason !== undefined) break
  }
  const { finishReason, stopped, tokens } = continuation
  return { text, finishReason, stopped, tokens }
}

describe("Continuation", () => {
  it("gives the decoded bytes up to the first stop text, however tokens cut characters, broken ones too", () => {
    const random = new Random(31)
    const below = (n: number) => Math.floor(random.next() * n)
    const encoder = new TextEncoder()
    let hits = 0
    for (let round = 0; round < 3000; round++) {
      // Tokens of one to four bytes cut out of a text of characters of one to four bytes, some of them damaged.
      const text = Array.from({ length: 4 + below(20) }, () => ["a", "b", "é", "語", "👍"][below(5)]).join("")
      const bytes = encoder.encode(text)
      if (below(3) === 0) bytes[below(bytes.length)] = 0x80 + below(128)
      const tokens: Uint8Array[] = []
      for (let at = 0; at < bytes.length; ) {
        const length = 1 + below(4)
        tokens.push(bytes.slice(at, at + length))
        at += length
      }
      const stops = Array.from({ length: 1 + below(2) }, () => {
        const characters = [...text]
        const from = below(characters.length)
        return characters.slice(from, from + 1 + below(3)).join("")
      })
      const vocabulary = { size: tokens.length, tokenBytes: (id: number) => tokens[id], isSpecial: () => false }
      const found = run([...tokens.keys()], { vocabulary, stop: stops })

      const whole = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes)
      const ends = stops.map((stop) => [whole.indexOf(stop), stop] as const).filter(([at]) => at >= 0)
      ends.sort(([a, x], [b, y]) => a + x.length - b - y.length || y.length - x.length)
      const [hit] = ends
      if (hit) hits++
      expect(found, JSON.stringify({ whole, stops })).toMatchObject(
        hit
          ? { text: whole.slice(0, hit[0]), finishReason: "stop", stopped: hit[1] }
          : { text: whole, finishReason: "length", stopped: null, tokens: tokens.length },
      )
    }
    expect(hits).toBeGreaterThan(1500)
    expect(hits).toBeLessThan(3000)
  })

  it("leaves special tokens out of the text that stop texts are looked for in", () => {
    const letters = ["a", "<|x|>", "b", "c"]
    const vocabulary = {
      size: 4,
      tokenBytes: (id: number) => new TextEncoder().encode(letters[id]),
      isSpecial: (id: number) => id === 1,
    }
    expect(run([3, 0, 1, 2, 3], { vocabulary, stop: "ab" })).toEqual({
      text: "c",
      finishReason: "stop",
      stopped: "ab",
      tokens: 4,
    })
    expect(run([0, 1, 3], { vocabulary, stop: "<|x|>" })).toMatchObject({ text: "ac", stopped: null })
    // A stop id is no text either, and releases what was held back.
    expect(run([3, 0, 2], { vocabulary, stop: "abc", stopIds: [2] })).toMatchObject({
      text: "ca",
      finishReason: "stop",
      stopped: null,
    })
  })
})
