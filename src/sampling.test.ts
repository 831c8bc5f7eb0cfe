/** What sampling options promise, with the built-in model, on every backend. */

import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { Answer, AnswerEvent } from "./answer"
import { loadEngine } from "./engine-node"
import type { AskOptions, BackendChoice } from "./engine-options"
import type { GeneratedToken } from "./generate/generation"
import type { IsaacEngine } from "./isaac"
import { IGNORED_LABEL } from "./model/loss"
import { createEvent, Stream, TensorStream } from "./stream"

const folder = fileURLToPath(new URL("../models/isaac-tiny/samples/", import.meta.url))
const samples: { image: string; question: string; prompt: string; answer: string }[] = JSON.parse(
  readFileSync(`${folder}samples.json`, "utf8"),
)
const square = folder + samples[0].image
const where = "Where is the orange square?"
const words = '<point_box mention="orange square"> (805,350) (940,520) </point_box>'

let engine: IsaacEngine
let reference: IsaacEngine
beforeAll(async () => {
  engine = await loadEngine("tiny")
  reference = await loadEngine("tiny", { backend: "reference" satisfies BackendChoice })
})
afterAll(() => Promise.all([engine.dispose(), reference.dispose()]))

async function finalOf(events: AsyncIterable<AnswerEvent>): Promise<Answer> {
  let answer: Answer | undefined
  for await (const event of events) if (event.type === "final") answer = event.answer
  return answer!
}
const ask = (question: string, options?: AskOptions, images: string[] = [square]) =>
  finalOf(engine.ask(images, question, options))

describe("a seed", () => {
  it.each<[string, AskOptions]>([
    ["temperature", { temperature: 1.5 }],
    ["minP", { temperature: 3, minP: 0.05 }],
    ["penalties", { temperature: 1, repetitionPenalty: 1.3, frequencyPenalty: 0.5, presencePenalty: -0.5 }],
    ["logitBias", { temperature: 1, logitBias: { "<": -100, " square": 5 } }],
    ["everything", { temperature: 2, topK: 50, topP: 0.95, minP: 0.01, repetitionPenalty: 1.1, logitBias: { 40: 2 } }],
    ["penalties without temperature", { repetitionPenalty: 1.2, presencePenalty: 1 }],
  ])("gives the same tokens on every backend: %s", async (_, options) => {
    const all = { ...options, seed: 11, maxNewTokens: 16, logprobs: true }
    const [a, b] = await Promise.all([engine, reference].map((on) => finalOf(on.ask([], "Tell me.", all))))
    expect(a.logprobs!.map(({ id }) => id)).toEqual(b.logprobs!.map(({ id }) => id))
    expect(a.logprobs!.length).toBeGreaterThan(4)
  })
})

describe("stop texts", () => {
  it("end inside of a tag, and the tag stays text", async () => {
    const answer = await ask(where, { expect: "box", stop: ["520", "nothing"] })
    expect(answer).toMatchObject({ text: words.slice(0, words.indexOf("520")), finishReason: "stop", stopped: "520" })
    expect(answer.points).toEqual([])
    expect((await ask(where, { expect: "box" })).stopped).toBeNull()
  })

  it("that were not complete when an answer was aborted: what was held back comes then", async () => {
    let asked = 0
    let most = Number.POSITIVE_INFINITY
    const signal = {
      get aborted() {
        return ++asked > most
      },
    }
    const options = { expect: "box", stop: `${words}!`, signal } as const
    expect((await ask(where, options)).text).toBe(words)
    most = Math.floor(0.9 * asked)
    asked = 0
    const { text, finishReason } = await ask(where, options)
    expect(finishReason).toBe("abort")
    expect(words.startsWith(text)).toBe(true)
    expect(text.length).toBeGreaterThan(10)
  })

  it("end inside of the reasoning", async () => {
    const answer = await ask(where, { expect: "box", stop: "</think>" })
    expect(answer).toMatchObject({ text: "", reasoning: null, finishReason: "stop", stopped: "</think>" })
  })

  it("leave a conversation with what was shown, and the next turn as if the answer had ended there by itself", async () => {
    const tokens = (await ask(where, { expect: "box", logprobs: true })).logprobs!.map(({ text }) => text)
    const kept = 18
    const stop = tokens.slice(kept, kept + 3).join("")
    const [conversation, other] = [engine.session(), reference.session()]
    const stopped = await finalOf(conversation.ask([square], where, { expect: "box", stop }))
    expect(stopped).toMatchObject({ stopped: stop, usage: { completion_tokens: kept + 3 } })
    const said = tokens.slice(0, kept).join("")
    expect(conversation.messages.at(-1)).toEqual({ role: "assistant", content: said })
    expect(`<think>\n\n</think>\n\n${stopped.text}`).toBe(said)

    // Another backend, which never computed the tokens of the stop text.
    await finalOf(other.ask([square], where, { expect: "box", maxNewTokens: kept }))
    expect(other.messages.at(-1)!.content).toBe(said)
    const next = { logprobs: true, maxNewTokens: 20 }
    const [a, b] = await Promise.all(
      [conversation, other].map((on) => finalOf(on.ask([], "Is there a red circle?", next))),
    )
    expect(a.text).toBe(b.text)
    for (const [i, { logprob }] of a.logprobs!.entries()) expect(logprob).toBeCloseTo(b.logprobs![i].logprob, 3)
    await conversation.dispose()
    await other.dispose()
  })
})

