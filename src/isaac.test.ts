import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { checkpointFiles, ODD_CONFIG, randomTensors } from "../test/random-checkpoint"
import type { Answer, AnswerEvent } from "./answer"
import { loadEngine, nodePlatform, openModel } from "./engine-node"
import type { BackendChoice, Expect } from "./engine-options"
import { IsaacEngine } from "./isaac"
import type { FileSet } from "./weights/source"

interface Sample {
  readonly image: string
  readonly question: string
  readonly hint: string | null
  readonly prompt: string
  readonly answer: string
}

const folder = fileURLToPath(new URL("../models/isaac-tiny/samples/", import.meta.url))
const samples: Sample[] = JSON.parse(readFileSync(`${folder}samples.json`, "utf8"))
const picture = (number: number) => folder + samples[number - 1].image
const expectOf = ({ hint }: Sample) => (hint?.toLowerCase() ?? "text") as Expect

async function collect(events: AsyncIterable<AnswerEvent>): Promise<{ events: AnswerEvent[]; answer: Answer }> {
  const all: AnswerEvent[] = []
  for await (const event of events) all.push(event)
  const last = all.at(-1)
  if (last?.type !== "final") throw new Error(`the last event is ${last?.type}`)
  return { events: all, answer: last.answer }
}

// Plain loops take a second for each picture: a few are enough there.
const choices: [BackendChoice, Sample[]][] = [
  ["auto", samples],
  ["reference", samples.filter(({ answer }) => answer.length < 40).slice(0, 3)],
]

describe.each(choices)("the tiny model on %s", (backend, asked) => {
  let engine: IsaacEngine
  beforeAll(async () => {
    engine = await loadEngine("tiny", { backend })
  })
  afterAll(() => engine.dispose())

  it.each(asked)("answers $image as stored", async (sample) => {
    const { events, answer } = await collect(
      engine.ask([folder + sample.image], sample.question, { expect: expectOf(sample) }),
    )
    expect(answer).toMatchObject({
      text: sample.answer,
      model: "tiny",
      finishReason: "stop",
      reasoning: null,
      issues: [],
    })
    expect(events.map((event) => (event.type === "text.delta" ? event.text : "")).join("")).toBe(sample.answer)
    expect(answer.pixels).toHaveLength(answer.points.length)
    expect(answer.usage.image_tokens).toBeGreaterThan(20)
    const inputs = await engine.processor({ text: sample.prompt, images: [folder + sample.image] })
    expect(answer.usage.prompt_tokens).toBe(inputs.inputIds.length)
  })
})

