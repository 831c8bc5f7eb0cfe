import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import type { Answer, AnswerEvent, CaptionAnswer, CountAnswer } from "./answer"
import { loadEngine } from "./engine-node"
import type { AskOptions } from "./engine-options"
import type { AnswerProgress } from "./generate/generation"
import type { IsaacEngine, Task } from "./isaac"
import type { RgbImage } from "./processor"

const folder = fileURLToPath(new URL("../models/isaac-tiny/samples/", import.meta.url))
const samples: { image: string; width: number; height: number; objects: { name: string; box: number[] }[] }[] =
  JSON.parse(readFileSync(`${folder}samples.json`, "utf8"))
const picture = (number: number) => folder + samples[number - 1].image

async function answerOf(events: AsyncIterable<AnswerEvent>): Promise<Answer> {
  let last: AnswerEvent | undefined
  for await (const event of events) last = event
  if (last?.type !== "final") throw new Error(`the last event is ${last?.type}`)
  return last.answer
}

let engine: IsaacEngine
beforeAll(async () => {
  engine = await loadEngine("tiny")
})
afterAll(() => engine.dispose())
const respond = async (number: number, task: Task, options?: AskOptions) =>
  answerOf(engine.respond([picture(number)], task, options))

/** Rows that the decoder computes meanwhile. */
async function decoded(run: () => Promise<unknown>): Promise<number> {
  const forward = vi.spyOn(engine.model, "forward")
  try {
    await run()
    return forward.mock.calls.reduce(
      (sum, [input]) => sum + (input.inputsEmbeds?.shape[0] ?? input.inputIds?.length ?? 0),
      0,
    )
  } finally {
    forward.mockRestore()
  }
}

