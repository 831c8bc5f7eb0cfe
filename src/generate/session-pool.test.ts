import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import { FailingBackend, ids, picture, prompt, SessionRig, text, turn } from "../../test/session-rig"
import { IsaacError } from "../errors"
import { createWasmBackend } from "../ops/cpu/load-wasm-node"
import type { TensorMemory } from "../ops/cpu/tensor-memory"
import { createReferenceBackend } from "../ops/reference"
import { Generation } from "./generation"
import { Session } from "./session"
import type { SessionPool } from "./session-pool"

const failing = new FailingBackend(createReferenceBackend())
let rig: SessionRig
let pool: SessionPool
let baseline: number

beforeAll(async () => {
  rig = await SessionRig.create(failing.backend)
  baseline = rig.backend.memory().used
})
afterAll(() => rig.dispose())
afterEach(() => {
  failing.fail = { from: Number.POSITIVE_INFINITY, times: 1 }
  pool.images.clear()
  expect(pool.images.bytes).toBe(0)
  pool.cache.free()
  expect(rig.backend.memory().used).toBe(baseline)
})

const long = (tokens: number, seed: number) => prompt(text(...ids(tokens, seed)))

describe("the memory cap", () => {
  it("takes keys and values from the session used longest ago, and that one answers as if nothing had been", async () => {
    pool = rig.pool(4)
    const [a, b, c] = [new Session(pool), new Session(pool), new Session(pool)]
    await turn(a, long(100, 1))
    await turn(b, long(100, 2))
    await turn(a, long(100, 1)) // used again
    await turn(c, long(100, 3))
    expect([a, b, c].map(({ length }) => length)).toEqual([100, 0, 100])
    expect(pool.usage().sessions).toEqual({
      open: 3,
      bytes: pool.sessionMemory,
      limit: pool.sessionMemory,
      evictions: 1,
    })
    const { logits, reused } = await turn(b, long(100, 2), [5])
    expect(reused).toBe(0)
    expect(logits[1]).toEqual(await rig.oneShot(prompt(text(...ids(100, 2), 5))))
    expect([a, b, c].map(({ length }) => length)).toEqual([0, 101, 100])
  })

  it("is kept at every token", async () => {
    pool = rig.pool(3)
    const [a, b] = [new Session(pool), new Session(pool)]
    await turn(a, long(64, 1))
    const release = b.claim()
    await b.prefill(long(127, 2))
    await b.step(1)
    expect([a.length, b.length]).toEqual([64, 128])
    const logits = await b.step(2)
    expect(logits).toEqual(await rig.oneShot(prompt(text(...ids(127, 2), 1, 2))))
    expect([a.length, b.length]).toEqual([0, 129])
    for (let id = 3; b.length < 192; id++) await b.step(id)
    await expect(b.step(1)).rejects.toMatchObject({ code: "out_of_memory" })
    expect(b.length).toBe(192)
    expect(pool.cache.bytes).toBe(pool.sessionMemory)
    release()
  })

  it("never takes from a session that is answering: the other turn fails with the numbers and both stay whole", async () => {
    pool = rig.pool(3)
    const [a, b] = [new Session(pool), new Session(pool)]
    const release = a.claim()
    await a.prefill(long(100, 1))
    await turn(b, long(60, 2))
    const failure = await turn(b, long(100, 2)).catch((error) => error)
    expect(failure).toMatchObject({ code: "out_of_memory" })
    expect(failure.message).toMatch(/^40 more tokens beside the 60 held need 0\.\d\d MB.*0\.\d\d MB of 0\.\d\d MB/)
    expect(failure.message).toMatch(
      /1 other session is answering. Ask again when they have ended, or load with a larger/,
    )
    expect([a.length, b.length]).toEqual([100, 60])
    expect(await a.step(7)).toEqual(await rig.oneShot(prompt(text(...ids(100, 1), 7))))
    release()
    expect((await turn(b, long(100, 2))).logits[0]).toEqual(await rig.oneShot(long(100, 2)))
    expect(a.length).toBe(0)
  })

  it("refuses a prompt that will never fit before anything is computed", async () => {
    pool = rig.pool(2)
    const session = new Session(pool)
    const before = failing.count
    await expect(turn(session, prompt(picture(4, 4, 1), text(...ids(130, 1))))).rejects.toMatchObject({
      code: "out_of_memory",
      message: expect.stringMatching(/^134 more tokens.*0\.00 MB of .*Shorten the prompt, or load/),
    })
    expect(failing.count).toBe(before)
  })

  it("tells who goes on without a prompt that its past is gone", async () => {
    pool = rig.pool(2)
    const [a, b] = [new Session(pool), new Session(pool)]
    await turn(a, long(100, 1))
    await turn(b, long(100, 2))
    await expect(a.step(1)).rejects.toThrow(/made room for others/)
    await expect(a.fork().step(1)).rejects.toThrow(/made room for others/)
    await turn(a, long(20, 1), [1])
    expect(a.length).toBe(21)
  })
})

