import { fileURLToPath } from "node:url"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { IsaacModel } from "../model"
import { createReferenceBackend } from "../ops/reference"
import { createEvent, type Event, Stream, TensorStream } from "../stream"
import { openCheckpoint } from "../weights/checkpoint"
import { openFolder } from "../weights/files-node"
import { type AbortFlag, KernelFlag } from "./abort"
import { Generation, type GenerationSetup } from "./generation"
import { Random } from "./random"
import { Session } from "./session"
import { SessionPool } from "./session-pool"

const random = new Random(5)
const ids = (n: number) => Array.from({ length: n }, () => Math.floor(random.next() * 512))
const text = (...tokens: number[]) => createEvent({ type: "text", time: 0, data: tokens })
const image = (rows: number, columns: number, values = patches(rows, columns)) =>
  createEvent({
    type: "image",
    time: 0,
    data: { values, rows: rows * columns, width: 768 },
    dimsReal: [1, rows, columns],
    dimsVirtual: [1, rows / 2, columns / 2],
  })
const patches = (rows: number, columns: number) =>
  Float32Array.from({ length: rows * columns * 768 }, () => random.next() * 2 - 1)
const prompt = (...events: Event[]) => new TensorStream([new Stream(events, ["text", "image"])])

const backend = createReferenceBackend()
let model: IsaacModel
let pool: SessionPool
let session: Session

beforeAll(async () => {
  const folder = fileURLToPath(new URL("../../test/fixtures/golden/random-tiny", import.meta.url))
  const checkpoint = await openCheckpoint(await openFolder(folder))
  model = await IsaacModel.load(checkpoint, backend)
  await checkpoint.close()
})
afterAll(() => backend.dispose())

beforeEach(() => {
  pool = newPool()
  session = new Session(pool)
})
afterEach(() => pool.cache.free())

function newPool(imageMemory = 1 << 20, sessionMemory = 1 << 24): SessionPool {
  return new SessionPool({ model, kernelFlag: new KernelFlag(), maxContext: 400, sessionMemory, imageMemory })
}

/** Logits of the last token without any session: the whole prompt in one pass. */
async function oneShot(stream: TensorStream): Promise<Float32Array> {
  const { logits } = model.forward({ tensorStream: stream, logits: "last" })
  const numbers = await backend.read(logits!)
  backend.free(logits!)
  return numbers
}