describe("the tasks", () => {
  it("find, count, read and describe", async () => {
    const detected = await respond(5, { task: "detect" })
    expect(detected.points.map(({ type, mention }) => `${type} ${mention}`)).toEqual([
      "box black star",
      "box green triangle",
      "box blue cross",
    ])
    const counted = (await respond(4, { task: "count", objects: "crosses" })) as CountAnswer
    expect(counted.count).toBe(2)
    const none = (await respond(4, { task: "count", objects: "rings" })) as CountAnswer
    expect(none.count).toBe(0)
    expect((await respond(10, { task: "ocr" })).text).toBe("STOP")
    const pointed = await respond(2, { task: "point", objects: "squares" })
    expect(pointed.points.map(({ type }) => type)).toEqual(["point", "point", "point"])
    const words = "A black star, a green triangle and a blue cross on a white background."
    const plain = (await respond(5, { task: "caption" })) as CaptionAnswer
    expect(plain).toMatchObject({ caption: words, text: words })
    const grounded = (await respond(5, { task: "caption" }, { expect: "box" })) as CaptionAnswer
    expect(grounded.points).toHaveLength(3)
    expect(grounded.caption).toBe(words)
  })

  it("ask the tiny model for one class after another, which it was trained on", async () => {
    const both = await respond(5, { task: "detect", classes: ["star", "cross"] })
    expect(both.points.map(({ mention }) => mention)).toEqual(["star", "cross"])
    const [star, cross] = [
      await respond(5, { task: "detect", classes: ["star"] }),
      await respond(5, { task: "detect", classes: ["cross"] }),
    ]
    expect(both.text).toBe(`${star.text} ${cross.text}`)
    expect(both.pixels).toEqual([...star.pixels, ...cross.pixels])
    expect(both.usage.completion_tokens).toBe(star.usage.completion_tokens + cross.usage.completion_tokens)
  })

  it("are guided to the kind and the classes that they ask for", async () => {
    const classes = ["circles", "squares"]
    const mentions = async (options?: AskOptions) =>
      (await respond(1, { task: "detect", classes }, options)).points.map(({ mention }) => mention)
    expect(new Set(await mentions())).toEqual(new Set(["circle", "square"]))
    expect(new Set(await mentions({ guided: true }))).toEqual(new Set(classes))
    const pointed = await respond(2, { task: "point", objects: "squares" }, { guided: true })
    expect(pointed.text).toBe((await respond(2, { task: "point", objects: "squares" })).text)
  })

  it("take examples, whose pictures are nobody's business", async () => {
    const { width, height, objects } = samples[4]
    const annotations = objects.map(({ name, box: [x1, y1, x2, y2] }) => ({
      type: "box" as const,
      ...{ x1: (x1 / 1000) * width, y1: (y1 / 1000) * height, x2: (x2 / 1000) * width, y2: (y2 / 1000) * height },
      mention: name,
    }))
    const inPixels = await respond(1, { task: "detect" }, { examples: [{ image: picture(5), annotations }] })
    const thousandths = objects.map(({ name, box: [x1, y1, x2, y2] }) => ({
      type: "box" as const,
      ...{ x1, y1, x2, y2 },
      mention: name,
    }))
    const examples = [{ image: picture(5), annotations: thousandths, units: "thousandths" as const }]
    const same = await respond(1, { task: "detect" }, { examples })
    expect(inPixels.text).toBe(same.text)
    expect(same.pixels.length).toBeGreaterThan(0)
    expect(same.pixels.every(({ image }) => image === 0)).toBe(true)
    const alone = await respond(1, { task: "detect" })
    expect(same.usage.image_tokens).toBeGreaterThan(alone.usage.image_tokens)
    const [first] = same.points
    const [pixel] = same.pixels
    if (first.type !== "box" || pixel.type !== "box") throw new Error("no box")
    expect(pixel.x1).toBeCloseTo((first.x1 / 1000) * samples[0].width, 6)
    // In a conversation they are pictures like others.
    const conversation = engine.session()
    const turn = await answerOf(conversation.respond([picture(1)], { task: "detect" }, { examples }))
    expect(turn.text).toBe(same.text)
    expect(turn.pixels[0].image).toBe(1)
    await conversation.dispose()
  })

  it("refuse examples that are none before they read a picture", async () => {
    const read = vi.spyOn(engine, "readImages")
    for (const examples of [
      "none",
      [null],
      [{ image: picture(1) }],
      [{ image: picture(1), annotations: [{ type: "mask" }] }],
      [{ image: picture(1), annotations: [], units: "inches" }],
    ]) {
      const options = { examples } as unknown as AskOptions
      await expect(respond(1, { task: "detect" }, options)).rejects.toMatchObject({ code: "bad_input" })
    }
    await expect(respond(1, { task: "detect", classes: [] })).rejects.toMatchObject({ code: "bad_input" })
    expect(read.mock.calls.every(([images]) => images[0] === picture(1) && images.length === 1)).toBe(true)
    read.mockRestore()
  })

  it("tell how far they are", async () => {
    const steps: AnswerProgress[] = []
    const answer = await respond(5, { task: "detect" }, { maxNewTokens: 50, onProgress: (step) => steps.push(step) })
    expect([...new Set(steps.map(({ stage }) => stage))]).toEqual(["pictures", "prompt", "answer"])
    const { prompt_tokens, completion_tokens } = answer.usage
    expect(steps.filter(({ stage }) => stage === "pictures").at(-1)).toMatchObject({ done: 1, total: 1 })
    expect(steps.filter(({ stage }) => stage === "prompt").at(-1)).toMatchObject({
      done: prompt_tokens,
      total: prompt_tokens,
    })
    expect(steps.at(-1)).toEqual({ stage: "answer", done: completion_tokens, total: 50 })
  })
})

