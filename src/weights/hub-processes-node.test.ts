import { type ChildProcess, spawn } from "node:child_process"
import { mkdtemp, readdir, rm, stat } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { build } from "tsdown"
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest"
import { HubServer, noise, sha256 } from "../../test/hub-server"

const WEIGHTS = noise(400_000)

describe("several processes", () => {
  let folder: string
  let script: string
  let server: HubServer
  let home: string
  const children: ChildProcess[] = []

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "isaac-hub-processes-"))
    const entry = fileURLToPath(new URL("hub-node.ts", import.meta.url))
    await build({ config: false, entry: { hub: entry }, outDir: folder, dts: false, format: "esm", logLevel: "silent" })
    script = join(folder, (await readdir(folder)).find((name) => /^hub\.m?js$/.test(name))!)
    server = await HubServer.start({ "config.json": "{}", "tokenizer.json": "{ }", "model.safetensors": WEIGHTS })
  })
  beforeEach(() => {
    home = join(folder, `home-${Math.random()}`)
    server.seen.length = 0
    server.misbehave = () => false
  })
  afterAll(async () => {
    for (const child of children) child.kill("SIGKILL")
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  })

  /** Another Node that downloads the model; resolves with what it prints. */
  function download(): { child: ChildProcess; printed: Promise<string> } {
    const code = `
      const { fetchFromHub } = await import(process.argv[1])
      const onNotice = ({ kind }) => console.log(kind)
      console.log(await fetchFromHub(process.argv[2], { onNotice, lock: { pollMs: 20 } }))`
    const child = spawn(
      process.execPath,
      ["--input-type=module", "-e", code, new URL(`file://${script}`).href, server.model],
      {
        env: {
          ...process.env,
          HF_HOME: home,
          HF_ENDPOINT: server.endpoint,
          HF_TOKEN: "",
          HF_HUB_CACHE: "",
          HF_HUB_OFFLINE: "",
        },
        stdio: ["ignore", "pipe", "inherit"],
      },
    )
    children.push(child)
    let text = ""
    child.stdout!.on("data", (piece) => {
      text += piece
    })
    return { child, printed: new Promise((resolve) => child.on("close", () => resolve(text))) }
  }

  it("download once when they start together", async () => {
    // Slow enough that the second one comes while the first is at it.
    server.misbehave = (seen, response) => {
      if (seen.server !== "cdn") return false
      response.writeHead(200, { etag: server.cdnEtag, "content-length": WEIGHTS.length })
      response.write(WEIGHTS.subarray(0, 1000))
      setTimeout(() => response.end(WEIGHTS.subarray(1000)), 1_500)
      return true
    }
    const printed = await Promise.all([download().printed, download().printed])
    const lines = printed.map((text) => text.trim().split("\n"))
    expect(lines.map((line) => line[0]).sort()).toEqual(["licence", "waiting"])
    expect(lines.map((line) => line.at(-1))).toEqual(Array(2).fill(expect.stringContaining(server.commit)))
    // The listing, two small files, and a large one with its redirect.
    expect(server.seen).toHaveLength(1 + 2 + 2)
    expect(server.seen.filter((seen) => seen.server === "cdn")).toHaveLength(1)
  })

  it("go on where one was killed", async () => {
    server.misbehave = (seen, response) => {
      if (seen.server !== "cdn") return false
      response.writeHead(200, { etag: server.cdnEtag, "content-length": WEIGHTS.length })
      response.write(WEIGHTS.subarray(0, 150_000))
      return true
    }
    const first = download()
    const partial = join(home, "hub", "models--Perceptron-Test--isaac", "blobs", `${sha256(WEIGHTS)}.isaac.incomplete`)
    await vi.waitFor(async () => expect((await stat(partial)).size).toBe(150_000), { timeout: 15_000, interval: 50 })
    first.child.kill("SIGKILL")
    await first.printed

    server.misbehave = () => false
    const lines = (await download().printed).trim().split("\n")
    expect(lines).toEqual(["licence", expect.stringContaining(server.commit)])
    expect(server.seen.at(-1)).toMatchObject({
      server: "cdn",
      headers: { range: "bytes=150000-", "if-range": '"cdn-1"' },
    })
  })
})
