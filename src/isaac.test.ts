import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { Answer, AnswerEvent } from "./answer"
import { loadEngine } from "./engine-node"
import type { IsaacEngine } from "./isaac"

const samplesFolder = fileURLToPath(new URL("../models/isaac-tiny/samples/", import.meta.url))
const samples: { image: string; question: string; hint: string | null; answer: string; prompt: string }[] = JSON.parse(
  readFileSync(`${samplesFolder}samples.json`, "utf8"),
)

async function final(events: AsyncIterable<AnswerEvent>): Promise<Answer> {
  for await (const event of events) {
    if (event.type === "final") return event.answer
  }
  throw new Error("no final event")
}

describe.each(["reference", "wasm"] as const)("the tiny model on %s", (backend) => {
  let engine: IsaacEngine
  beforeAll(async () => {
    engine = await loadEngine("tiny", { backend })
  })
  afterAll(() => engine.dispose())

  it.each(samples)("answers $question", async ({ image, question, hint, answer }) => {
    const expectKind = (hint?.toLowerCase() ?? "text") as "text" | "box"
    const got = await final(engine.ask([samplesFolder + image], question, { expect: expectKind }))
    expect(got.text).toBe(answer)
  })
})