describe("forks", () => {
  it("share what they have in common, answer at once as each alone would, and may go in any order", async () => {
    const shared = [text(...ids(80, 1)), picture(4, 6, 2), text(...ids(20, 3))]
    const questions = Array.from({ length: 8 }, (_, i) => prompt(...shared, text(...ids(5, 10 + i))))
    const whole = questions[0].shape[1]
    pool = rig.pool(2 + 8)
    const parent = new Session(pool)
    await turn(parent, prompt(...shared))
    const before = pool.cache.bytes
    const forks = questions.map(() => parent.fork())
    expect(pool.cache.bytes).toBe(before)
    const answers = await Promise.all(forks.map((fork, i) => turn(fork, questions[i], [1, 2])))
    for (const [i, { logits, reused }] of answers.entries()) {
      expect(reused).toBe(whole - 5)
      const want = prompt(...questions[i].events, text(1, 2))
      expect(logits[2]).toEqual(await rig.oneShot(want))
    }
    // The first of the two blocks is everybody's, the second each one's own; the parent's is the ninth.
    expect(pool.cache.bytes).toBe(10 * rig.blockBytes())
    expect(pool.usage().sessions.evictions).toBe(0)
    const order = [forks[3], parent, forks[7], forks[0], forks[1], forks[6], forks[2], forks[5]]
    for (const session of order) await session.dispose()
    expect((await turn(forks[4], questions[4])).reused).toBe(whole - 1)
    await forks[4].dispose()
    expect(pool.cache.bytes).toBe(0)
    expect(pool.usage().sessions.open).toBe(0)
  })

  it("of an evicted session compute what is missing", async () => {
    pool = rig.pool(2)
    const [a, b] = [new Session(pool), new Session(pool)]
    await turn(a, long(70, 1))
    await turn(b, long(70, 2))
    const fork = a.fork()
    expect(fork.length).toBe(0)
    expect((await turn(fork, long(70, 1))).logits[0]).toEqual(await rig.oneShot(long(70, 1)))
  })

  it("of a session that is answering start with the whole tokens it has", async () => {
    pool = rig.pool(8)
    const parent = new Session(pool)
    const release = parent.claim()
    await parent.prefill(long(50, 1))
    await parent.step(3)
    const fork = parent.fork()
    await parent.step(4)
    expect([parent.length, fork.length]).toEqual([52, 51])
    expect(await parent.step(6)).toEqual(await rig.oneShot(prompt(text(...ids(50, 1), 3, 4, 6))))
    release()
    const next = prompt(text(...ids(50, 1), 9))
    expect((await turn(fork, next)).reused).toBe(50)
    expect((await turn(fork, next)).logits[0]).toEqual(await rig.oneShot(next))
  })
})

describe("turns", () => {
  it("are taken by one answer after the other, and a long prompt does not hold the others up", async () => {
    pool = rig.pool(40)
    const vocabulary = { size: 500, tokenBytes: () => Uint8Array.of(97), isSpecial: () => false }
    const log: string[] = []
    const answer = async (name: string, stream: ReturnType<typeof long>, maxNewTokens: number) => {
      const setup = { maxNewTokens, stopIds: [], vocabulary }
      for await (const _ of new Generation(new Session(pool), stream, setup)) log.push(name)
      log.push(`end of ${name}`)
    }
    await Promise.all([answer("a", long(5, 1), 12), answer("b", long(5, 2), 12), answer("long", long(390, 3), 1)])
    const head = log.slice(0, log.indexOf("long"))
    // How often a long prompt lets others run depends on the machine's speed; after its first chunk it does anywhere.
    expect(head.filter((name) => name === "a").length).toBeGreaterThan(0)
    for (let i = 1; i <= 12; i++) {
      const place = (name: string) =>
        log.findIndex((_, at) => log.slice(0, at + 1).filter((n) => n === name).length === i)
      const between = Math.abs(place("a") - place("b"))
      expect(between, `token ${i} of both`).toBeLessThan(4)
    }
  })
})

describe("a picture that was seen before", () => {
  it("at another place costs no vision, and gives the logits of a fresh run there", async () => {
    pool = rig.pool(40)
    const session = new Session(pool)
    const image = picture(4, 6, 3)
    await turn(session, prompt(text(1, 2, 3), image, text(4)))
    const moved = prompt(text(1, 2, 3, 9), image, text(4), image)
    const { logits, reused, visionMs } = await turn(session, moved)
    expect({ reused, visionMs }).toEqual({ reused: 3, visionMs: 0 })
    expect(logits[0]).toEqual(await rig.oneShot(moved))
  })
})

