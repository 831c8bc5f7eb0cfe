/** Random lives of several sessions under a tight memory cap, against the model without any session. */

import { afterAll, beforeAll, expect, it } from "vitest"
import { FailingBackend, picture, prompt, SessionRig, text } from "../../test/session-rig"
import { createReferenceBackend } from "../ops/reference"
import type { Event, TensorStream } from "../stream"
import type { AbortFlag } from "./abort"
import { Random } from "./random"
import { Session } from "./session"
import type { SessionPool } from "./session-pool"

const failing = new FailingBackend(createReferenceBackend())
let rig: SessionRig
beforeAll(async () => {
  rig = await SessionRig.create(failing.backend)
})
afterAll(() => rig.dispose())

/** Two of them have the same token view. */
const first = picture(4, 4, 1)
const mirrored = picture(4, 4, 1)
for (let patch = 0; patch < 16; patch++) mirrored.data.values.subarray(patch * 768, (patch + 1) * 768).reverse()
const PICTURES = [first, mirrored, picture(2, 6, 2)]

/** A session and what its last prompt was. */
interface Life {
  session: Session
  events: Event[]
}

it.each([1, 2])("every answer of life %j is that of the model alone, and no byte is lost", async (seed) => {
  const random = new Random(seed)
  const choose = (n: number) => Math.floor(random.next() * n)
  const baseline = rig.backend.memory().used
  const pool: SessionPool = rig.pool(4, { imageMemory: 4000 })
  let lives: Life[] = []
  const counts: Record<string, number> = {}
  const note = (what: string) => {
    counts[what] = (counts[what] ?? 0) + 1
  }

  const nextPrompt = (life: Life): TensorStream => {
    const tokens = () => text(...Array.from({ length: 5 + choose(40) }, () => choose(500)))
    life.events = life.events.slice(0, choose(life.events.length + 1))
    // Text comes first: after a picture wider than the text before it, said tokens stand elsewhere than in a prompt.
    if (life.events.length === 0 || prompt(...life.events).shape[1] > 100) life.events = [tokens()]
    life.events.push(choose(3) === 0 ? PICTURES[choose(3)] : tokens(), text(choose(500)))
    return prompt(...life.events)
  }
  const turn = async (life: Life, abort?: AbortFlag) => {
    const stream = nextPrompt(life)
    const release = life.session.claim()
    try {
      let { logits } = await life.session.prefill(stream, abort)
      const said: number[] = []
      for (let steps = choose(4); ; steps--) {
        const want = await rig.oneShot(said.length > 0 ? prompt(...life.events, text(...said)) : stream)
        expect(logits).toEqual(want)
        if (steps === 0) break
        said.push(choose(500))
        logits = await life.session.step(said.at(-1)!, abort)
      }
      note("turn")
    } catch (error) {
      const { code } = error as { code?: string }
      if (code !== "out_of_memory" && code !== "aborted") throw error
      note(code)
    } finally {
      release()
    }
  }
  const copyOf = async ({ session, events }: Life): Promise<Life> => {
    const held = structuredClone(session.held())
    const layers = await Promise.all([0, 1, 2].map((layer) => session.exportLayer(layer)))
    const copy = new Session(pool)
    const into = copy.restore(held, async (layer) => layers[layer])
    await into.then(
      () => note("restore"),
      (error) => {
        expect(error).toMatchObject({ code: "out_of_memory" })
        expect(copy.length).toBe(0)
      },
    )
    return { session: copy, events: [...events] }
  }

  for (let step = 0; step < 60; step++) {
    if (lives.length === 0 || (lives.length < 5 && choose(5) === 0))
      lives.push({ session: new Session(pool), events: [] })
    const life = lives[choose(lives.length)]
    switch (choose(9)) {
      case 0:
        if (lives.length < 7) lives.push({ session: life.session.fork(), events: [...life.events] })
        break
      case 1:
        if (lives.length < 7) lives.push(await copyOf(life))
        break
      case 2:
        life.session.truncate(choose(life.session.length + 1))
        break
      case 3:
        await life.session.dispose()
        lives = lives.filter((other) => other !== life)
        break
      case 4: {
        let asked = choose(12)
        await turn(life, {
          get aborted() {
            return asked-- <= 0
          },
        })
        break
      }
      case 5:
        failing.fail = { from: failing.count + choose(120), times: 1 + choose(2) * 1000 }
        await turn(life)
        failing.fail = { from: Number.POSITIVE_INFINITY, times: 1 }
        break
      case 6:
        await Promise.all(lives.slice(0, 3).map((one) => turn(one)))
        break
      default:
        await turn(life)
    }
    expect(pool.cache.bytes).toBeLessThanOrEqual(pool.sessionMemory)
    expect(pool.images.bytes).toBeLessThanOrEqual(pool.images.maxBytes)
    for (const { session } of lives) expect(session.idle).toBe(true)
  }

  // All of it has happened, and everything goes.
  expect(counts).toMatchObject({
    turn: expect.any(Number),
    out_of_memory: expect.any(Number),
    aborted: expect.any(Number),
  })
  expect(counts.turn).toBeGreaterThan(15)
  expect(pool.usage().sessions.evictions).toBeGreaterThan(0)
  for (const { session } of lives) await session.dispose()
  expect(pool.usage().sessions).toMatchObject({ open: 0, bytes: 0 })
  pool.images.clear()
  pool.cache.free()
  expect(rig.backend.memory().used).toBe(baseline)
})
