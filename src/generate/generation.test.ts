import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest"
import {
  LETTERS,
  promptOf,
  randomImage,
  randomText,
  randomTinyModel,
  sessionPool,
  textEvent,
} from "../../test/tiny-sessions"
import type { IsaacModel } from "../model"
import { createReferenceBackend } from "../ops/reference"
import { Continuation, type GeneratedToken } from "./continuation"
import { Generation, type GenerationSetup } from "./generation"
import { Session } from "./session"
import type { SessionPool } from "./session-pool"

const backend = createReferenceBackend()
let model: IsaacModel
let pool: SessionPool
let session: Session
beforeAll(async () => {
  model = await randomTinyModel(backend)
})
afterAll(() => backend.dispose())
beforeEach(() => {
  pool = sessionPool(model)
  session = new Session(pool)
})
afterEach(() => pool.cache.free())

/** Greedy answers of a random model repeat themselves. */
const drawn = { maxNewTokens: 12, stopIds: [], vocabulary: LETTERS, temperature: 2, seed: 9 }
const stream = promptOf(textEvent(3, 1, 4, 1, 5, 9, 2, 6))
async function run(more: Partial<GenerationSetup> = {}, prompt = stream) {
  const setup = { ...drawn, ...more }
  const generation = new Generation(session, prompt, setup)
  const tokens: GeneratedToken[] = []
  for await (const token of generation) tokens.push(token)
  const { report } = generation
  return { tokens, ids: tokens.map(({ id }) => id), text: tokens.map(({ text }) => text).join(""), report }
}

describe("stop texts", () => {
  it("end the answer before them, and are told", async () => {
    const whole = await run()
    const stop = whole.text.slice(5, 8)
    const { text, ids, report } = await run({ stop: ["no such text", stop] })
    const at = whole.text.indexOf(stop)
    expect(text).toBe(whole.text.slice(0, at))
    expect(ids).toEqual(whole.ids.slice(0, at + 3))
    expect(report).toMatchObject({ finishReason: "stop", stopped: stop, completionTokens: at + 3 })
  })

  it("hold back what may begin one, and give it out at the end", async () => {
    const whole = await run()
    const begin = whole.text.slice(-2)
    const { tokens, text, report } = await run({ stop: `${begin}!` })
    expect(text).toBe(whole.text)
    expect(tokens.at(-2)!.text.endsWith(begin[0])).toBe(false)
    expect(tokens.at(-1)!.text).toBe(begin)
    expect(report).toMatchObject({ finishReason: "length", stopped: null })
  })

  it("are found at the last token too", async () => {
    const whole = await run()
    const { text, report } = await run({ stop: whole.text })
    expect(text).toBe("")
    expect(report).toMatchObject({ finishReason: "stop", stopped: whole.text, completionTokens: 12 })
  })

  it("leave a session that answers the next prompt as a fresh one", async () => {
    const whole = await run()
    const stop = whole.text.slice(5, 8)
    const { ids, report } = await run({ stop })
    // The caller goes on with what was shown, and something else.
    const shown = ids.slice(0, report.completionTokens - stop.length)
    const next = promptOf(textEvent(3, 1, 4, 1, 5, 9, 2, 6, ...shown, 11, 12))
    const { logits, reused } = await session.prefill(next)
    expect(reused).toBe(8 + shown.length)
    expect(logits).toEqual((await new Session(pool).prefill(next)).logits)
  })

  it("of an aborted answer: what was held back is told", async () => {
    const whole = await run()
    const controller = new AbortController()
    const stop = `${whole.text.slice(2, 5)}!`
    const setup = { ...drawn, stop, abort: controller.signal }
    const generation = new Generation(session, stream, setup)
    let text = ""
    let count = 0
    for await (const token of generation) {
      text += token.text
      if (++count === 5) controller.abort()
    }
    expect(generation.report).toMatchObject({ finishReason: "abort", heldText: stop.slice(0, 3), completionTokens: 5 })
    expect(text + generation.report.heldText).toBe(whole.text.slice(0, 5))
  })

  it("join characters that tokens cut", async () => {
    const bytes = new TextEncoder().encode("語るに落ちる")
    let at = 0
    const cut = { ...LETTERS, tokenBytes: () => Uint8Array.of(bytes[at++]) }
    const { text, report } = await run({ maxNewTokens: 18, vocabulary: cut, stop: "に落" })
    expect(text).toBe("語る")
    expect(report).toMatchObject({ finishReason: "stop", completionTokens: 12 })
  })
})

describe("logprobs", () => {
  it("are those of the model, whatever is drawn from", async () => {
    const { tokens } = await run({ logprobs: 3, maxNewTokens: 1, logitBias: { 7: 100 } })
    const logits = (await session.prefill(stream)).logits.subarray(0, 500)
    const total = logits.reduce((sum, logit) => sum + Math.exp(logit), 0)
    const order = [...logits.keys()].sort((a, b) => logits[b] - logits[a])
    expect(tokens[0].id).toBe(7)
    expect(tokens[0].logprob).toBeCloseTo(logits[7] - Math.log(total), 5)
    expect(tokens[0].top!.map(({ id }) => id)).toEqual(order.slice(0, 3))
    for (const { id, text, bytes, logprob } of tokens[0].top!) {
      expect(logprob).toBeCloseTo(logits[id] - Math.log(total), 5)
      expect([text, ...bytes]).toEqual([String.fromCharCode(97 + (id % 26)), 97 + (id % 26)])
    }
  })

  it("come without alternatives for true, and not at all for false", async () => {
    expect(Object.keys((await run({ logprobs: true })).tokens[0])).toEqual(["id", "text", "logprob"])
    expect(Object.keys((await run({ logprobs: false })).tokens[0])).toEqual(["id", "text"])
  })
})

describe("penalties", () => {
  it("do not take an image's token view for ids", async () => {
    const prompt = promptOf(randomText(6), randomImage(12, 12), randomText(3))
    const view = [...prompt.tokenView()]
    const texts = [...view.slice(0, 6), ...view.slice(42)]
    const seen = view.slice(6, 42).find((id) => id >= 0 && id < 500 && !texts.includes(id))!
    const logits = new Float32Array(512)
    logits[texts[0]] = 1.5 // 0.75 when divided by 2
    logits[seen] = 1
    logits[view.includes(400) ? 401 : 400] = 0.9
    const greedy = { ...drawn, temperature: 0, repetitionPenalty: 2 }
    expect(new Continuation(prompt, greedy).next(logits, 1).id).toBe(seen)
  })

  it("count the tokens of the answer", async () => {
    const greedy = { temperature: 0, maxNewTokens: 30 }
    const plain = await run(greedy)
    const { ids } = await run({ ...greedy, frequencyPenalty: 2, presencePenalty: 2 })
    expect(new Set(ids).size).toBeGreaterThan(new Set(plain.ids).size)
    expect((await run({ ...greedy, logitBias: { [plain.ids[0]]: -100 } })).ids).not.toContain(plain.ids[0])
  })

  it("of nothing change nothing", async () => {
    const off = { repetitionPenalty: 1, frequencyPenalty: 0, presencePenalty: 0, minP: 0, logitBias: {}, stop: [] }
    expect((await run({ logprobs: 2, ...off })).tokens).toEqual((await run({ logprobs: 2 })).tokens)
  })
})