describe("a view", () => {
  const questions = ["How many circles are there?", "What color is the largest square?", "Describe the image."]

  it("answers as if each question were asked alone, and computes what they share once", async () => {
    const view = engine.view([picture(1)])
    const first = await decoded(async () => expect((await answerOf(view.respond(ask(questions[0])))).text).not.toBe(""))
    const encode = vi.spyOn(engine.model, "encodeImages")
    const read = vi.spyOn(engine, "readImages")
    for (const question of questions) {
      let usage = { prompt_tokens: 0, completion_tokens: 0, image_tokens: 0 }
      let text = ""
      const rows = await decoded(async () => {
        const answer = await answerOf(view.respond(ask(question)))
        usage = answer.usage
        text = answer.text
      })
      const computed = rows - (usage.completion_tokens - 1)
      expect(computed).toBeLessThan(usage.prompt_tokens - usage.image_tokens)
      expect(rows).toBeLessThan(first)
      expect(text).toBe((await respond(1, ask(question))).text)
    }
    expect(encode).not.toHaveBeenCalled()
    expect(read.mock.calls).toHaveLength(questions.length) // those asked alone
    await view.dispose()
    encode.mockRestore()
    read.mockRestore()
  })

  it("takes questions of all kinds at once, and keeps what is computed of a few beginnings", async () => {
    const view = engine.view([picture(2)])
    const tasks: [Task, AskOptions?][] = [
      [ask("How many squares are there?")],
      [{ task: "detect", classes: ["square", "star"] }],
      [{ task: "count", objects: "squares" }],
      [{ task: "point", objects: "stars" }],
      [{ task: "detect" }, { expect: "polygon" }],
      [{ task: "caption" }, { system: "Be brief." }],
      [ask("Is there a star?"), { system: "Be honest." }],
      [ask("What shape is on the left?")],
    ]
    const { open } = engine.memory().sessions
    const together = await Promise.all(tasks.map(([task, options]) => answerOf(view.respond(task, options))))
    expect(engine.memory().sessions.open - open).toBe(4)
    for (const [i, [task, options]] of tasks.entries()) {
      expect(together[i].text).toBe((await respond(2, task, options)).text)
    }
    await view.dispose()
    expect(engine.memory().sessions.open).toBe(open)
  })

  it("answers a reader who asks in the middle of an answer, and one who stopped reading holds nobody up", async () => {
    const view = engine.view([picture(1)])
    const inside: string[] = []
    for await (const event of view.respond({ task: "detect" })) {
      if (event.type === "text.delta" && inside.length === 0) {
        inside.push((await answerOf(view.respond({ task: "detect" }))).text)
      }
    }
    const dropped = view.respond({ task: "detect" })
    await dropped.next()
    inside.push((await answerOf(view.respond({ task: "detect" }))).text)
    const alone = (await respond(1, { task: "detect" })).text
    expect(inside).toEqual([alone, alone])
    await view.dispose()
  })

  it("reads its pictures once for all that ask at once, and lets one that waits give up", async () => {
    const view = engine.view([picture(1)])
    const read = vi.spyOn(engine, "readImages")
    const controller = new AbortController()
    const all = ["Is there a star?", "Is there a ring?"].map((question) => answerOf(view.respond(ask(question))))
    const given = answerOf(view.respond(ask("Describe the image."), { signal: controller.signal }))
    controller.abort()
    expect((await given).finishReason).toBe("abort")
    for (const { usage } of await Promise.all(all)) expect(usage.image_tokens).toBeGreaterThan(0)
    expect(read).toHaveBeenCalledTimes(1)
    read.mockRestore()
    expect((await answerOf(view.respond(ask("Describe the image.")))).finishReason).toBe("stop")
    const { open } = engine.memory().sessions
    await view.dispose()
    expect(engine.memory().sessions.open).toBeLessThan(open)

    // Disposed of while it reads: no session stays open.
    const early = engine.view([picture(2)])
    const before = engine.memory().sessions.open
    const asked = answerOf(early.respond(ask("Is there a star?")))
    await early.dispose()
    await expect(asked).rejects.toMatchObject({ code: expect.stringMatching(/bad_input|aborted/) })
    expect(engine.memory().sessions.open).toBe(before)
  })

  it("goes on after an abort, an error and a reader who leaves", async () => {
    const view = engine.view([picture(1)])
    const signal = { aborted: false }
    for await (const event of view.respond({ task: "detect" }, { signal })) {
      if (event.type === "text.delta") signal.aborted = true
      if (event.type === "final") expect(event.answer.finishReason).toBe("abort")
    }
    for await (const event of view.respond({ task: "detect" })) if (event.type === "text.delta") break
    await expect(answerOf(view.respond(ask("?".repeat(20_000))))).rejects.toMatchObject({ code: "too_long" })
    expect((await answerOf(view.respond({ task: "detect" }))).text).toBe((await respond(1, { task: "detect" })).text)
    await view.dispose()
    await expect(answerOf(view.respond({ task: "detect" }))).rejects.toMatchObject({ code: "bad_input" })
  })

  it("of a picture that cannot be read says so at each question, and needs none", async () => {
    const view = engine.view([{ name: "x.png", bytes: new Uint8Array(9) }])
    await expect(answerOf(view.respond(ask("What?")))).rejects.toMatchObject({ code: "bad_image" })
    await expect(answerOf(view.respond(ask("What?")))).rejects.toMatchObject({ code: "bad_image" })
    await view.dispose()
    const blind = engine.view([])
    expect((await answerOf(blind.respond(ask("Is there a star?"), { maxNewTokens: 5 }))).usage.image_tokens).toBe(0)
    await expect(answerOf(blind.respond({ task: "detect" }))).rejects.toMatchObject({ code: "bad_input" })
    await blind.dispose()
    expect(() => engine.view("a.png" as unknown as RgbImage[])).toThrow(expect.objectContaining({ code: "bad_input" }))
  })
})

function ask(question: string): Task {
  return { task: "ask", question }
}
