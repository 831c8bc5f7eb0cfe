import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { hasAddon } from "../test/native-addon"
import type { Answer, AnswerEvent } from "./answer"
import { loadEngine } from "./engine-node"
import type { AskOptions, BackendChoice, Expect } from "./engine-options"
import type { IsaacEngine } from "./isaac"
import { parse } from "./perception/tags"

interface Sample {
  readonly image: string
  readonly question: string
  readonly hint: string | null
  readonly answer: string
}

const folder = fileURLToPath(new URL("../models/isaac-tiny/samples/", import.meta.url))
const samples: Sample[] = JSON.parse(readFileSync(`${folder}samples.json`, "utf8"))
const expectOf = ({ hint }: Sample) => (hint?.toLowerCase() ?? "text") as Expect

async function final(events: AsyncIterable<AnswerEvent>): Promise<Answer> {
  let answer: Answer | undefined
  for await (const event of events) if (event.type === "final") answer = event.answer
  return answer!
}

describe.each<BackendChoice>(hasAddon ? ["wasm", "native"] : ["wasm"])(
  "guided answers of the tiny model on %s",
  (backend) => {
    let engine: IsaacEngine
    beforeAll(async () => {
      engine = await loadEngine("tiny", { backend })
    })
    afterAll(() => engine.dispose())
    const ask = (sample: Sample, options: AskOptions) =>
      final(engine.ask([folder + sample.image], sample.question, { expect: expectOf(sample), ...options }))

    it.each(samples)("are what it says by itself of $image", async (sample) => {
      const free = await ask(sample, { logprobs: true })
      const guided = await ask(sample, { guided: true })
      const told = await ask(sample, { guided: true, logprobs: 2 })
      expect(guided.text).toBe(sample.answer)
      expect(guided.finishReason).toBe("stop")
      expect(guided.usage).toEqual(free.usage)
      expect(told.logprobs!.map(({ id }) => id)).toEqual(free.logprobs!.map(({ id }) => id))
      for (const [i, { logprob }] of told.logprobs!.entries()) expect(logprob).toBeCloseTo(free.logprobs![i].logprob, 3)
      expect(parse(guided.text).issues).toEqual([])
    })
  },
)
