import { afterEach, describe, expect, it, vi } from "vitest"
import { IsaacError } from "../errors"
import { LocalCaller } from "./local-caller"
import type { CallContext, Caller, Port } from "./protocol"
import { RpcClient } from "./rpc-client"
import { serve } from "./rpc-server"

/** A service whose methods show what the border does to them. */
function testService() {
  const log: string[] = []
  const kept = new Float32Array([1, 2, 3, 4])
  return {
    log,
    kept,
    calls: {
      async echo(input: { value: unknown }) {
        return input.value
      },
      async fail(input: { code: "bad_image" | "other" }): Promise<never> {
        if (input.code === "other") throw new RangeError("too far")
        throw new IsaacError("bad_image", "no picture in there")
      },
      async countTo(input: { n: number }, context: CallContext) {
        for (let i = 1; i <= input.n; i++) context.progress(i)
        return input.n
      },
      async untilAborted(_input: null, context: CallContext) {
        const start = performance.now()
        while (!context.abort.aborted && performance.now() - start < 5000) {
          await new Promise((resolve) => setTimeout(resolve, 1))
        }
        return { aborted: context.abort.aborted, signal: context.signal.aborted }
      },
      async numbers() {
        return { logits: { data: kept, shape: [2, 2] }, loss: 3 }
      },
    },
    streams: {
      async *letters(input: { text: string; failAt?: number }): AsyncGenerator<string> {
        try {
          for (const [i, letter] of [...input.text].entries()) {
            if (i === input.failAt) throw new IsaacError("not_finite", `letter ${i}`)
            log.push(`made ${letter}`)
            yield letter
          }
        } finally {
          log.push("closed")
        }
      },
      async *untilAborted(_input: null, context: CallContext): AsyncGenerator<number> {
        for (let i = 0; i < 1000 && !context.abort.aborted; i++) yield i
      },
    },
  }
}
type TestService = ReturnType<typeof testService>

const turn = () => new Promise((resolve) => setTimeout(resolve, 5))
let close = () => {}
afterEach(() => {
  vi.unstubAllGlobals()
  close()
})

function overPort(): { caller: Caller<TestService>; log: string[]; busy: boolean[]; kept: Float32Array } {
  const { port1, port2 } = new MessageChannel()
  close = () => port1.close()
  const service = testService()
  const busy: boolean[] = []
  serve(port2 as unknown as Port, service)
  return {
    caller: new RpcClient<TestService>(port1 as unknown as Port, { onBusy: (b) => busy.push(b) }),
    log: service.log,
    busy,
    kept: service.kept,
  }
}

function direct(): { caller: Caller<TestService>; log: string[] } {
  const service = testService()
  return { caller: new LocalCaller(service), log: service.log }
}

async function read(stream: AsyncIterable<string>): Promise<string> {
  let out = ""
  for await (const letter of stream) out += letter
  return out
}

