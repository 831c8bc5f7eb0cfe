import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { z } from "zod"
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

    it("parse without an issue when they are drawn, and point at the classes asked for", async () => {
      const classes = ["red circle", "yellow star", "black cross"]
      const options: AskOptions[] = [
        { guided: { classes, kinds: ["box"], text: false } },
        { guided: { classes } },
        { guided: true },
      ]
      let leaves = 0
      for (const [i, option] of options.entries()) {
        for (const temperature of [1, 3]) {
          const answer = await ask(samples[11], { ...option, temperature, seed: 7 * i, maxNewTokens: 80 })
          expect(answer.issues).toEqual([])
          expect(parse(answer.text).issues).toEqual([])
          if (i < 2) for (const { mention } of answer.points) expect(classes).toContain(mention)
          leaves += answer.points.length
        }
      }
      expect(leaves).toBeGreaterThan(3)
    })

    it("are cut at any length and parse", async () => {
      for (let most = 1; most < 60; most += 6) {
        const answer = await ask(samples[1], { guided: true, maxNewTokens: most })
        expect(answer.issues, answer.text).toEqual([])
        expect(answer.usage.completion_tokens).toBeLessThanOrEqual(most)
      }
    })

    it("are documents of a schema", async () => {
      const schema = {
        type: "object",
        properties: {
          shape: { enum: ["circle", "square", "star"] },
          certain: { type: "boolean" },
          words: { type: "array", items: { type: "string", maxLength: 8 }, maxItems: 3 },
        },
        required: ["shape", "words"],
        additionalProperties: false,
      }
      const valid = (json: unknown) => z.fromJSONSchema(schema as never).safeParse(json).success
      for (const options of [{}, { temperature: 1, seed: 1 }, { temperature: 3, seed: 2 }, { maxNewTokens: 40 }]) {
        const { json, text, points, finishReason } = await ask(samples[0], { schema, ...options })
        expect(valid(json), text).toBe(true)
        expect(JSON.parse(text)).toEqual(json)
        expect(points).toEqual([])
        if (!("maxNewTokens" in options)) expect(finishReason).toBe("stop")
      }
      const short = await ask(samples[0], { schema, maxNewTokens: 6 })
      expect(short.finishReason).toBe("length")
      expect(short.json).toBeUndefined()
      const [{ image, question }] = samples
      for (const { json, text } of await engine.candidates([folder + image], question, { schema, n: 3, seed: 3 })) {
        expect(valid(json), text).toBe(true)
      }
    })

    it("keep what a document says as it was written", async () => {
      const said = ["two  blanks", "<think>no</think>", "<point> (1) </point>", '\\ " é 👍 <|im_end|>']
      const { json, text, reasoning, issues, points } = await ask(samples[0], { schema: { const: said } })
      expect(json).toEqual(said)
      expect(JSON.parse(text)).toEqual(said)
      expect({ reasoning, issues, points }).toEqual({ reasoning: null, issues: [], points: [] })
    })

    it("end at an abort with what was written", async () => {
      const controller = new AbortController()
      const schema = { type: "array", items: { type: "integer" }, minItems: 30 }
      let answer: Answer | undefined
      let deltas = 0
      const [{ image, question }] = samples
      for await (const event of engine.ask([folder + image], question, { schema, signal: controller.signal })) {
        if (event.type === "text.delta" && ++deltas === 5) controller.abort()
        if (event.type === "final") answer = event.answer
      }
      expect(answer?.finishReason).toBe("abort")
      expect(answer?.json).toBeUndefined()
      expect(answer?.text).toMatch(/^\[-?\d/)
    })

    it("refuse rules that are none before anything is computed", async () => {
      await expect(ask(samples[0], { guided: { kinds: [] } })).rejects.toMatchObject({ code: "bad_input" })
      await expect(ask(samples[0], { schema: { $ref: "#" } })).rejects.toMatchObject({ code: "bad_input" })
      await expect(ask(samples[0], { schema: { enum: [1n] } })).rejects.toMatchObject({ code: "bad_input" })
      await expect(ask(samples[0], { schema: true, guided: true })).rejects.toThrow(/not to both/)
    })
  },
)