describe("prefill", () => {
  it("in chunks gives the logits of one pass, images included", async () => {
    const stream = prompt(text(...ids(90)), image(4, 6), text(...ids(120)), image(6, 4), text(...ids(9)))
    const { logits, reused } = await session.prefill(stream)
    expect(reused).toBe(0)
    expect(logits).toEqual(await oneShot(stream))
    expect(session.length).toBe(stream.shape[1])
  })

  it("reuses the longest common prefix and gives the logits of a fresh run", async () => {
    const [shared, picture] = [ids(20), image(4, 6)]
    await session.prefill(prompt(text(...shared), picture, text(1, 2, 3, 4)))
    const second = prompt(text(...shared), picture, text(1, 2, 9, 8, 7))
    const { logits, reused, visionMs } = await session.prefill(second)
    expect({ reused, visionMs }).toEqual({ reused: 20 + 6 + 2, visionMs: 0 })
    expect(logits).toEqual(await oneShot(second))
  })

  it("computes the last token even of the prompt it holds, and drops what a shorter one lacks", async () => {
    const long = ids(30)
    const first = await session.prefill(prompt(text(...long)))
    const again = await session.prefill(prompt(text(...long)))
    expect(again.reused).toBe(29)
    expect(again.logits).toEqual(first.logits)
    const short = prompt(text(...long.slice(0, 10)))
    expect((await session.prefill(short)).logits).toEqual(await oneShot(short))
    expect(session.length).toBe(10)
  })

  it("never shares between two pictures, even when their token views are the same", async () => {
    const values = patches(4, 4)
    const swapped = values.slice()
    for (let patch = 0; patch < 16; patch++) {
      swapped.subarray(patch * 768, (patch + 1) * 768).reverse() // the sums, and so the token view, stay
    }
    const shared = ids(5)
    const streams = [values, swapped].map((v) => prompt(text(...shared), image(4, 4, v), text(1, 2)))
    const views = streams.map((stream) => Array.from(stream.tokenView()))
    // Summing backwards may cut to the neighbouring whole number.
    expect(views[0].every((id, i) => Math.abs(id - views[1][i]) <= 1)).toBe(true)
    await session.prefill(streams[0])
    const { logits, reused } = await session.prefill(streams[1])
    expect(reused).toBe(5)
    expect(logits).toEqual(await oneShot(streams[1]))
  })

  it("does not share tokens that stand at other positions", async () => {
    // After a wide picture, generated tokens stand further along than the same tokens in a prompt.
    const picture = image(2, 20)
    await session.prefill(prompt(picture, text(7)))
    await session.step(3)
    await session.step(4)
    const whole = prompt(picture, text(7, 3, 4, 5))
    const { logits, reused } = await session.prefill(whole)
    expect(reused).toBe(11)
    expect(logits).toEqual(await oneShot(whole))
  })

  it("takes images cut by truncation", async () => {
    const picture = image(4, 6)
    const whole = prompt(text(...ids(4)), picture, text(...ids(4)))
    await session.prefill(whole)
    const cut = whole.slice(7, 14)
    expect((await session.prefill(cut)).logits).toEqual(await oneShot(cut))
  })

  it("refuses what is too long, empty or a batch", async () => {
    await expect(session.prefill(prompt(text(...ids(401))))).rejects.toMatchObject({ code: "too_long" })
    await expect(session.prefill(prompt())).rejects.toMatchObject({ code: "bad_input" })
    const stream = new Stream([text(1)], ["text"])
    await expect(session.prefill(new TensorStream([stream, stream]))).rejects.toMatchObject({ code: "bad_input" })
  })
})

describe("step", () => {
  it("gives the logits of a full forward pass", async () => {
    const start = ids(12)
    await session.prefill(prompt(text(...start)))
    await session.step(5)
    expect(await session.step(6)).toEqual(await oneShot(prompt(text(...start, 5, 6))))
  })

  it("of several sessions in one pass is that of each alone, several tokens at once too", async () => {
    const [a, b] = [ids(12), ids(30)]
    const other = new Session(pool)
    await session.prefill(prompt(text(...a)))
    await other.prefill(prompt(image(2, 12), text(...b)))
    const fork = other.fork()
    const [alone5, alone6] = [await fork.step(5), await fork.step(6)]
    const rows = await Session.advance([other, session], Int32Array.of(5, 6, 7, 8))
    const size = rows.length / 4
    expect(rows.subarray(0, size)).toEqual(alone5)
    expect(rows.subarray(size, 2 * size)).toEqual(alone6)
    expect(rows.subarray(3 * size)).toEqual(await oneShot(prompt(text(...a, 7, 8))))
    expect([session.length, other.length]).toEqual([14, fork.length])
    expect(await other.step(9)).toEqual(await fork.step(9))
    expect((await session.prefill(prompt(text(...a, 7, 8, 9)))).reused).toBe(14)
  })

  it("refuses a token more than the context", async () => {
    await session.prefill(prompt(text(...ids(400))))
    expect(session.room).toBe(0)
    await expect(session.step(1)).rejects.toMatchObject({ code: "too_long" })
  })
})