describe("when the backend's memory ends", () => {
  const stream = prompt(text(...ids(5, 1)), picture(4, 4, 2), text(...ids(3, 3)))
  const answer = [1, 2]

  it("at any allocation of a turn, once, idle sessions make room and the turn is as ever", async () => {
    pool = rig.pool(40)
    const want = await rig.oneShot(prompt(...stream.events, text(...answer)))
    let allocations = 1
    for (let k = 0; k < allocations; k++) {
      const [idle, session] = [new Session(pool), new Session(pool)]
      await turn(idle, long(3, 9))
      pool.images.clear()
      const [start, evictions] = [failing.count, pool.usage().sessions.evictions]
      failing.fail = { from: start + k, times: 1 }
      const { logits } = await turn(session, stream, answer)
      if (k === 0) allocations = failing.count - start - 1
      expect(logits[2]).toEqual(want)
      expect(pool.usage().sessions.evictions).toBe(evictions + 1)
      expect(idle.length).toBe(0)
      await Promise.all([idle.dispose(), session.dispose()])
    }
    expect(allocations).toBeGreaterThan(100)
  })

  it("at any allocation of a turn, for good, the turn fails, nothing leaks, and the session goes on later", async () => {
    pool = rig.pool(40)
    const want = await rig.oneShot(prompt(...stream.events, text(...answer)))
    const parent = new Session(pool)
    await turn(parent, prompt(...stream.events.slice(0, 1)))
    const [base, held] = [rig.backend.memory().used, pool.cache.bytes]
    for (let k = 0; ; k++) {
      const fork = k % 2 === 1 // its first write must copy a block
      const session = fork ? parent.fork() : new Session(pool)
      const release = parent.claim() // and the parent cannot make room
      failing.fail = { from: failing.count + k, times: Number.POSITIVE_INFINITY }
      const failure = await turn(session, stream, answer).catch((error) => error)
      failing.fail = { from: Number.POSITIVE_INFINITY, times: 1 }
      release()
      if (!(failure instanceof Error)) {
        expect(k).toBeGreaterThan(100)
        await session.dispose()
        break
      }
      expect(failure).toMatchObject({ code: "out_of_memory", message: expect.stringContaining("made to fail") })
      expect(pool.cache.length(1)).toBe(session.length)
      if (!fork) expect(pool.cache.bytes - held).toBe(session.length > 0 ? rig.blockBytes() : 0)
      if (k % 5 === 0) expect((await turn(session, stream, answer)).logits[2]).toEqual(want)
      await session.dispose()
      pool.images.clear()
      expect(rig.backend.memory().used, `after allocation ${k}`).toBe(base)
    }
  })

  it("lets go of pictures that nobody is looking at, but only then", async () => {
    pool = rig.pool(40)
    const session = new Session(pool)
    await turn(session, prompt(picture(4, 4, 5), text(1)))
    expect(pool.images.bytes).toBeGreaterThan(0)
    failing.fail = { from: failing.count, times: 1 }
    await turn(session, long(5, 5))
    expect(pool.images.bytes).toBe(0)
  })
})

describe("when the memory of WebAssembly ends", () => {
  it("at any allocation of a turn, inside operations too, nothing leaks and the session goes on later", async () => {
    const wasm = await createWasmBackend({ threads: 1 })
    const own = await SessionRig.create(wasm)
    pool = rig.pool(1)
    const wasmPool = own.pool(40)
    const { allocator } = Reflect.get(wasm, "mem") as TensorMemory
    const real = allocator.allocate.bind(allocator)
    let left = Number.POSITIVE_INFINITY
    allocator.allocate = (bytes, purpose) => {
      if (left-- <= 0) throw new IsaacError("out_of_memory", `${purpose} was made to fail`)
      return real(bytes, purpose)
    }
    const stream = prompt(text(...ids(70, 1)), picture(4, 4, 2), text(...ids(3, 3)))
    const parent = new Session(wasmPool)
    await turn(parent, prompt(text(...ids(30, 1))))
    const release = parent.claim()
    const [base, held] = [wasm.memory().used, wasmPool.cache.bytes]
    let want: Float32Array | undefined
    for (let k = 0; want === undefined; k++) {
      const session = k % 2 === 0 ? parent.fork() : new Session(wasmPool)
      left = k
      const result = await turn(session, stream, [1]).catch((error) => error)
      left = Number.POSITIVE_INFINITY
      if (result instanceof Error) {
        expect(result).toMatchObject({ code: "out_of_memory", message: expect.stringContaining("made to fail") })
        const blocks = Math.ceil(session.length / 64)
        expect(wasmPool.cache.bytes - held).toBeLessThanOrEqual(blocks * own.blockBytes())
      } else {
        expect(k).toBeGreaterThan(100)
        want = result.logits[1]
      }
      await session.dispose()
      wasmPool.images.clear()
      expect(wasm.memory().used, `after allocation ${k}`).toBe(base)
    }
    release()
    const fork = parent.fork()
    expect((await turn(fork, stream, [1])).logits[1].length).toBe(want.length)
    await own.dispose()
  })
})
