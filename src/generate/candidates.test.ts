import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { hasAddon } from "../../test/native-addon"
import { LETTERS, promptOf, randomImage, randomText, randomTinyModel, sessionPool } from "../../test/tiny-sessions"
import type { IsaacModel } from "../model"
import type { Backend } from "../ops/backend"
import { createNativeBackend } from "../ops/cpu/load-native-node"
import { createWasmBackend } from "../ops/cpu/load-wasm-node"
import { createReferenceBackend } from "../ops/reference"
import type { AbortFlag } from "./abort"
import { type CandidatesSetup, drawCandidates } from "./candidates"
import type { GeneratedToken } from "./continuation"
import { Generation } from "./generation"
import { derivedSeed, Random } from "./random"
import { Session } from "./session"
import type { SessionPool } from "./session-pool"

const prompt = promptOf(randomText(40), randomImage(4, 6), randomText(9))
const setup = (more: Partial<CandidatesSetup> = {}): CandidatesSetup => ({
  n: 4,
  temperature: 1,
  seed: 5,
  maxNewTokens: 12,
  stopIds: [],
  vocabulary: LETTERS,
  ...more,
})

describe.each<[string, () => Promise<Backend>]>([
  ["reference", async () => createReferenceBackend()],
  ["wasm", () => createWasmBackend()],
  ...(hasAddon ? [["native", () => createNativeBackend()] as [string, () => Promise<Backend>]] : []),
])("candidates on %s", (_, create) => {
  let backend: Backend
  let model: IsaacModel
  let pool: SessionPool
  let session: Session
  beforeAll(async () => {
    backend = await create()
    model = await randomTinyModel(backend)
  })
  afterAll(() => backend.dispose())
  beforeEach(() => {
    pool = sessionPool(model)
    session = new Session(pool)
  })
  afterEach(() => pool.cache.free())

  /** In the order of drawing, from a prompt that is computed afresh. */
  async function drawn(more?: Partial<CandidatesSetup>) {
    const session = new Session(pool)
    const runs = await drawCandidates(session, prompt, setup(more))
    await session.dispose()
    return runs.sort((a, b) => a.sample - b.sample)
  }
  const idsOf = (tokens: readonly GeneratedToken[]) => tokens.map(({ id }) => id)

  it("are the same whatever their number, and what one generation after another gives", async () => {
    const eleven = await drawn({ n: 11 })
    expect(new Set(eleven.map(({ tokens }) => idsOf(tokens).join())).size).toBeGreaterThan(5)
    for (const n of [1, 2]) {
      expect((await drawn({ n })).map(({ tokens }) => tokens)).toEqual(eleven.slice(0, n).map(({ tokens }) => tokens))
    }
    expect(eleven.slice(0, 2).map(({ report }) => report.seed)).toEqual([5, derivedSeed(5, 1)])
    for (const { tokens, report, score } of eleven) {
      const alone = new Generation(() => new Session(pool), prompt, setup({ seed: report.seed, logprobs: true }))
      const single: GeneratedToken[] = []
      for await (const token of alone) single.push(token)
      expect(idsOf(tokens)).toEqual(idsOf(single))
      expect(report).toMatchObject({ finishReason: "length", completionTokens: 12, promptTokens: 55, imageTokens: 6 })
      expect(score).toBeCloseTo(single.reduce((sum, { logprob }) => sum + logprob!, 0) / 12, 4)
    }
  })

  it("rely on rows that a linear layer computes alike, whatever their number from two on", async () => {
    const random = new Random(8)
    const numbers = (n: number) => Float32Array.from({ length: n }, () => random.next() * 2 - 1)
    const [N, K] = [40, 6144] // the widest layer of the published models
    const x = backend.upload(numbers(8 * K), [8, K])
    const bytes = new Uint8Array(numbers(N * K).buffer)
    for (const stored of backend.info.stored) {
      const weight = backend.loadWeight(bytes, "F32", [N, K], stored)
      const all = await backend.read(backend.linear(x, weight)) // [8, N]
      for (let rows = 2; rows < 8; rows++) {
        const some = await backend.read(backend.linear(backend.rows(x, 0, rows), weight))
        expect(some, `${rows} rows, ${stored}`).toEqual(all.subarray(0, rows * N))
      }
    }
  })

  it("are ranked by the mean of their log-probabilities", async () => {
    const runs = await drawCandidates(session, prompt, setup({ n: 6 }))
    const scores = runs.map(({ score }) => score)
    expect(scores).toEqual([...scores].sort((a, b) => b - a))
    expect(runs.map(({ sample }) => sample).sort()).toEqual([0, 1, 2, 3, 4, 5])
  })

  it("end each by itself: stop texts, stop ids, the context", async () => {
    const [first, second] = await drawn({ n: 2 })
    const letters = first.tokens.map(({ text }) => text).join("")
    const stop = letters.slice(4, 6)
    const [stopped] = await drawn({ n: 2, stop })
    expect(stopped.report).toMatchObject({ finishReason: "stop", stopped: stop })
    expect(stopped.tokens.map(({ text }) => text).join("")).toBe(letters.slice(0, letters.indexOf(stop)))
    const end = second.tokens[7].id
    const [, ended] = await drawn({ n: 2, stopIds: [end] })
    expect(idsOf(ended.tokens)).toEqual(idsOf(second.tokens).slice(0, idsOf(second.tokens).indexOf(end) + 1))
    const long = promptOf(randomText(398))
    const full = await drawCandidates(new Session(pool), long, setup({ n: 3, maxNewTokens: 100 }))
    expect(full.map(({ report }) => report)).toMatchObject(
      [1, 2, 3].map(() => ({ finishReason: "length", completionTokens: 3 })),
    )
  })

  it("leave the session at the prompt, and nothing behind", async () => {
    await drawCandidates(session, prompt, setup({ n: 9 }))
    expect([session.length, pool.usage().sessions.open]).toEqual([55, 1])
    const { used } = backend.memory()
    await drawCandidates(session, prompt, setup({ n: 9 }))
    expect([session.length, pool.usage().sessions.open]).toEqual([55, 1])
    expect(backend.memory().used).toBe(used)
  })

  it("of an abort, anywhere, leave only complete tokens of the prompt", async () => {
    let aborts = 0
    for (let n = 0; ; n += 2) {
      const own = new Session(pool)
      const failure = await drawCandidates(own, prompt, setup({ n: 3, abort: abortAfter(n), maxNewTokens: 4 })).catch(
        (error) => error,
      )
      if (Array.isArray(failure)) break
      expect(failure).toMatchObject({ code: "aborted" })
      expect(pool.usage().sessions.open).toBe(2)
      expect(pool.running).toBe(0)
      expect(own.length).toBeLessThanOrEqual(55)
      own.claim()()
      await own.dispose()
      aborts++
    }
    expect(aborts).toBeGreaterThan(3)
  })

  it("take turns when there is no room for all at once, and come out the same", async () => {
    const wanted = await drawn({ n: 6, maxNewTokens: 16 })
    const [least, block] = [pool.cache.growth([90], 128), pool.cache.growth([90], 64)]
    const narrow = sessionPool(model, least + 4 * block)
    const runs = await drawCandidates(new Session(narrow), prompt, setup({ n: 6, maxNewTokens: 16 }))
    expect(runs.sort((a, b) => a.sample - b.sample).map(({ tokens }) => tokens)).toEqual(
      wanted.map(({ tokens }) => tokens),
    )
    expect(narrow.usage().sessions.open).toBe(1)
    narrow.cache.free()
    const tooSmall = sessionPool(model, block)
    await expect(drawCandidates(new Session(tooSmall), prompt, setup({ n: 2 }))).rejects.toMatchObject({
      code: "out_of_memory",
    })
    expect(tooSmall.usage().sessions.open).toBe(1)
    tooSmall.cache.free()
  })
})

describe("candidates", () => {
  it.each<[Partial<CandidatesSetup>, RegExp]>([
    [{ n: 0 }, /n is 0; it must be an integer from 1 to 64/],
    [{ n: 65 }, /n is 65/],
    [{ n: 1.5 }, /n is 1.5/],
    [{ temperature: 0 }, /4 candidates would all be the same at temperature 0/],
    [{ topK: 1 }, /at topK 1/],
    [{ seed: -1 }, /seed is -1/],
    [{ stop: "" }, /stop text has 0/],
    [{ logprobs: 21 }, /logprobs is 21/],
  ])("refuse %j before anything is computed", async (more, message) => {
    const backend = createReferenceBackend()
    const pool = sessionPool(await randomTinyModel(backend))
    const session = new Session(pool)
    await expect(drawCandidates(session, prompt, setup(more))).rejects.toThrow(message)
    expect(session.length).toBe(0)
    session.claim()()
    await backend.dispose()
  })
})

/** Says yes from the n-th time on that it is asked. */
function abortAfter(n: number): AbortFlag {
  let asked = 0
  return {
    get aborted() {
      return ++asked > n
    },
  }
}