describe("IsaacEngine", () => {
  let engine: IsaacEngine
  beforeAll(async () => {
    engine = await loadEngine("tiny")
  })
  afterAll(() => engine.dispose())
  const ask = async (...args: Parameters<IsaacEngine["ask"]>) => (await collect(engine.ask(...args))).answer

  it("answers from text alone", async () => {
    const answer = await ask([], "How many circles are there?", { maxNewTokens: 20 })
    expect(answer.usage.image_tokens).toBe(0)
    expect(answer.usage.completion_tokens).toBeGreaterThan(0)
    expect(answer.pixels).toEqual([])
  })

  it("takes several pictures, of any kind, in their order", async () => {
    const bytes = readFileSync(picture(1))
    const white = { width: 70, height: 40, data: new Uint8Array(70 * 40 * 3).fill(255) }
    const answer = await ask([white, bytes, picture(1)], "Where is the orange square?", { expect: "box" })
    expect(answer.usage.image_tokens).toBeGreaterThan(84)
    for (const { image } of answer.pixels) expect(image).toBe(2)
  })

  it("sees a picture once, however often it is asked about", async () => {
    await ask([picture(9)], "Describe the image.")
    const again = await ask([picture(9)], "Is there a red circle?")
    expect(again.timings.vision_ms).toBe(0)
    expect(again.usage.image_tokens).toBeGreaterThan(0)
  })

  it("processes raw text and generates the stored answer from it, with the empty thoughts that come first", async () => {
    const { prompt, image, answer } = samples[6]
    const inputs = await engine.processor({ text: prompt, images: [folder + image] })
    let words = ""
    const generation = engine.generate(inputs)
    for await (const { text } of generation) words += text
    expect(words).toBe(`<think>\n\n</think>\n\n${answer}`)
    expect(generation.report).toMatchObject({ finishReason: "stop", promptTokens: inputs.inputIds.length })
  })

  it("refuses what it cannot do, in an event and by throwing", async () => {
    const events: AnswerEvent[] = []
    const failure = await (async () => {
      for await (const event of engine.ask(["/no/such.png"], "What?")) events.push(event)
    })().catch((error) => error)
    expect(failure).toMatchObject({ code: "not_found" })
    expect(events).toEqual([{ type: "error", error: { code: "not_found", message: failure.message } }])
    await expect(ask([picture(1)], "Where?", { expect: "mask" as Expect })).rejects.toMatchObject({ code: "bad_input" })
    await expect(ask([], "")).rejects.toMatchObject({ code: "bad_input" })
    await expect(ask([], "word ".repeat(3000))).rejects.toMatchObject({ code: "too_long" })
    await expect(ask([], "Hi", { temperature: -1 })).rejects.toMatchObject({ code: "bad_input" })
  })

  it("answers an abort with what was written till then", async () => {
    const before = await ask([picture(1)], "Where?", { signal: AbortSignal.abort() })
    expect(before).toMatchObject({ finishReason: "abort", text: "", usage: { completion_tokens: 0 } })
    const controller = new AbortController()
    let text = ""
    for await (const event of engine.ask([picture(12)], "Detect everything.", {
      expect: "box",
      signal: controller.signal,
    })) {
      if (event.type === "text.delta") {
        text += event.text
        controller.abort()
      }
      if (event.type === "final") expect(event.answer).toMatchObject({ finishReason: "abort", text })
    }
    expect(samples[11].answer.startsWith(text.trim())).toBe(true)
  })

  it("runs several answers side by side", async () => {
    const answers = await Promise.all(
      samples.slice(4, 9).map((sample) => ask([folder + sample.image], sample.question, { expect: expectOf(sample) })),
    )
    expect(answers.map(({ text }) => text)).toEqual(samples.slice(4, 9).map(({ answer }) => answer))
  })
})