describe.each([
  ["over a port", overPort],
  ["in the same thread", direct],
])("%s", (_, connect) => {
  it("brings results, progress and errors across", async () => {
    const { caller } = connect()
    expect(await caller.call("echo", { value: new Map([["a", Int32Array.of(1, 2)]]) })).toEqual(
      new Map([["a", Int32Array.of(1, 2)]]),
    )
    const seen: unknown[] = []
    expect(await caller.call("countTo", { n: 3 }, { onProgress: (n) => seen.push(n) })).toBe(3)
    expect(seen).toEqual([1, 2, 3])
    const failure = await caller.call("fail", { code: "bad_image" }).catch((error) => error)
    expect(failure).toBeInstanceOf(IsaacError)
    expect(failure).toMatchObject({ code: "bad_image", message: "no picture in there" })
  })

  it("lets several requests run side by side", async () => {
    const { caller } = connect()
    const texts = ["abcdef", "uvwxyz", ""]
    expect(await Promise.all(texts.map((text) => read(caller.iterate("letters", { text }))))).toEqual(texts)
  })

  it("ends a stream when its reader leaves, and fails where its maker failed", async () => {
    const { caller, log } = connect()
    for await (const letter of caller.iterate("letters", { text: "abcdef" })) {
      if (letter === "b") break
    }
    expect(log.at(-1)).toBe("closed")
    const got: string[] = []
    const failure = await (async () => {
      for await (const letter of caller.iterate("letters", { text: "abc", failAt: 2 })) got.push(letter)
    })().catch((error) => error)
    expect(got).toEqual(["a", "b"])
    expect(failure).toMatchObject({ name: "IsaacError", code: "not_finite" })
  })

  it("shows an abort to the running method", async () => {
    const { caller } = connect()
    const controller = new AbortController()
    const running = caller.call("untilAborted", null, { signal: controller.signal })
    setTimeout(() => controller.abort(), 10)
    expect(await running).toMatchObject({ aborted: true })
    expect(await caller.call("untilAborted", null, { signal: controller.signal })).toEqual({
      aborted: true,
      signal: true,
    })
  })

  it("shows an abort by messages alone where there is no shared memory, also one from before the call", async () => {
    vi.stubGlobal("SharedArrayBuffer", undefined)
    const { caller } = connect()
    const controller = new AbortController()
    const running = caller.call("untilAborted", null, { signal: controller.signal })
    setTimeout(() => controller.abort(), 10)
    expect(await running).toEqual({ aborted: true, signal: true })
    const late = caller.iterate("untilAborted", null, { signal: controller.signal })
    expect(await late.next()).toEqual({ done: true, value: undefined })
  })

  it("sees a flag that is no AbortSignal", async () => {
    const { caller } = connect()
    const flag = { aborted: false }
    let seen = 0
    for await (const n of caller.iterate("untilAborted", null, { signal: flag })) {
      seen = n
      flag.aborted ||= n === 5
    }
    expect(seen).toBeLessThan(10)
  })

  it("waits until idle, and refuses everything after a failure", async () => {
    const { caller } = connect()
    const text = read(caller.iterate("letters", { text: "abcdef" }))
    await caller.idle()
    caller.fail(new IsaacError("worker_lost", "gone"))
    expect(await text).toBe("abcdef")
    await expect(caller.call("echo", { value: 1 })).rejects.toMatchObject({ code: "worker_lost" })
    await expect(caller.iterate("letters", { text: "a" }).next()).rejects.toMatchObject({ code: "worker_lost" })
  })
})

describe("over a port only", () => {
  it("works one item ahead of the reader and no further", async () => {
    const { caller, log } = overPort()
    const stream = caller.iterate("letters", { text: "abcdef" })
    expect((await stream.next()).value).toBe("a")
    await turn()
    expect(log).toEqual(["made a", "made b"])
  })

  it("rejects pending requests when the other side is lost", async () => {
    const { caller, busy } = overPort()
    const pending = [caller.call("untilAborted", null), caller.call("untilAborted", null)]
    caller.fail(new IsaacError("worker_lost", "gone"))
    for (const call of pending) await expect(call).rejects.toMatchObject({ code: "worker_lost" })
    expect(busy).toEqual([true, false])
  })

  it("tells when a request is aborted, after its own flag is set, and not for one that has ended", async () => {
    const { port1, port2 } = new MessageChannel()
    close = () => port1.close()
    serve(port2 as unknown as Port, testService())
    let aborts = 0
    const client = new RpcClient<TestService>(port1 as unknown as Port, { onAbort: () => aborts++ })
    const [running, ended] = [new AbortController(), new AbortController()]
    await client.call("echo", { value: 1 }, { signal: ended.signal })
    ended.abort()
    const call = client.call("untilAborted", null, { signal: running.signal })
    running.abort()
    expect(aborts).toBe(1)
    expect(await call).toMatchObject({ aborted: true })
  })

  it("names errors of others and arguments that cannot travel", async () => {
    const { caller } = overPort()
    await expect(caller.call("fail", { code: "other" })).rejects.toMatchObject({
      code: "internal",
      message: "RangeError: too far",
    })
    await expect(caller.call("echo", { value: () => 1 })).rejects.toMatchObject({ code: "bad_input" })
    expect(await caller.call("echo", { value: 5 })).toBe(5)
  })

  it("moves the buffers of numbers instead of copying them", async () => {
    const { caller, kept } = overPort()
    expect(await caller.call("numbers", undefined as never)).toEqual({
      logits: { data: Float32Array.of(1, 2, 3, 4), shape: [2, 2] },
      loss: 3,
    })
    expect(kept.byteLength).toBe(0)
  })
})