describe("sessions", () => {
  it("are independent of each other, forks too", async () => {
    const start = ids(70)
    await session.prefill(prompt(text(...start)))
    const fork = session.fork()
    const other = new Session(pool)
    const otherPrompt = prompt(text(...ids(40)))
    await other.prefill(otherPrompt)
    const results = [await session.step(1), await fork.step(2), await session.step(3), await fork.step(4)]
    expect(results[2]).toEqual(await oneShot(prompt(text(...start, 1, 3))))
    expect(results[3]).toEqual(await oneShot(prompt(text(...start, 2, 4))))
    expect((await other.prefill(otherPrompt)).reused).toBe(39)
  })

  it("give their memory back, and refuse to go on after that", async () => {
    await session.prefill(prompt(text(...ids(100))))
    expect(pool.cache.bytes).toBeGreaterThan(0)
    await session.dispose()
    await session.dispose()
    expect(pool.cache.bytes).toBe(0)
    expect(pool.usage().sessions.open).toBe(0)
    await expect(session.prefill(prompt(text(1)))).rejects.toMatchObject({ code: "bad_input" })
    pool.closed = true
    await expect(new Session(pool).prefill(prompt(text(1)))).rejects.toThrow(/model was disposed/)
  })

  it("let go of pictures when a prompt has taken them, also one that was aborted", async () => {
    const small = newPool(0)
    const own = new Session(small)
    await own.prefill(prompt(image(4, 4), text(1)))
    expect(small.images.bytes).toBe(0)
    await own.prefill(prompt(image(4, 4), text(1)), abortAfter(5)).catch(() => {})
    expect(small.images.bytes).toBe(0)
    small.cache.free()
  })

  it("leave no activations behind", async () => {
    const stream = prompt(text(...ids(80)), image(4, 4), text(1))
    await session.prefill(stream)
    await session.step(1)
    const before = backend.memory().used
    await session.prefill(prompt(text(...ids(80)), ...stream.events.slice(1)))
    await session.step(1)
    expect(backend.memory().used).toBe(before)
  })
})