describe("logprobs of an answer", () => {
  it("have every token, those of the reasoning and the end too, with alternatives", async () => {
    const { logprobs, usage } = await ask(where, { expect: "box", logprobs: 2 })
    expect(logprobs).toHaveLength(usage.completion_tokens)
    const text = new TextDecoder().decode(Uint8Array.from(logprobs!.flatMap(({ bytes }) => [...bytes])))
    expect(text).toBe(`<think>\n\n</think>\n\n${words}<|im_end|>`)
    for (const { id, logprob, top } of logprobs!) {
      expect(top).toHaveLength(2)
      expect(top![0]).toMatchObject({ id, logprob }) // greedy
      expect(top![1].logprob).toBeLessThanOrEqual(logprob)
    }
    expect(await ask(where, { expect: "box" })).not.toHaveProperty("logprobs")
  })
})

describe("score", () => {
  it("of an answer is what its generation said, with its thoughts or behind them, and by its ids", async () => {
    const { logprobs } = await ask(where, { expect: "box", logprobs: true })
    const told = logprobs!.map(({ logprob }) => logprob)
    const thought = logprobs!.findIndex(({ text }) => text === "</think>") + 2
    const cases: [string | number[], number[]][] = [
      [`<think>\n\n</think>\n\n${words}`, told.slice(0, -1)],
      [words, told.slice(thought, -1)],
      [logprobs!.map(({ id }) => id), told],
    ]
    for (const [answer, wanted] of cases) {
      const { loss, perplexity, tokens, usage } = await engine.score([square], where, answer, { expect: "box" })
      expect(tokens).toHaveLength(wanted.length)
      for (const [i, { logprob }] of tokens.entries()) expect(logprob).toBeCloseTo(wanted[i], 3)
      expect(loss).toBeCloseTo(-wanted.reduce((a, b) => a + b) / wanted.length, 4)
      expect(perplexity).toBeCloseTo(Math.exp(loss), 10)
      expect(usage.completion_tokens).toBe(wanted.length)
      if (typeof answer === "string") expect(tokens.map(({ text }) => text).join("")).toBe(answer)
    }
  })

  it("is the loss of the model", async () => {
    const { prompt } = samples[0]
    const answer = "There is a 語 red circle."
    const inputs = await engine.processor({ text: `${prompt}<think>\n\n</think>\n\n`, images: [square] })
    const ids = engine.tokenizer.encode(answer)
    const events = [...inputs.tensorStream.events, createEvent({ type: "text", time: 99, data: [...ids] })]
    const tensorStream = new TensorStream([new Stream(events, ["text", "image"])])
    const [, tokens] = tensorStream.shape
    const labels = new Int32Array(tokens).fill(IGNORED_LABEL)
    labels.set(ids, tokens - ids.length)
    const loss = await engine.model.forward({ tensorStream, labels, logits: "none" }).loss
    const { question } = samples[0]
    const score = await engine.score([square], question, answer, { expect: "box" })
    expect(score.usage.prompt_tokens).toBe(inputs.inputIds.length)
    expect(score.loss).toBeCloseTo(loss!, 4)
  })

  it("takes special tokens for what they look like", async () => {
    const { tokens } = await engine.score([], "Hi", "a<|im_end|>b")
    expect(tokens.map(({ text }) => text).join("")).toBe("a<|im_end|>b")
    expect(tokens.some(({ id }) => engine.tokenizer.isSpecial(id))).toBe(false)
  })

  it("in a conversation leaves it as it is, and computes its past once", async () => {
    const conversation = engine.session()
    await finalOf(conversation.ask([square], where, { expect: "box" }))
    const { messages } = conversation
    const [yes, no] = [
      await conversation.score([], "Is it orange?", "yes"),
      await conversation.score([], "Is it orange?", "no"),
    ]
    expect(yes.loss).not.toBe(no.loss)
    expect(conversation.messages).toBe(messages)
    await conversation.dispose()
  })

  it.each<[unknown, string, RegExp]>([
    ["", "bad_input", /no answer to score/],
    [[], "bad_input", /no answer to score/],
    [[768], "bad_input", /token 768; ids go from 0 to 767/],
    [[0.5], "bad_input", /string or an array of token ids/],
    [7, "bad_input", /the answer is a number/],
    [undefined, "bad_input", /the answer is a undefined/],
    ["word ".repeat(5000), "too_long", /a session takes \d+/],
  ])("refuses the answer %j", async (answer, code, message) => {
    const failure = await engine.score([], "Hi", answer as string).catch((error) => error)
    expect(failure).toMatchObject({ code, message: expect.stringMatching(message) })
  })
})

