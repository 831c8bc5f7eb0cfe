import { describe, expect, it } from "vitest"
import type { Answer, AnswerEvent } from "../isaac"
import { AnswerRun } from "./answer-run"

const answer = { text: "abc" } as Answer

function source(failAt = Number.POSITIVE_INFINITY) {
  const state = { pulled: 0, closed: false }
  async function* events(): AsyncGenerator<AnswerEvent> {
    try {
      for (const text of "abc") {
        if (state.pulled === failAt) throw new Error("broken")
        state.pulled++
        yield { type: "text.delta", text }
      }
      yield { type: "final", answer }
    } finally {
      state.closed = true
    }
  }
  return { state, run: new AnswerRun(events()) }
}

async function types(run: AsyncIterable<AnswerEvent>): Promise<string> {
  let out = ""
  for await (const event of run) out += event.type === "text.delta" ? event.text : "."
  return out
}

describe("AnswerRun", () => {
  it("does nothing until somebody reads or waits", async () => {
    const { state, run } = source()
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect(state.pulled).toBe(0)
    expect(await run).toBe(answer)
  })

  it("shows all events to every reader, at the same time or later", async () => {
    const { run } = source()
    expect(await Promise.all([types(run), run, types(run)])).toEqual(["abc.", answer, "abc."])
    expect(await types(run)).toBe("abc.")
    expect(await run).toBe(answer)
  })

  it("stops its source when the last reader leaves, and says so to who waits afterwards", async () => {
    const { state, run } = source()
    for await (const _ of run) break
    expect(state).toEqual({ pulled: 1, closed: true })
    await expect(run.answer()).rejects.toMatchObject({ code: "aborted" })
  })

  it("goes on while one reader is left", async () => {
    const { run } = source()
    const whole = types(run)
    for await (const _ of run) break
    expect(await whole).toBe("abc.")
  })

  it("fails for everybody when its source fails", async () => {
    const { run } = source(2)
    const readers = [types(run), run.answer()]
    for (const reader of readers) await expect(reader).rejects.toThrow("broken")
    await expect(run.answer()).rejects.toThrow("broken")
    const caught: unknown = await run.then(
      () => "fine",
      (error) => (error as Error).message,
    )
    expect(caught).toBe("broken")
    expect(await run.catch((error) => (error as Error).message)).toBe("broken")
    let ended = false
    await expect(run.finally(() => (ended = true))).rejects.toThrow("broken")
    expect(ended).toBe(true)
  })
})
