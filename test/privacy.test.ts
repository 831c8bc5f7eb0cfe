/** What docs/privacy-and-safety.md promises: local models talk to nobody. */

import dns from "node:dns"
import { readFileSync } from "node:fs"
import { syncBuiltinESMExports } from "node:module"
import { Socket } from "node:net"
import { fileURLToPath } from "node:url"
import { afterEach, beforeEach, expect, it, vi } from "vitest"
import { loadEngine } from "../src/engine-node"

const samples = fileURLToPath(new URL("../models/isaac-tiny/samples/", import.meta.url))
const picture = `${samples}01-locate-box.png`

let calls: string[]
beforeEach(() => {
  calls = []
  const forbid = (name: string) => () => {
    calls.push(name)
    throw new Error(`${name} was called`)
  }
  vi.spyOn(Socket.prototype, "connect").mockImplementation(forbid("connect"))
  vi.spyOn(dns, "lookup").mockImplementation(forbid("lookup") as never)
  vi.spyOn(globalThis, "fetch").mockImplementation(forbid("fetch") as never)
  syncBuiltinESMExports()
})
afterEach(() => {
  vi.restoreAllMocks()
  syncBuiltinESMExports()
})

it("a local model makes no connection, whatever it is asked", async () => {
  const model = fileURLToPath(new URL("../models/isaac-tiny", import.meta.url))
  for (const name of ["tiny", model]) {
    const engine = await loadEngine(name)
    const bytes = readFileSync(picture)
    const uri = `data:image/png;base64,${bytes.toString("base64")}`
    const conversation = engine.session()
    for (const image of [picture, bytes, uri]) {
      for await (const _ of conversation.ask([image], "See http://public.test/x.png", { maxNewTokens: 2 }));
    }
    await engine.dispose()
  }
  expect(calls).toEqual([])
})

it("a picture's address is the only thing that is fetched", async () => {
  const engine = await loadEngine("tiny", { allowPrivateUrls: true })
  const ask = async (image: string) => {
    for await (const _ of engine.ask([image], "What?"));
  }
  await expect(ask("http://127.0.0.1:9/x.png")).rejects.toMatchObject({ code: "io" })
  await expect(ask("http://public.test/x.png")).rejects.toMatchObject({ code: "io" })
  expect(calls).toEqual(["connect", "connect"])
  await engine.dispose()
})

it("allowPrivateUrls must be said, and is true or false", async () => {
  const engine = await loadEngine("tiny")
  const ask = async () => {
    for await (const _ of engine.ask(["http://localhost:9/x.png"], "What?"));
  }
  await expect(ask()).rejects.toMatchObject({ code: "bad_input", message: expect.stringContaining("allowPrivateUrls") })
  await engine.dispose()
  await expect(loadEngine("tiny", { allowPrivateUrls: "false" as never })).rejects.toMatchObject({
    code: "bad_input",
    message: expect.stringContaining('"false"'),
  })
  expect(calls).toEqual([])
})
