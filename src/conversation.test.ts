import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { Answer, AnswerEvent } from "./answer"
import type { Conversation } from "./conversation"
import { loadEngine } from "./engine-node"
import { IsaacError } from "./errors"
import type { IsaacEngine } from "./isaac"

const folder = fileURLToPath(new URL("../models/isaac-tiny/samples/", import.meta.url))
const samples: { image: string; question: string; answer: string }[] = JSON.parse(
  readFileSync(`${folder}samples.json`, "utf8"),
)
const picture = (number: number) => folder + samples[number - 1].image

async function answerOf(events: AsyncIterable<AnswerEvent>): Promise<Answer> {
  let last: AnswerEvent | undefined
  for await (const event of events) last = event
  if (last?.type !== "final") throw new Error(`the last event is ${last?.type}`)
  return last.answer
}
const say = async (conversation: Conversation, number: number | undefined, question: string) =>
  (await answerOf(conversation.ask(number === undefined ? [] : [picture(number)], question))).text

let engine: IsaacEngine
beforeAll(async () => {
  engine = await loadEngine("tiny")
})
afterAll(() => engine.dispose())

const TURNS: [number | undefined, string][] = [
  [7, "Is there a yellow diamond?"],
  [undefined, "Describe the image."],
  [1, "What color is the largest square?"],
  [undefined, "How many circles are there?"],
]

describe("several conversations at once", () => {
  it("say what each would say alone, also when there is memory for one of them only", async () => {
    const alone: string[][] = []
    for (let i = 0; i < 3; i++) {
      const conversation = engine.session()
      const said: string[] = []
      for (const [number, question] of TURNS) said.push(await say(conversation, number && number + i, question))
      await conversation.dispose()
      alone.push(said)
    }
    const block = engine.model.newCache(64).growth([0], 1)
    const small = await loadEngine("tiny", { sessionMemory: 5 * block })
    try {
      const conversations = alone.map(() => small.session())
      for (const [turn, [number, question]] of TURNS.entries()) {
        for (const [i, conversation] of conversations.entries()) {
          expect(await say(conversation, number && number + i, question)).toBe(alone[i][turn])
        }
      }
      const { sessions } = small.memory()
      expect(sessions.evictions).toBeGreaterThan(5)
      expect(sessions.bytes).toBeLessThanOrEqual(5 * block)
      expect(sessions).toMatchObject({ open: 3, limit: 5 * block })
      for (const conversation of conversations) await conversation.dispose()
      expect(small.memory().sessions).toMatchObject({ open: 0, bytes: 0 })
    } finally {
      await small.dispose()
    }
  })

  it("of which eight ask about one picture share it, and only one looks at it", async () => {
    const questions = ["Describe the image.", "How many circles are there?", "Is there a red circle?", "What is left?"]
    const alone: string[] = []
    for (const question of questions) {
      const conversation = engine.session()
      await say(conversation, 9, "Is there a star?")
      alone.push(await say(conversation, undefined, question))
      await conversation.dispose()
    }
    const parent = engine.session()
    await say(parent, 9, "Is there a star?")
    const before = engine.memory().sessions.bytes
    const forks = [...questions, ...questions].map(() => parent.fork())
    expect(engine.memory().sessions.bytes).toBe(before)
    const answers = await Promise.all(forks.map((fork, i) => answerOf(fork.ask([], questions[i % 4]))))
    expect(answers.map(({ text }) => text)).toEqual([...alone, ...alone])
    for (const { timings } of answers) expect(timings.vision_ms).toBe(0)
    for (const conversation of [forks[3], parent, ...forks]) await conversation.dispose()
    expect(engine.memory().sessions.bytes).toBe(0)
  })
})

describe("a conversation that is answering", () => {
  it("takes no second question, is not saved, and forks from before that question", async () => {
    const conversation = engine.session()
    await say(conversation, 7, "Is there a yellow diamond?")
    const known = conversation.messages
    const running = conversation.ask([], "Describe the image.")[Symbol.asyncIterator]()
    await running.next()
    await expect(say(conversation, undefined, "And now?")).rejects.toThrow(/answering already/)
    await expect(engine.sessionBytes(conversation)).rejects.toThrow(/answering already/)
    const fork = conversation.fork()
    expect(fork.messages).toEqual(known)
    expect(fork.length).toBeGreaterThan(0)
    let step = await running.next()
    while (step.value?.type !== "final") step = await running.next()
    await running.next()
    const { answer } = step.value
    expect(conversation.messages.at(-1)).toMatchObject({ role: "assistant" })
    expect(conversation.messages.length).toBe(known.length + 2)
    // The fork goes on by itself.
    expect(await say(fork, undefined, "Describe the image.")).toBe(answer.text)
    await fork.dispose()
    await conversation.dispose()
  })

  it("refuses a question that comes while the first one's pictures are still being read", async () => {
    const conversation = engine.session()
    const first = answerOf(conversation.ask([picture(7)], "Is there a yellow diamond?"))
    await expect(say(conversation, 1, "What is this?")).rejects.toThrow(/answering already/)
    expect((await first).text).toBe(samples[6].answer)
    expect(conversation.messages.filter(({ role }) => role === "assistant")).toHaveLength(1)
    await conversation.dispose()
  })
})

it("gives its memory to a forward pass that needs it, when it is idle", async () => {
  const small = await loadEngine("tiny", { backend: "wasm", threads: 1 })
  const conversation = small.session()
  await say(conversation, 7, "Is there a yellow diamond?")
  expect(conversation.length).toBeGreaterThan(0)
  let tries = 0
  const ids = small.compute(() => {
    if (++tries === 1) throw new IsaacError("out_of_memory", "made up")
    return small.model.forward({ inputIds: Int32Array.of(1, 2), logits: "last" })
  })
  small.model.backend.free(ids.logits!)
  expect([tries, conversation.length]).toEqual([2, 0])
  await small.dispose()
})