describe("a conversation", () => {
  let engine: IsaacEngine
  beforeAll(async () => {
    engine = await loadEngine("tiny")
  })
  afterAll(() => engine.dispose())

  it("remembers pictures and answers, and computes what they share once", async () => {
    const conversation = engine.session()
    const first = await collect(conversation.ask([picture(7)], "Is there a yellow diamond?"))
    expect(first.answer.text).toBe(samples[6].answer)
    const held = conversation.length
    const second = await collect(conversation.ask([], "Describe the image."))
    expect(second.answer.usage.image_tokens).toBe(first.answer.usage.image_tokens)
    expect(second.answer.usage.prompt_tokens).toBeGreaterThan(held)
    expect(second.answer.timings.vision_ms).toBe(0)
    expect(conversation.messages.map(({ role }) => role)).toEqual(["user", "user", "assistant", "user", "assistant"])

    // The same conversation from scratch says the same.
    const fresh = engine.session()
    await collect(fresh.ask([picture(7)], "Is there a yellow diamond?"))
    expect((await collect(fresh.ask([], "Describe the image."))).answer.text).toBe(second.answer.text)
    await fresh.dispose()
    await conversation.dispose()
  })

  it("remembers a turn whose reader left at its final event, and is free after one left before", async () => {
    const conversation = engine.session()
    for await (const { type } of conversation.ask([picture(7)], "Is there a yellow diamond?")) {
      if (type === "text.delta") break
    }
    expect(conversation.messages).toEqual([])
    for await (const { type } of conversation.ask([picture(7)], "Is there a yellow diamond?")) {
      if (type === "final") break
    }
    expect(conversation.messages.map(({ role }) => role)).toEqual(["user", "user", "assistant"])
    await conversation.dispose()
  })

  it("takes another picture in a later turn", async () => {
    const conversation = engine.session()
    await collect(conversation.ask([picture(9)], "Describe the image."))
    const { answer } = await collect(conversation.ask([picture(1)], "Where is the orange square?", { expect: "box" }))
    const shown = conversation.messages.flatMap(({ content }) => (typeof content === "string" ? [] : content))
    expect(shown).toEqual([
      { type: "image", image: 0 },
      { type: "image", image: 1 },
    ])
    expect(answer.usage.image_tokens).toBe(30 + 42)
    for (const { image } of answer.pixels) expect(image).toBe(1)
    await conversation.dispose()
  })

  it("forgets a turn that was aborted, and answers rightly afterwards", async () => {
    const conversation = engine.session()
    const controller = new AbortController()
    for await (const { type } of conversation.ask([picture(12)], "Detect everything.", { signal: controller.signal })) {
      if (type === "text.delta") controller.abort()
    }
    expect(conversation.messages).toEqual([])
    const { answer } = await collect(conversation.ask([picture(12)], "Detect everything.", { expect: "box" }))
    expect(answer.text).toBe(samples[11].answer)
    await conversation.dispose()
  })

  it("goes on twice after a fork", async () => {
    const conversation = engine.session()
    await collect(conversation.ask([picture(7)], "Is there a yellow diamond?"))
    const fork = conversation.fork()
    const [a, b] = await Promise.all([
      collect(conversation.ask([], "Describe the image.")),
      collect(fork.ask([], "Describe the image.")),
    ])
    expect(a.answer.text).toBe(b.answer.text)
    expect(fork.messages).toEqual(conversation.messages)
    await fork.dispose()
    await conversation.dispose()
  })
})

describe("loading", () => {
  it("takes ORG/NAME from the Hub's cache, and no path for one", async () => {
    vi.stubEnv("HF_HUB_OFFLINE", "1")
    vi.stubEnv("HF_HUB_CACHE", "/no/such/cache")
    try {
      await expect(openModel("PerceptronAI/Isaac-0.1")).rejects.toMatchObject({
        code: "not_found",
        message: expect.stringContaining("HF_HUB_OFFLINE"),
      })
    } finally {
      vi.unstubAllEnvs()
    }
    await expect(openModel("/no/such/folder")).rejects.toMatchObject({
      code: "not_found",
      message: expect.stringContaining("is not a folder"),
    })
  })

  it("refuses a tokenizer of another model", async () => {
    const tiny = await openModel("tiny")
    const small = checkpointFiles(ODD_CONFIG, randomTensors(ODD_CONFIG))
    const from = (file: string) => (/token|vocab|merges/.test(file) ? tiny : small)
    const mixed: FileSet = { name: "mixed", has: (file) => from(file).has(file), open: (file) => from(file).open(file) }
    await expect(IsaacEngine.load(mixed, nodePlatform(), { backend: "reference" })).rejects.toMatchObject({
      code: "bad_checkpoint",
      message: expect.stringMatching(/768 ids.* 97 rows/),
    })
  })

  it("tells its progress, and refuses options that make no sense", async () => {
    const stages: string[] = []
    const engine = await loadEngine("tiny", { maxContext: 128, onProgress: ({ stage }) => stages.push(stage) })
    expect(stages[0]).toBe("backend")
    expect(stages.at(-1)).toBe("weights")
    expect(engine.info).toMatchObject({ model: "tiny", maxContext: 128, dtype: "bf16", kvDtype: "f32" })
    await expect(engine.processor({ text: "a b c d ".repeat(100) })).rejects.toMatchObject({ code: "too_long" })
    await engine.dispose()
    await engine.dispose()
    await expect(collect(engine.ask([], "Hi"))).rejects.toThrow(/disposed/)
    for (const maxContext of [0, 1.5, 4096]) {
      await expect(loadEngine("tiny", { maxContext })).rejects.toMatchObject({ code: "bad_input" })
    }
    await expect(loadEngine("tiny", { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "aborted" })
  })
})
