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
import { IGNORED_LABEL } from "../model/loss"
import { createReferenceBackend } from "../ops/reference"
import { Generation } from "./generation"
import { scoreTokens } from "./score"
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

const start = [randomText(30), randomImage(4, 6), randomText(5)]
const prompt = promptOf(...start)
const score = (ids: readonly number[], more: { size?: number; maxContext?: number } = {}) =>
  scoreTokens(session, prompt, Int32Array.from(ids), { size: model.config.text.vocabSize, maxContext: 400, ...more })

describe("scoreTokens", () => {
  it("is the loss of the model over the answer's labels", async () => {
    const ids = Array.from({ length: 40 }, (_, i) => (i * 37) % 499)
    const logprobs = await score(ids)
    const stream = promptOf(...start, textEvent(...ids))
    const labels = Int32Array.from({ length: stream.shape[1] }, (_, i) => ids[i - prompt.shape[1]] ?? IGNORED_LABEL)
    const { loss } = model.forward({ tensorStream: stream, labels, logits: "none" })
    expect(logprobs).toHaveLength(40)
    // The same sums in another order.
    expect(-logprobs.reduce((a, b) => a + b) / 40).toBeCloseTo((await loss)!, 5)
  })

  it("is what generation tells of the same tokens", async () => {
    const options = { maxNewTokens: 30, stopIds: [], vocabulary: LETTERS, temperature: 1, seed: 3, logprobs: true }
    const ids: number[] = []
    const told: number[] = []
    for await (const { id, logprob } of new Generation(() => new Session(pool), prompt, options)) {
      ids.push(id)
      told.push(logprob!)
    }
    const logprobs = await score(ids, { size: LETTERS.size })
    expect(logprobs).toHaveLength(30)
    for (const [i, logprob] of logprobs.entries()) expect(logprob).toBeCloseTo(told[i], 5)
    expect([...(await score(ids.slice(0, 1), { size: LETTERS.size }))][0]).toBeCloseTo(told[0], 5)
  })

  it("computes the prompt once for several answers", async () => {
    await score([1, 2, 3])
    await score([4, 5])
    const { reused } = await session.prefill(prompt)
    expect(reused).toBe(prompt.shape[1] - 1)
  })

  it("takes an answer to the last token of the context", async () => {
    const most = 400 - prompt.shape[1] + 1
    expect(await score(new Array(most).fill(7))).toHaveLength(most)
    await expect(score(new Array(most + 1).fill(7))).rejects.toThrow(/prompt has 41 tokens, the answer 361.*takes 400/)
  })

  it("refuses no tokens and ids that are none, and frees the session", async () => {
    await expect(score([])).rejects.toMatchObject({ code: "bad_input" })
    await expect(score([3, 500], { size: 500 })).rejects.toThrow(/token 500; ids go from 0 to 499/)
    await expect(score([-1])).rejects.toThrow(/token -1/)
    session.claim()()
  })
})