describe("generation", () => {
  const vocabulary = {
    size: 500,
    tokenBytes: (id: number) => Uint8Array.of(97 + (id % 26)),
    isSpecial: (id: number) => id === 499,
  }
  const setup = (more: Partial<GenerationSetup> = {}): GenerationSetup => ({
    maxNewTokens: 8,
    stopIds: [],
    vocabulary,
    ...more,
  })
  const stream = () => prompt(text(...[3, 1, 4, 1, 5, 9, 2, 6]))
  async function run(more?: Partial<GenerationSetup>) {
    const generation = new Generation(session, stream(), setup(more))
    const tokens = []
    for await (const token of generation) tokens.push(token)
    return { tokens, ids: tokens.map(({ id }) => id), report: generation.report }
  }

  it("goes greedily token by token, as a full forward pass for each would", async () => {
    const { ids: generated, report } = await run()
    const all = [3, 1, 4, 1, 5, 9, 2, 6]
    for (const id of generated) {
      const logits = (await oneShot(prompt(text(...all)))).subarray(0, 500)
      expect(id).toBe(logits.indexOf(Math.max(...logits)))
      all.push(id)
    }
    expect(report).toMatchObject({ finishReason: "length", promptTokens: 8, imageTokens: 0, completionTokens: 8 })
  })

  it("ends at a stop id, which is given out without text", async () => {
    const { ids: all } = await run()
    const { tokens, report } = await run({ stopIds: [all[3]] })
    expect(tokens.at(-1)).toEqual({ id: all[3], text: "" })
    expect(report).toMatchObject({ finishReason: "stop", completionTokens: all.indexOf(all[3]) + 1, reusedTokens: 7 })
  })

  it("ends when the context is full", async () => {
    const { report } = await run({ maxNewTokens: 1000 })
    expect(report).toMatchObject({ finishReason: "length", completionTokens: 400 - 8 + 1 })
  })

  it("gives a last half character up as U+FFFD", async () => {
    const cut = { ...vocabulary, tokenBytes: () => Uint8Array.of(0xe6, 0xbc) }
    const { tokens } = await run({ maxNewTokens: 1, vocabulary: cut })
    expect(tokens[0].text).toBe("\uFFFD")
  })

  it("draws the same for a seed, which it tells", async () => {
    const first = await run({ temperature: 2 })
    const again = await run({ temperature: 2, seed: first.report.seed })
    expect(again.ids).toEqual(first.ids)
    expect((await run({ temperature: 2, seed: first.report.seed + 1 })).ids).not.toEqual(first.ids)
  })

  it("tells log-probabilities of what can be drawn", async () => {
    const { tokens } = await run({ maxNewTokens: 1, logprobs: true })
    const logits = (await oneShot(stream())).subarray(0, 500)
    const sum = logits.reduce((total, logit) => total + Math.exp(logit), 0)
    expect(tokens[0].logprob).toBeCloseTo(logits[tokens[0].id] - Math.log(sum), 5)
  })

  it("ends with abort and goes on from there", async () => {
    const whole = await run()
    const controller = new AbortController()
    const generation = new Generation(session, stream(), setup({ abort: controller.signal }))
    const got: number[] = []
    for await (const { id } of generation) {
      got.push(id)
      if (got.length === 3) controller.abort()
    }
    expect(got).toEqual(whole.ids.slice(0, 3))
    expect(generation.report.finishReason).toBe("abort")
    expect((await run()).ids).toEqual(whole.ids)
  })

  it("has the session for itself and gives it back, also when its reader leaves", async () => {
    const iterator = new Generation(session, stream(), setup())[Symbol.asyncIterator]()
    await iterator.next()
    await expect(run()).rejects.toThrow(/answering already/)
    await iterator.return(undefined)
    expect((await run()).ids).toHaveLength(8)
    const twice = new Generation(session, stream(), setup({ maxNewTokens: 1 }))
    for await (const _ of twice);
    await expect(twice[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: "bad_input" })
  })

  it("on its own opens a session and closes it", async () => {
    const before = pool.usage().sessions.open
    for await (const _ of new Generation(() => new Session(pool), stream(), setup())) {
      expect(pool.usage().sessions.open).toBe(before + 1)
    }
    expect(pool.usage().sessions.open).toBe(before)
  })

  it.each([0, -1, 1.5, Number.NaN])("refuses maxNewTokens %j", (maxNewTokens) => {
    expect(() => new Generation(session, stream(), setup({ maxNewTokens }))).toThrow(/maxNewTokens/)
  })

  it.each([["2"], [2], [null], [["2"]], [[1.5]], [[-1]]])("refuses stopIds %j", (stopIds) => {
    expect(() => new Generation(session, stream(), setup({ stopIds: stopIds as number[] }))).toThrow(/stopIds/)
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

describe("abort", () => {
  it("anywhere in a prompt leaves complete tokens only, and the session answers rightly afterwards", async () => {
    const stream = prompt(text(...ids(60)), image(4, 4), text(...ids(20)))
    const wanted = await oneShot(stream)
    let aborts = 0
    for (let n = 0; ; n++) {
      const own = new Session(pool)
      const failure = await own.prefill(stream, abortAfter(n)).catch((error) => error)
      if (!(failure instanceof Error)) break
      expect(failure).toMatchObject({ code: "aborted" })
      const held = own.length
      expect(pool.cache.length(1)).toBe(held)
      const { logits, reused } = await own.prefill(stream)
      expect(reused).toBe(held)
      expect(logits).toEqual(wanted)
      await own.dispose()
      aborts++
    }
    expect(aborts).toBeGreaterThan(4)
  })

  it("in a step leaves the tokens before it", async () => {
    const start = ids(8)
    await session.prefill(prompt(text(...start)))
    await expect(session.step(3, abortAfter(2))).rejects.toMatchObject({ code: "aborted" })
    expect(session.length).toBe(8)
    expect(await session.step(4)).toEqual(await oneShot(prompt(text(...start, 4))))
  })
})
