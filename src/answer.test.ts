import { describe, expect, it } from "vitest"
import { type Answer, type AnswerEvent, AnswerWriter } from "./answer"

const engine = { model: "tiny", loadMs: 5 }
const report = {
  finishReason: "stop",
  stopped: null,
  promptTokens: 10,
  imageTokens: 4,
  reusedTokens: 0,
  completionTokens: 7,
  forcedTokens: 0,
  whole: true,
  visionMs: 1,
  prefillMs: 2,
  decodeMs: 3,
  seed: 1,
  heldText: "",
} as const

/** All events of a text that comes in pieces of `size`. */
function write(text: string, size: number, images = [{ width: 200, height: 100 }]): AnswerEvent[] {
  const writer = new AnswerWriter(images)
  const events: AnswerEvent[] = []
  for (let i = 0; i < text.length; i += size) events.push(...writer.push(text.slice(i, i + size)))
  events.push(...writer.end(engine, report))
  return events
}
const joined = (events: AnswerEvent[], type: "text.delta" | "reasoning.delta") =>
  events.map((event) => (event.type === type ? event.text : "")).join("")
const answerOf = (events: AnswerEvent[]): Answer => {
  const last = events.at(-1)!
  if (last.type !== "final") throw new Error(`the last event is ${last.type}`)
  return last.answer
}

describe("AnswerWriter", () => {
  const tags = '<point_box mention="cat"> (100,200) (500,1000) </point_box>'

  it.each([1, 3, 1000])("streams in pieces of %d what the final answer says", (size) => {
    const events = write(`<think>\nlook left\n</think>\n\nA cat: ${tags} and\n<point> (1,2) </point>`, size)
    const answer = answerOf(events)
    expect(answer.text).toBe(`A cat: ${tags} and\n<point> (1,2) </point>`)
    expect(answer.reasoning).toBe("look left")
    expect(joined(events, "text.delta")).toBe(answer.text)
    expect(joined(events, "reasoning.delta")).toBe(answer.reasoning)
    const deltas = events.flatMap((event) => (event.type === "points.delta" ? [event] : []))
    expect(deltas.flatMap(({ points }) => points)).toEqual(answer.points)
    expect(deltas.flatMap(({ pixels }) => pixels)).toEqual(answer.pixels)
    expect(answer.points).toEqual([
      { type: "box", x1: 100, y1: 200, x2: 500, y2: 1000, mention: "cat", t: null },
      { type: "point", x: 1, y: 2, mention: null, t: null },
    ])
    expect(answer.pixels[0]).toEqual({ ...answer.points[0], x1: 20, y1: 20, x2: 100, y2: 100, image: 0 })
    expect(events.filter(({ type }) => type === "final")).toHaveLength(1)
  })

  it("takes a blank <think> for none", () => {
    const answer = answerOf(write("<think>\n\n</think>\n\nyes", 2))
    expect(answer).toMatchObject({ text: "yes", reasoning: null, points: [], pixels: [], issues: [] })
  })

  it("reports the engine, usage and timings", () => {
    expect(answerOf(write("yes", 9))).toMatchObject({
      model: "tiny",
      usage: { prompt_tokens: 10, image_tokens: 4, completion_tokens: 7 },
      finishReason: "stop",
      timings: { load_ms: 5, vision_ms: 1, prefill_ms: 2, decode_ms: 3 },
    })
  })

  it("means the last of several pictures, and has no pixels without one", () => {
    const images = [
      { width: 10, height: 10 },
      { width: 1000, height: 2000 },
    ]
    expect(answerOf(write(tags, 5, images)).pixels[0]).toMatchObject({ image: 1, x1: 100, y2: 2000 })
    const none = answerOf(write(tags, 5, []))
    expect(none.points).toHaveLength(1)
    expect(none.pixels).toEqual([])
  })

  it("leaves a broken tag in the text and says so", () => {
    const answer = answerOf(write("<point> (1,) </point> ok", 4))
    expect(answer.text).toBe("<point> (1,) </point> ok")
    expect(answer.issues).toHaveLength(1)
    expect(answer.points).toEqual([])
  })

  it("without a report is an answer that was aborted before it began", () => {
    const events = [...new AnswerWriter([]).end(engine)]
    expect(answerOf(events)).toMatchObject({
      text: "",
      finishReason: "abort",
      usage: { prompt_tokens: 0, image_tokens: 0, completion_tokens: 0 },
    })
  })
})
