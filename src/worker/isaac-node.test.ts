/** The public class over a real worker thread: runs the built package, since Node 20 starts no worker from TypeScript. */

import { existsSync, readFileSync } from "node:fs"
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type BuiltPackage, buildPackage } from "../../test/built-package"
import type * as IsaacVlm from "../index"

type Isaac = IsaacVlm.Isaac
type AnswerEvent = IsaacVlm.AnswerEvent

const folder = fileURLToPath(new URL("../../models/isaac-tiny/samples/", import.meta.url))
const samples: { image: string; question: string; hint: string | null; prompt: string; answer: string }[] = JSON.parse(
  readFileSync(`${folder}samples.json`, "utf8"),
)
const picture = (number: number) => folder + samples[number - 1].image

let built: BuiltPackage
let vlm: typeof IsaacVlm
beforeAll(async () => {
  built = await buildPackage()
  vlm = await import(/* @vite-ignore */ pathToFileURL(join(built.folder, "dist", "index.js")).href)
}, 60_000)
afterAll(() => built.remove())

/** Plain loops in TypeScript: slow enough that there is something to interrupt. */
const slow = { backend: "reference" } as const
const longText = "word ".repeat(1200)

describe.each([true, false])("Isaac, worker: %j", (worker) => {
  let isaac: Isaac
  beforeAll(async () => {
    isaac = await vlm.Isaac.load("tiny", { worker, maxContext: 2048 })
  })
  afterAll(() => isaac.dispose())

  it("answers as stored, to a reader and to who waits", async () => {
    const { question, answer } = samples[11]
    const running = isaac.ask([picture(12)], question, { expect: "box" })
    const events: AnswerEvent[] = []
    for await (const event of running) events.push(event)
    const whole = await running
    expect(whole.text).toBe(answer)
    expect(events.map((event) => (event.type === "text.delta" ? event.text : "")).join("")).toBe(answer)
    expect(events.flatMap((event) => (event.type === "points.delta" ? event.points : []))).toEqual(whole.points)
    expect(events.at(-1)).toEqual({ type: "final", answer: whole })
    expect(isaac.info).toMatchObject({ model: "tiny", maxContext: 2048 })
  })

  it("answers several at once, each its own", async () => {
    const asked = samples.slice(4, 9)
    const answers = await Promise.all(
      asked.map(({ image, question, hint }) =>
        isaac.ask([folder + image], question, { expect: hint === "POINT" ? "point" : "text" }),
      ),
    )
    expect(answers.map(({ text }) => text)).toEqual(asked.map(({ answer }) => answer))
  })

  it("answers without pictures, about two, and about bytes that are part of something larger", async () => {
    expect((await isaac.ask([], "How many circles are there?", { maxNewTokens: 9 })).usage.image_tokens).toBe(0)
    const { question, answer } = samples[0]
    const bytes = readFileSync(picture(1))
    const padded = new Uint8Array(bytes.length + 100)
    padded.set(bytes, 50)
    const view = padded.subarray(50, 50 + bytes.length)
    expect((await isaac.ask([view], question, { expect: "box" })).text).toBe(answer)
    const two = await isaac.ask([pathToFileURL(picture(9)), view], question, { expect: "box" })
    expect(two.usage.image_tokens).toBe(30 + 42)
    for (const { image } of two.pixels) expect(image).toBe(1)
  })

  it("describes, finds, reads, counts and points, of a picture or a list of one, to readers and to who waits", async () => {
    const words = "A black star, a green triangle and a blue cross on a white background."
    const captioned = await isaac.caption(picture(5), { style: "detailed" })
    expect(captioned.caption).toBe(words)
    const found = isaac.detect([readFileSync(picture(5))], { classes: ["star", "cross"] })
    const mentions: (string | null)[] = []
    for await (const event of found) {
      if (event.type === "points.delta") mentions.push(...event.pixels.map(({ mention }) => mention))
    }
    expect(mentions).toEqual(["star", "cross"])
    expect((await found).points.map(({ mention }) => mention)).toEqual(mentions)
    expect((await isaac.ocr(pathToFileURL(picture(10)), { format: "markdown" })).text).toBe("STOP")
    for await (const event of isaac.count(picture(4), "crosses")) {
      if (event.type === "final") expect(event.answer.count).toBe(2)
    }
    const pointed = await isaac.point(picture(2), "squares", { expect: "box" })
    expect(pointed.points.map(({ type }) => type)).toEqual(["box", "box", "box"])
    const steps: IsaacVlm.AnswerProgress[] = []
    await isaac.ask(picture(6), "Describe the image.", { onProgress: (step) => steps.push(step) })
    expect(new Set(steps.map(({ stage }) => stage))).toEqual(new Set(["pictures", "prompt", "answer"]))
  })

  it("answers prompts of one's own, and learns from examples", async () => {
    const { question, answer } = samples[0]
    const { text, image, user, box } = vlm
    // The tiny model was trained on turns of their own, mostly.
    const nodes = [user(image(picture(1))), user(text(question))]
    expect((await isaac.prompt(nodes, { expect: "box" })).text).toBe(answer)
    const joined = await isaac.prompt([image(pathToFileURL(picture(1))), question], { expect: "box" })
    expect(joined.points).toHaveLength(1)
    const annotations = [box(10, 10, 60, 60, { mention: "black star" })]
    const shown = await isaac.detect(picture(1), { examples: [{ image: pathToFileURL(picture(5)), annotations }] })
    expect(shown.pixels.map(({ image }) => image)).toContain(0)
    await expect(isaac.prompt([])).rejects.toMatchObject({ code: "bad_input" })
    await expect(isaac.prompt([box(1, 2, 3, 4), undefined as never])).rejects.toMatchObject({ code: "bad_input" })
    await expect(isaac.detect(picture(1), { examples: {} as never })).rejects.toMatchObject({ code: "bad_input" })
  })

  it("answers many questions about one picture, which it looks at once", async () => {
    const view = isaac.view(picture(1))
    const first = await view.ask(samples[0].question, { expect: "box" })
    expect(first.text).toBe(samples[0].answer)
    const [again, counted, detected] = await Promise.all([
      view.ask(samples[0].question, { expect: "box" }),
      view.count("circles"),
      view.detect(),
    ])
    expect(again.text).toBe(first.text)
    for (const { timings } of [again, counted, detected]) expect(timings.vision_ms).toBe(0)
    expect(counted.count).toBeGreaterThan(0)
    await view.dispose()
    await expect(view.caption()).rejects.toMatchObject({ code: "bad_input" })
    await expect(isaac.view(["/no/such.png"]).ocr()).rejects.toMatchObject({ code: "not_found" })
  })

  it("has the boxes of the architecture one by one", async () => {
    const { prompt, image } = samples[6]
    const inputs = await isaac.processor({ text: prompt, images: [folder + image] })
    const tokens = inputs.inputIds.length
    const embeds = await isaac.model.embedStream(inputs.tensorStream)
    expect(embeds.shape).toEqual([1, tokens, 192])

    // Stream, embeddings with positions, and a cache in two passes give the same last logits.
    const positionIds = inputs.tensorStream.positions()
    const modality = inputs.tensorStream.modalityMask()
    const labels = inputs.inputIds.map((id, i) => (modality[i] === 0 ? -100 : id))
    const whole = await isaac.model.forward({ ...inputs, labels })
    expect(whole.logits!.shape).toEqual([1, tokens, 768])
    expect(whole.loss).toBeGreaterThan(0)
    const last = whole.logits!.data.subarray(-768)
    const near = (logits: Float32Array) =>
      expect(Math.max(...logits.map((l, i) => Math.abs(l - last[i])))).toBeLessThan(1e-4)
    const fromEmbeds = await isaac.model.forward({ inputsEmbeds: embeds, positionIds, modality, logits: "last" })
    near(fromEmbeds.logits!.data)

    const cache = isaac.model.newCache(256)
    const head = await isaac.model.forward({
      tensorStream: inputs.tensorStream.slice(0, tokens - 1),
      logits: "none",
      cache,
    })
    expect(head.logits).toBeUndefined()
    expect(await cache.length()).toBe(tokens - 1)
    const step = await isaac.model.forward({ inputIds: inputs.inputIds.slice(-1), cache })
    near(step.logits!.data)
    expect(step.cache).toBe(cache)
    expect(step.ropeDelta).toEqual(whole.ropeDelta)
    await cache.truncate(3)
    expect(await cache.length()).toBe(3)
    await cache.dispose()
    await expect(cache.length()).rejects.toMatchObject({ code: "bad_input" })
  })

  it("generates token by token", async () => {
    const { prompt, image, answer } = samples[6]
    const inputs = await isaac.processor({ text: prompt, images: [folder + image] })
    const generation = isaac.generate(inputs, { logprobs: true })
    let words = ""
    for await (const { text, logprob } of generation) {
      words += text
      expect(logprob).toBeLessThanOrEqual(0)
    }
    expect(words.endsWith(answer)).toBe(true)
    expect(generation.report).toMatchObject({ finishReason: "stop", promptTokens: inputs.inputIds.length })
    const draw = async () => {
      const ids: number[] = []
      for await (const { id } of isaac.generate(inputs, { temperature: 2, seed: 3, maxNewTokens: 12 })) ids.push(id)
      return ids
    }
    expect(await draw()).toEqual(await draw())
  })

  it("keeps a conversation, and forks it", async () => {
    const session = isaac.session()
    expect((await session.ask([picture(7)], samples[6].question)).text).toBe(samples[6].answer)
    expect(await session.length()).toBeGreaterThan(50)
    const fork = session.fork()
    const [a, b] = [await session.ask([], "Describe the image."), await fork.ask([], "Describe the image.")]
    expect(a.text).toBe(b.text)
    expect(a.usage.image_tokens).toBeGreaterThan(0) // the first turn's picture
    expect(a.timings.vision_ms).toBe(0)
    await session[Symbol.asyncDispose]()
    await fork.dispose()
    await expect(session.length()).rejects.toMatchObject({ code: "bad_input" })
  })

  it("fails with the code of what went wrong", async () => {
    await expect(isaac.ask(["/no/such.png"], "What?")).rejects.toMatchObject({ name: "IsaacError", code: "not_found" })
    await expect(isaac.ask([Uint8Array.of(1, 2, 3)], "What?")).rejects.toMatchObject({ code: "bad_image" })
    await expect(isaac.ask([], longText + longText)).rejects.toMatchObject({ code: "too_long" })
    await expect(isaac.processor({ text: "<image>" })).rejects.toMatchObject({ code: "bad_input" })
    const wrong = (value: unknown) => value as never
    await expect(isaac.ask(wrong(5), "What?")).rejects.toMatchObject({ code: "bad_input" })
    await expect(isaac.ask([], wrong(5))).rejects.toMatchObject({ code: "bad_input" })
    await expect(isaac.ask([wrong(undefined)], "What?")).rejects.toMatchObject({ code: "bad_input" })
    await expect(isaac.model.embedStream(wrong({}))).rejects.toMatchObject({ code: "bad_input" })
    await expect(vlm.Isaac.load("no/such/folder", { worker })).rejects.toMatchObject({ code: "not_found" })
    await expect(vlm.Isaac.load("tiny", { worker, signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: "aborted",
    })
  })

  it("refuses arguments of the wrong type as bad_input", async () => {
    const inputs = await isaac.processor({ text: "Hi" })
    const ask = (options: unknown) => isaac.ask([], "Hi", { maxNewTokens: 2, ...(options as object) }).answer()
    const generate = async (...[from, options]: unknown[]) => {
      for await (const _ of isaac.generate(from as never, options as never));
    }
    const load = (model: unknown, options: unknown = {}) =>
      vlm.Isaac.load(
        model as never,
        (options && typeof options === "object" ? { worker, ...options } : options) as never,
      )
    const forward = (request: unknown) => isaac.model.forward(request as never)
    const calls: [string, () => Promise<unknown>][] = [
      ...[null, "box", 5].map((options): [string, () => Promise<unknown>] => [
        `ask with options ${options}`,
        () => isaac.ask([], "Hi", options as never).answer(),
      ]),
      ...["x", 5, ["x"], [1.5], [-1]].map((stopIds): [string, () => Promise<unknown>] => [
        `stopIds ${JSON.stringify(stopIds)}`,
        () => ask({ stopIds }),
      ]),
      ["system", () => ask({ system: 5 })],
      ["truncate", () => ask({ truncate: "right" })],
      ["signal", () => ask({ signal: "x" })],
      ["onProgress of an answer", () => ask({ onProgress: "x" })],
      ["expect", () => ask({ expect: "mask" })],
      ["hintRole", () => ask({ hintRole: "assistant" })],
      ["examples", () => ask({ examples: [5] })],
      ["classes", () => isaac.detect(picture(1), { classes: "cat" } as never).answer()],
      ["objects", () => isaac.count(picture(1), undefined as never).answer()],
      ["style", () => isaac.caption(picture(1), { style: "rhymed" } as never).answer()],
      ["format", () => isaac.ocr(picture(1), { format: "pdf" } as never).answer()],
      ["caption of nothing", () => isaac.caption(undefined as never).answer()],
      [
        "detect with null",
        () =>
          isaac
            .view(picture(1))
            .detect(null as never)
            .answer(),
      ],
      ["processor of nothing", () => isaac.processor(undefined as never)],
      ["processor of null", () => isaac.processor(null as never)],
      ["generate from nothing", () => generate()],
      ["generate with null", () => generate(inputs, null)],
      [
        "generate in a session from nothing",
        async () => {
          for await (const _ of isaac.session().generate(undefined as never));
        },
      ],
      ["embedStream with null", () => isaac.model.embedStream(inputs.tensorStream, null as never)],
      ["forward of nothing", () => forward(undefined)],
      ["cache", () => forward({ ...inputs, cache: {} })],
      ["inputsEmbeds 5", () => forward({ inputsEmbeds: 5 })],
      ["inputsEmbeds without shape", () => forward({ inputsEmbeds: { data: new Float32Array(2), shape: 5 } })],
      ["load nothing", () => load(undefined)],
      ["load ''", () => load("")],
      ["load an object", () => load({})],
      ["load with null", () => load("tiny", null)],
      ["onProgress", () => load("tiny", { onProgress: 5 })],
      ["maxContext", () => load("tiny", { maxContext: "x" })],
      ["maxContext NaN", () => load("tiny", { maxContext: Number.NaN })],
      ["dtype", () => load("tiny", { dtype: "x" })],
      ["kvDtype", () => load("tiny", { kvDtype: "q8" })],
    ]
    const outcomes: string[] = []
    for (const [name, call] of calls) {
      outcomes.push(
        await call().then(
          () => `${name}: accepted`,
          ({ name: type, code, message }) => `${name}: ${type === "IsaacError" ? code : `${type} ${message}`}`,
        ),
      )
    }
    expect(outcomes).toEqual(calls.map(([name]) => `${name}: bad_input`))
  })

  it("fails to load with the error of an onProgress that throws", async () => {
    const onProgress = () => {
      throw new RangeError("no room for this")
    }
    await expect(vlm.Isaac.load("tiny", { worker, onProgress })).rejects.toThrow("no room for this")
  })

  it("forks a session as it is when it is forked, and disposes of forks never used", async () => {
    const session = isaac.session()
    await session.ask([picture(7)], samples[6].question)
    const [fork, unused] = [session.fork(), session.fork()]
    await session.ask([], "Describe the image.")
    expect((await session.messages()).length).toBe((await fork.messages()).length + 2)
    const { open } = (await isaac.memory()).sessions
    await unused.dispose()
    expect((await isaac.memory()).sessions.open).toBe(open - 1)
    await Promise.all([session.dispose(), fork.dispose()])
    expect((await isaac.memory()).sessions.open).toBe(open - 3)
    await expect(session.fork().messages()).rejects.toMatchObject({ code: "bad_input" })
  })

  it("saves a session to bytes or a path and goes on from either", async () => {
    const session = isaac.session()
    await session.ask([picture(7)], samples[6].question)
    const bytes = await session.save()
    const path = join(built.folder, `session-${worker}`)
    await session.save(pathToFileURL(path))
    expect(new Uint8Array(readFileSync(path))).toEqual(bytes)
    const padded = new Uint8Array(bytes.length + 20)
    padded.set(bytes, 3)
    const want = await session.ask([], "Describe the image.")
    for (const from of [
      bytes,
      padded.subarray(3, 3 + bytes.length),
      bytes.slice().buffer,
      new Blob([bytes.slice()]),
      path,
    ]) {
      const restored = await isaac.restoreSession(from)
      const answer = await restored.ask([], "Describe the image.")
      expect(answer.text).toBe(want.text)
      expect(await restored.messages()).toEqual(await session.messages())
      await restored.dispose()
    }
    const unused = await isaac.restoreSession(path)
    const { open } = (await isaac.memory()).sessions
    await unused.dispose()
    expect((await isaac.memory()).sessions.open).toBe(open - 1)
    for (const from of ["", 5, undefined, null, {}, new Uint8Array(9)]) {
      await expect(isaac.restoreSession(from as string)).rejects.toMatchObject({ code: "bad_input" })
    }
    for (const to of ["", 5, null]) {
      await expect(session.save(to as string)).rejects.toMatchObject({ code: "bad_input" })
    }
    await expect(isaac.restoreSession("/no/such/file")).rejects.toMatchObject({ code: "not_found" })
    await session.dispose()
  })

  it("has a session free again as soon as its reader has left", async () => {
    const session = isaac.session()
    const { question, answer } = samples[11]
    for await (const { type } of session.ask([picture(12)], question, { expect: "box" })) {
      if (type === "text.delta") break
    }
    expect((await session.ask([picture(12)], question, { expect: "box" })).text).toBe(answer)
    await session.dispose()
  })

  it("opens no session or cache that was disposed of before its first use", async () => {
    const [session, cache] = [isaac.session(), isaac.model.newCache(64)]
    await session.dispose()
    await cache.dispose()
    await expect(session.ask([], "Hi")).rejects.toMatchObject({ code: "bad_input" })
    await expect(cache.length()).rejects.toMatchObject({ code: "bad_input" })
    const never = isaac.model.newCache(-1)
    await expect(never.length()).rejects.toMatchObject({ code: "bad_input" })
    await never.dispose()
  })

  it("waits for what was asked in the same turn before it ends", async () => {
    const other = await vlm.Isaac.load("tiny", { worker })
    const asked = other.ask([picture(7)], samples[6].question).answer()
    await other.dispose()
    expect((await asked).text).toBe(samples[6].answer)
  })

  it("lets sessions and caches be disposed of after it, twice too", async () => {
    const other = await vlm.Isaac.load("tiny", { worker })
    const [session, cache] = [other.session(), other.model.newCache(64)]
    await Promise.all([session.length(), cache.length()])
    await other.dispose()
    for (const one of [session, cache, session, cache]) await one.dispose()
  })

  it("stops working when its reader leaves", async () => {
    let seen = 0
    for await (const { type } of isaac.ask([picture(12)], "Detect everything.", { expect: "box" })) {
      if (type === "text.delta" && ++seen === 3) break
    }
    const start = performance.now()
    await isaac.memory()
    expect(performance.now() - start).toBeLessThan(200)
  })
})

/**
 * The longest the event loop was blocked, in ms: by the clock, and in time that this thread was really computing (a
 * busy machine makes every thread wait). Without Linux's accounting both are the clock's.
 */
async function watchEventLoop<T>(run: () => Promise<T>): Promise<{ value: T; block: number; wall: number }> {
  const computed = existsSync("/proc/self/schedstat")
    ? () => Number(readFileSync("/proc/self/schedstat", "utf8").split(" ")[0]) / 1e6
    : () => performance.now()
  let [block, wall] = [0, 0]
  let last = { computed: computed(), wall: performance.now() }
  const timer = setInterval(() => {
    const now = { computed: computed(), wall: performance.now() }
    block = Math.max(block, now.computed - last.computed)
    wall = Math.max(wall, now.wall - last.wall)
    last = now
  }, 1)
  try {
    const value = await run()
    return { value, block, wall }
  } finally {
    clearInterval(timer)
  }
}

describe("the worker", () => {
  it("leaves the caller's event loop alone during an answer", { retry: 2 }, async () => {
    const isaac = await vlm.Isaac.load("tiny", slow)
    const {
      value: answer,
      block,
      wall,
    } = await watchEventLoop(() => isaac.ask([picture(12)], samples[11].question, { expect: "box" }).answer())
    const idle = await watchEventLoop(() => new Promise((resolve) => setTimeout(resolve, 1000)))
    expect(answer.text).toBe(samples[11].answer)
    const { vision_ms, prefill_ms, decode_ms } = answer.timings
    console.log(
      `event loop during ${Math.round(vision_ms + prefill_ms + decode_ms)} ms of computing: longest block ` +
        `${block.toFixed(1)} ms of work, ${wall.toFixed(1)} ms by the clock (idle: ${idle.wall.toFixed(1)} ms)`,
    )
    expect(block).toBeLessThan(20)
    // The measure sees a block when there is one.
    const blocked = await watchEventLoop(async () => {
      await new Promise((resolve) => setTimeout(resolve, 20))
      for (const start = performance.now(); performance.now() - start < 200; );
      await new Promise((resolve) => setTimeout(resolve, 20))
    })
    expect(blocked.block).toBeGreaterThan(30)
    await isaac.dispose()
  })

  it("sees an abort within 200 ms wherever it computes, and answers rightly afterwards", { retry: 2 }, async () => {
    const isaac = await vlm.Isaac.load("tiny", { ...slow, maxContext: 2048 })
    const session = isaac.session()
    /** How long the answer took to end after the abort, which comes `after` ms or, without it, with the first text. */
    const abort = async (images: string[], question: string, after?: number) => {
      const controller = new AbortController()
      let aborted = 0
      const stop = () => {
        aborted ||= performance.now()
        controller.abort()
      }
      if (after !== undefined) setTimeout(stop, after)
      const running = session.ask(images, question, { signal: controller.signal, expect: "box" })
      for await (const { type } of running) if (type === "text.delta") stop()
      const took = performance.now() - aborted
      expect((await running).finishReason).toBe("abort")
      return took
    }
    const inVision = await abort([picture(12)], "Detect everything.", 150)
    const inPrefill = await abort([], longText, 1000)
    const inDecode = await abort([picture(2)], "Find all squares.")
    console.log(
      `abort: ${[inVision, inPrefill, inDecode].map((ms) => Math.round(ms)).join(", ")} ms (vision, prefill, decode)`,
    )
    for (const took of [inVision, inPrefill, inDecode]) expect(took).toBeLessThan(200)
    const after = await session.ask([picture(7)], samples[6].question)
    expect(after.text).toBe(samples[6].answer)
    const again = await isaac.ask([picture(7)], samples[6].question)
    expect(again.text).toBe(samples[6].answer)
    await isaac.dispose()
  })

  it("lets others answer while a long prompt is aborted beside them", async () => {
    const isaac = await vlm.Isaac.load("tiny", { maxContext: 2048 })
    const controller = new AbortController()
    const long = isaac.ask([], longText, { signal: controller.signal })
    const { question, answer } = samples[4]
    const short = isaac.ask([picture(5)], question, { expect: "point" })
    setTimeout(() => controller.abort(), 30)
    const answers = await Promise.all([long, short])
    expect(answers[0].finishReason).toBe("abort")
    expect(answers[1].text).toBe(answer)
    await isaac.dispose()
  })

  it("that is killed fails everything that is pending or comes later with worker_lost", async () => {
    const isaac = await vlm.Isaac.load("tiny", slow)
    const iterator = isaac.ask([picture(12)], "Detect everything.")[Symbol.asyncIterator]()
    const pending = [isaac.ask([picture(12)], "Detect everything.").answer(), iterator.next(), isaac.memory()]
    const results = Promise.allSettled(pending)
    await new Promise((resolve) => setTimeout(resolve, 50))
    await isaac.terminate()
    const codes = (await results).map((r) => (r.status === "rejected" ? r.reason.code : "answered"))
    expect(codes.slice(0, 2)).toEqual(["worker_lost", "worker_lost"])
    await expect(isaac.memory()).rejects.toMatchObject({ code: "worker_lost" })
    await isaac.dispose()
  })

  it("lets a program end that forgets to dispose of it", async () => {
    await writeFile(
      join(built.folder, "forget.mjs"),
      `import { Isaac } from "isaac-vlm"
       const isaac = await Isaac.load("tiny")
       const { text } = await isaac.ask([process.argv[2]], "Is there a yellow diamond?")
       console.log(text)`,
    )
    const { ended, process: child } = built.start("forget.mjs", [picture(7)])
    const timer = setTimeout(() => child.kill("SIGKILL"), 20_000)
    expect(await ended).toMatchObject({ code: 0, out: `${samples[6].answer}\n`, err: "" })
    clearTimeout(timer)
  })

  it("waits for running answers before it ends, and refuses calls after that", async () => {
    const isaac = await vlm.Isaac.load("tiny")
    const answer = isaac.ask([picture(7)], samples[6].question).then(({ text }) => text)
    await new Promise((resolve) => setTimeout(resolve, 1))
    await isaac.dispose()
    await isaac.dispose()
    expect(await answer).toBe(samples[6].answer)
    await expect(isaac.ask([], "Hi")).rejects.toMatchObject({ code: "bad_input" })
    await expect(isaac.memory()).rejects.toThrow(/disposed/)
  })
})
