import { describe, expect, it } from "vitest"
import type { AnswerEvent } from "./answer"
import { AnswerWriter } from "./answer"
import { IsaacError } from "./errors"
import { oneByOne } from "./one-by-one"
import { parse } from "./perception/tags"

const engine = { model: "m", loadMs: 5 }
const report = {
  ...{ stopped: null, promptTokens: 10, imageTokens: 4, reusedTokens: 0, completionTokens: 7, forcedTokens: 0 },
  ...{ visionMs: 1, prefillMs: 2, decodeMs: 3, seed: 1, heldText: "", whole: true },
}

function answer(text: string, finishReason: "stop" | "length" | "abort" = "stop") {
  const writer = new AnswerWriter([{ width: 100, height: 50 }])
  return async function* (): AsyncGenerator<AnswerEvent> {
    for (const character of text) yield* writer.push(character)
    yield* writer.end(engine, { ...report, finishReason })
  }
}

async function collect(events: AsyncIterable<AnswerEvent>) {
  let text = ""
  const points: unknown[] = []
  let last: AnswerEvent | undefined
  for await (const event of events) {
    if (event.type === "text.delta") text += event.text
    if (event.type === "points.delta") points.push(...event.points)
    expect(last?.type).not.toBe("final")
    last = event
  }
  if (last?.type !== "final") throw new Error("no final event")
  return { text, points, answer: last.answer }
}

describe("oneByOne", () => {
  const texts = ["<point> (1,2) </point>", "", "😀 no <point> (1) </point>", "<point> (3,4) </point>"]

  it("makes one answer of several", async () => {
    const { text, points, answer: whole } = await collect(oneByOne(texts.map((text) => answer(text))))
    expect(text).toBe("<point> (1,2) </point> 😀 no <point> (1) </point> <point> (3,4) </point>")
    const parsed = parse(text)
    expect(whole).toMatchObject({
      text,
      points: parsed.leaves,
      issues: parsed.issues,
      finishReason: "stop",
      usage: { prompt_tokens: 40, image_tokens: 16, completion_tokens: 28 },
      timings: { load_ms: 5, vision_ms: 4, prefill_ms: 8, decode_ms: 12 },
    })
    expect(points).toEqual(parsed.leaves)
    expect(whole.pixels).toHaveLength(2)
    expect(parsed.issues).toHaveLength(1)
  })

  it("says which one did not come to its end, and ends at one that was broken off", async () => {
    const cut = await collect(oneByOne([answer("a", "length"), answer("b")]))
    expect(cut.answer).toMatchObject({ text: "a b", finishReason: "length" })
    const broken = await collect(oneByOne([answer("a"), answer("b", "abort"), answer("c")]))
    expect(broken.answer).toMatchObject({ text: "a b", finishReason: "abort" })
  })

  it("keeps what was written when the next one is aborted before it begins", async () => {
    const next = () => Promise.reject(new IsaacError("aborted", "given up"))
    const aborted = (): AsyncIterable<AnswerEvent> => ({ [Symbol.asyncIterator]: () => ({ next }) })
    const { answer: whole } = await collect(oneByOne([answer("a"), aborted, answer("c")]))
    expect(whole).toMatchObject({ text: "a", finishReason: "abort" })
    await expect(collect(oneByOne([aborted]))).rejects.toMatchObject({ code: "aborted" })
  })
})
