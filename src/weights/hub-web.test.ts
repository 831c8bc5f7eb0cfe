import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { FakeOpfs } from "../../test/fake-opfs"
import { HubServer, noise } from "../../test/hub-server"
import type { HttpFilesOptions, OpenFiles } from "./http-files-web"
import { openHub } from "./hub-web"
import { readJson, readText } from "./source"

const WEIGHTS = noise(300_000)

let hub: HubServer
let opfs: FakeOpfs
let notices: string[]
let opened: OpenFiles[]

beforeEach(async () => {
  hub = await HubServer.start({
    "config.json": '{"a":1}',
    "tokenizer.json": "{}",
    "README.md": "# never fetched",
    "code.py": "import os",
    "model.safetensors": WEIGHTS,
  })
  opfs = new FakeOpfs()
  notices = []
  opened = []
})
afterEach(async () => {
  for (const files of opened.splice(0)) await files.close()
  await hub.stop()
})

async function open(model = hub.model, access: { token?: string } = {}, more: HttpFilesOptions = {}) {
  const files = await openHub(
    model,
    { endpoint: hub.endpoint, ...access },
    {
      storage: opfs.storage,
      locks: opfs.locks,
      patience: { attempts: 2, delayMs: 1, stallMs: 5000 },
      onNotice: (message) => notices.push(message),
      ...more,
    },
  )
  opened.push(files)
  return files
}

/** Read everything once, and give it back. */
async function load(...request: Parameters<typeof open>): Promise<void> {
  const files = await open(...request)
  expect(await readJson(files, "config.json")).toEqual({ a: 1 })
  expect(await readText(files, "tokenizer.json")).toBe("{}")
  const source = await files.open("model.safetensors")
  expect(source.size).toBe(WEIGHTS.length)
  expect(Buffer.compare(await source.read(1000, 200_000), WEIGHTS.subarray(1000, 201_000))).toBe(0)
  for (const each of opened.splice(0)) await each.close()
}

describe("a model of the Hub", () => {
  test("is fetched once, by its commit; the second time only its listing is", async () => {
    await load()
    expect(notices).toEqual([
      expect.stringMatching(
        /Downloading Perceptron-Test\/isaac \(0 MB\)\. Its licence: cc-by-nc-4.0, for non-commercial/,
      ),
    ])
    expect(hub.fetched("config.json").map(({ path }) => path)).toEqual([
      `/${hub.model}/resolve/${hub.commit}/config.json`,
    ])
    expect(hub.seen.some(({ path }) => /README|code/.test(path))).toBe(false)
    hub.seen.length = 0
    notices = []
    await load()
    expect(hub.seen.map(({ path }) => path)).toEqual([`/api/models/${hub.model}/revision/main`])
    expect(notices).toEqual([])
  })

  test("named by a commit needs no request at all when it is kept", async () => {
    const pinned = `${hub.model}@${hub.commit}`
    await load(pinned)
    hub.seen.length = 0
    await load(pinned)
    expect(hub.seen).toEqual([])
  })

  test("loads while the Hub is out of reach, with a notice", async () => {
    await load()
    notices = []
    hub.misbehave = (_seen, response) => {
      response.destroy()
      return true
    }
    await load()
    expect(notices).toEqual([expect.stringMatching(/cannot reach .*Using what the browser has kept/)])
  })

  test("of a new commit: what is the same is not fetched again", async () => {
    await load()
    hub.seen.length = 0
    hub.commit = "d".repeat(40)
    hub.files.set("tokenizer.json", new TextEncoder().encode("{} "))
    const files = await open()
    expect(await readText(files, "tokenizer.json")).toBe("{} ")
    expect(await readJson(files, "config.json")).toEqual({ a: 1 })
    await (await files.open("model.safetensors")).read(0, 10)
    expect(hub.seen.map(({ path }) => path)).toEqual([
      `/api/models/${hub.model}/revision/main`,
      `/${hub.model}/resolve/${hub.commit}/tokenizer.json`,
    ])
  })

  test("gets the token in a header, and only the Hub itself does", async () => {
    await load(hub.model, { token: "hf_secret" })
    const own = hub.seen.filter(({ server }) => server === "hub")
    const elsewhere = hub.seen.filter(({ server }) => server === "cdn")
    expect(own.every(({ headers }) => headers.authorization === "Bearer hf_secret")).toBe(true)
    expect(elsewhere.length).toBeGreaterThan(0)
    expect(elsewhere.every(({ headers }) => headers.authorization === undefined)).toBe(true)
    expect(hub.seen.some(({ path }) => path.includes("hf_secret"))).toBe(false)
    expect([...opfs.files].some(([name, { bytes }]) => (name + Buffer.from(bytes)).includes("hf_secret"))).toBe(false)
    await expect(open(hub.model, { token: "a b" })).rejects.toMatchObject({ code: "bad_input" })
  })

  test("is not kept when that is not wanted", async () => {
    await load(hub.model, {}, { keep: false })
    expect(opfs.files.size).toBe(0)
  })

  test.each([
    ["no such model", "Org/none", { code: "not_found", message: /no such model or revision/ }],
    ["no such revision", "Perceptron-Test/isaac@nope", { code: "not_found" }],
    ["no id", "Org", { code: "bad_input" }],
  ])("%s", async (_what, model, failure) => {
    await expect(open(model)).rejects.toMatchObject(failure)
  })

  test("refusals are told with what to do, and give back the lock", async () => {
    hub.misbehave = (_seen, response) => {
      response.writeHead(401).end()
      return true
    }
    await expect(open()).rejects.toMatchObject({ code: "io", message: /needs a login.*hub: \{ token \}/ })
    hub.misbehave = (_seen, response) => {
      response.writeHead(200).end("<html>")
      return true
    }
    await expect(open()).rejects.toMatchObject({ code: "io", message: /did not answer with JSON/ })
    hub.misbehave = () => false
    hub.files.delete("tokenizer.json")
    await expect(open()).rejects.toMatchObject({ code: "bad_checkpoint", message: /no tokenizer/ })
    await expect(openHub(hub.model, { endpoint: "ftp://x" }, {})).rejects.toMatchObject({ code: "bad_input" })
    hub.files.set("tokenizer.json", new TextEncoder().encode("{}"))
    await load()
  })
})