describe("candidates", () => {
  it("are whole answers, ranked, each as ask gives it with its seed", async () => {
    const options = { expect: "box", temperature: 1.5, seed: 3, stop: ")", logprobs: true } as const
    const candidates = await engine.candidates([square], where, { ...options, n: 4 })
    expect(candidates.map(({ sample }) => sample).sort()).toEqual([0, 1, 2, 3])
    expect(candidates.map(({ score }) => score)).toEqual(candidates.map(({ score }) => score).sort((a, b) => b - a))
    for (const { score, sample: _, seed, timings, logprobs, ...answer } of candidates) {
      const alone = await ask(where, { ...options, seed })
      expect({ ...alone, timings, logprobs }).toEqual({ ...answer, timings, logprobs })
      const sum = logprobs!.reduce((total, { logprob }) => total + logprob, 0)
      expect(score).toBeCloseTo(sum / answer.usage.completion_tokens, 10)
      expect(logprobs!.map(({ id }) => id)).toEqual(alone.logprobs!.map(({ id }) => id))
    }
  })

  it("of several are not merged, have no logprobs unless asked, and leave no session open", async () => {
    const open = engine.memory().sessions.open
    const same = await engine.candidates([square], where, { n: 3, temperature: 1e-4, expect: "box" })
    expect(same.map(({ text }) => text)).toEqual([words, words, words])
    expect(same.map(({ sample }) => sample)).toEqual([0, 1, 2])
    expect(same[0]).not.toHaveProperty("logprobs")
    expect(engine.memory().sessions.open).toBe(open)
  })

  it("in a conversation leave it as it is; asking with a seed goes on with one", async () => {
    const conversation = engine.session()
    await finalOf(conversation.ask([square], where, { expect: "box" }))
    const { messages } = conversation
    const [best] = await conversation.candidates([], "Describe the image.", { n: 2, temperature: 1, seed: 6 })
    expect(conversation.messages).toBe(messages)
    const { seed } = best
    const taken = await finalOf(conversation.ask([], "Describe the image.", { temperature: 1, seed }))
    expect(taken.text).toBe(best.text)
    expect(conversation.messages).toHaveLength(messages.length + 2)
    await conversation.dispose()
  })

  it("reject an abort and what is out of range", async () => {
    const open = engine.memory().sessions.open
    const controller = new AbortController()
    const running = engine.candidates([], "Tell me.", {
      n: 3,
      signal: controller.signal,
      logitBias: { "<|im_end|>": -100 },
    })
    setTimeout(() => controller.abort(), 30)
    await expect(running).rejects.toMatchObject({ code: "aborted" })
    await expect(engine.candidates([], "Hi", {} as { n: number })).rejects.toThrow(/n is undefined/)
    await expect(engine.candidates([], "Hi", { n: 2, temperature: 0 })).rejects.toMatchObject({ code: "bad_input" })
    expect(engine.memory().sessions.open).toBe(open)
  })
})

it("penalties and bias are felt in answers", async () => {
  const ids = (answer: Answer) => answer.logprobs!.map(({ id }) => id)
  const plain = await ask(where, { expect: "box", logprobs: true })
  const [first] = ids(plain)
  const banned = await ask(where, { expect: "box", logprobs: true, logitBias: { "<think>": -100 }, maxNewTokens: 20 })
  expect(plain.logprobs![0].text).toBe("<think>")
  expect(ids(banned)).not.toContain(first)
  const token: GeneratedToken["id"] = engine.tokenizer.encode(" red")[0]
  const forced = await ask(where, { logitBias: new Map([[token, 100]]), logprobs: true, maxNewTokens: 5 })
  expect(ids(forced)).toEqual([token, token, token, token, token])
  await expect(ask(where, { logitBias: { "no token": 1 } })).rejects.toThrow(/not one; give ids/)
})
