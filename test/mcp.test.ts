/** `isaac mcp`, asked by the SDK's own client: in this process, and as agents start it, over pipes. */

import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { Client } from "@modelcontextprotocol/sdk/client/index.js"
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js"
import { InMemoryTransport } from "@modelcontextprotocol/sdk/inMemory.js"
import type { CallToolResult, Progress } from "@modelcontextprotocol/sdk/types.js"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type LoadModel, McpModel } from "../src/cli/mcp-model"
import { PictureReader, type PictureReaderOptions } from "../src/cli/mcp-pictures"
import { serveMcp } from "../src/cli/mcp-serve"
import { createMcpServer } from "../src/cli/mcp-server"
import { IsaacError } from "../src/errors"
import { type Answer, Isaac } from "../src/index"
import { decodeImage } from "../src/processor/decode-image-node"
import { type BuiltPackage, buildPackage } from "./built-package"
import { fakeTerminal, runCommand } from "./cli-terminal"
import { FileServer } from "./file-server"

const sample = (name: string) => fileURLToPath(new URL(`../models/isaac-tiny/samples/${name}.png`, import.meta.url))
const picture = sample("01-locate-box")
const question = "Where is the orange square?"
const answer = '<point_box mention="orange square"> (805,350) (940,520) </point_box>'
const found = { type: "box", x1: 180.32, y1: 67.2, x2: 210.56, y2: 99.84, mention: "orange square", t: null }

const engine = { model: "tiny", backend: "auto", dtype: "auto", kvDtype: "auto", cache: false } as const

interface Connected {
  readonly client: Client
  readonly log: string[]
  close(): Promise<void>
}

const open: Connected[] = []

/** In this thread: a worker would be of the last build. */
const loadHere: LoadModel = (name, settings) => Isaac.load(name, { ...settings, worker: false })

async function connected(
  options: PictureReaderOptions & { readonly model?: string } = {},
  load = loadHere,
): Promise<Connected> {
  const log: string[] = []
  const model = new McpModel({ ...engine, ...options }, (text) => log.push(text), load)
  const server = createMcpServer({ model, pictures: await PictureReader.open(options), version: "1.2.3" })
  const client = new Client({ name: "test", version: "0" })
  const [ours, theirs] = InMemoryTransport.createLinkedPair()
  await Promise.all([server.connect(theirs), client.connect(ours)])
  const close = async () => {
    await client.close()
    await model.dispose()
  }
  open.push({ client, log, close })
  return { client, log, close }
}

/** The result as a client that checks output schemas has it. */
async function call(client: Client, name: string, input: Record<string, unknown>): Promise<CallToolResult> {
  return (await client.callTool({ name, arguments: input })) as CallToolResult
}

function textsOf({ content }: CallToolResult): string[] {
  return content.flatMap((part) => (part.type === "text" ? [part.text] : []))
}

let tiny: Connected
/** An answer, for models that are none. */
let given: Answer
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "isaac-mcp-"))
  tiny = await connected()
  const isaac = await loadHere("tiny")
  given = await isaac.ask(await readFile(picture), question, { expect: "box" })
  await isaac.dispose()
  // What answers are checked against must be known to the client.
  await tiny.client.listTools()
})
afterAll(async () => {
  for (const { close } of open) await close()
  await rm(folder, { recursive: true, force: true })
})

describe("the tools", () => {
  it("have the names and parameters of the cloud's server", async () => {
    const { tools } = await tiny.client.listTools()
    const generation = [
      ...["reasoning", "reasoning_effort", "temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty"],
      "max_tokens",
    ]
    const media = ["media_url", "modality"]
    const ours = ["seed", "guided", "draw"]
    expect(
      Object.fromEntries(tools.map(({ name, inputSchema }) => [name, Object.keys(inputSchema.properties ?? {})])),
    ).toEqual({
      question: [...media, "model", "question", "output_format", "enable_audio_in_video", ...generation, ...ours],
      caption: [...media, "model", "style", "output_format", "enable_audio_in_video", ...generation, ...ours],
      ocr: ["image_url", "model", "mode", "prompt", ...generation, ...ours],
      detect: [...media, "model", "classes", ...generation, ...ours],
      list_models: [],
    })
    // Nothing that the cloud's server does without is asked for.
    expect(tools.map(({ inputSchema }) => inputSchema.required ?? [])).toEqual([
      ["media_url", "question"],
      ["media_url"],
      ["image_url"],
      ["media_url"],
      [],
    ])
    for (const { outputSchema, annotations, description } of tools) {
      expect(outputSchema?.type).toBe("object")
      expect(annotations?.readOnlyHint).toBe(true)
      expect(description).toMatch(/\.$/)
    }
    expect(tiny.client.getServerVersion()).toMatchObject({ name: "isaac-vlm", version: "1.2.3" })
    expect(tiny.client.getInstructions()).toContain("nothing is uploaded")
  })

  it("list the model without loading it, and what it is once it is loaded", async () => {
    const { client, log } = await connected()
    const before = await call(client, "list_models", {})
    expect(before.structuredContent).toEqual({
      models: [{ id: "tiny", name: "tiny", description: expect.stringContaining("ORG/NAME"), loaded: false }],
    })
    expect(JSON.parse(textsOf(before)[0])).toEqual(before.structuredContent!.models)
    expect(log).toEqual([])
    await call(client, "question", { media_url: picture, question: "Is there a red circle?" })
    expect(log).toEqual([expect.stringMatching(/^tiny is loaded \(\w+, bf16, [\d.]+ s\)$/)])
    const { models } = (await call(client, "list_models", {})).structuredContent as { models: object[] }
    expect(models).toEqual([
      expect.objectContaining({ id: "tiny", name: "tiny", loaded: true, dtype: "bf16", max_context: 2048 }),
    ])
  })

  it("question: the answer, where things are, and the structure of both", async () => {
    const input = { media_url: picture, modality: "image", question, output_format: "box" }
    const result = await call(tiny.client, "question", { ...input, model: "tiny", reasoning_effort: "none" })
    expect(textsOf(result)).toEqual([
      answer,
      "In pixels of the picture, 224×192:\nbox orange square: (180,67) (211,100)",
    ])
    expect(result.structuredContent).toEqual({
      text: answer,
      reasoning: null,
      pixels: [found],
      points: [{ ...found, x1: 805, y1: 350, x2: 940, y2: 520 }],
      image: { width: 224, height: 192 },
      issues: [],
      finish_reason: "stop",
      model: "tiny",
      usage: { prompt_tokens: expect.any(Number), image_tokens: 42, completion_tokens: expect.any(Number) },
    })
    expect(result.content.every(({ type }) => type === "text")).toBe(true)
  })

  it("caption, ocr and detect do what their names say", async () => {
    const caption = await call(tiny.client, "caption", { media_url: sample("09-caption"), output_format: "text" })
    expect(caption.structuredContent!.caption).toBe(textsOf(caption)[0])
    expect(textsOf(caption)[0]).toMatch(/^[^<]{20,}$/)
    const detailed = await call(tiny.client, "caption", { media_url: sample("09-caption"), style: "detailed" })
    expect(detailed.structuredContent!.caption).toMatch(/^[^<]{20,}$/)

    const read = await call(tiny.client, "ocr", { image_url: sample("10-ocr"), mode: "plain" })
    const prompted = await call(tiny.client, "ocr", {
      image_url: sample("10-ocr"),
      prompt: "How many circles are there?",
    })
    expect(textsOf(read)[0]).toMatch(/\w/)
    expect(prompted.structuredContent!.text).not.toBe(read.structuredContent!.text)

    const detected = await call(tiny.client, "detect", { media_url: picture, classes: [] })
    const one = await call(tiny.client, "detect", { media_url: picture, classes: ["orange square"], guided: true })
    const leaves = (result: CallToolResult) => result.structuredContent!.pixels as { type: string; mention: string }[]
    expect(leaves(detected).length).toBeGreaterThan(1)
    expect(leaves(one).length).toBeGreaterThan(0)
    for (const leaf of leaves(one)) expect(leaf).toMatchObject({ type: "box", mention: "orange square" })
  })

  it("draw gives the picture, too, and the other parameters are heeded", async () => {
    const input = { media_url: picture, question, output_format: "box" }
    const drawing = (await call(tiny.client, "question", { ...input, draw: true })).content.at(-1)!
    expect(drawing).toMatchObject({ type: "image", mimeType: "image/png" })
    const bytes = Buffer.from((drawing as { data: string }).data, "base64")
    expect(await decodeImage(bytes, "drawing")).toMatchObject({ width: 640 })
    const cut = await call(tiny.client, "question", { ...input, max_tokens: 3 })
    expect(cut.structuredContent).toMatchObject({ finish_reason: "length", usage: { completion_tokens: 3 } })
    const draws = await Promise.all(
      [1, 1, 2].map((seed) =>
        call(tiny.client, "question", { ...input, temperature: 5, top_k: 50, seed, max_tokens: 12 }),
      ),
    )
    const [first, again, other] = draws.map(({ structuredContent }) => structuredContent!.text)
    expect(again).toBe(first)
    expect(other).not.toBe(first)
  })

  it("hand every parameter on", async () => {
    const seen: { name: string; question?: string; options: Record<string, unknown> }[] = []
    const note = (name: string) => (_: unknown, options: Record<string, unknown>) => {
      seen.push({ name, options })
      return Promise.resolve({ ...given, caption: "words" })
    }
    const fake = {
      info: given,
      ask: (_: unknown, asked: string, options: Record<string, unknown>) => {
        seen.push({ name: "ask", question: asked, options })
        return Promise.resolve(given)
      },
      ...{ caption: note("caption"), ocr: note("ocr"), detect: note("detect"), dispose: async () => {} },
    }
    const { client } = await connected({}, async () => fake as unknown as Isaac)
    const sampling = {
      temperature: 0.5,
      top_p: 0.9,
      top_k: 7,
      frequency_penalty: 1,
      presence_penalty: -1,
      max_tokens: 9,
    }
    const base = { media_url: picture }
    await call(client, "question", { ...base, question, ...sampling, seed: 3, guided: true, output_format: "polygon" })
    await call(client, "caption", { ...base, reasoning_effort: "low" })
    await call(client, "caption", { ...base, style: "detailed", reasoning: true, reasoning_effort: "none" })
    for (const mode of ["plain", "markdown", "html"]) await call(client, "ocr", { image_url: picture, mode })
    await call(client, "ocr", { image_url: picture, mode: "html", prompt: "Read the sign." })
    await call(client, "detect", { ...base, classes: ["cat", "dog"] })
    const shown = seen.map(({ name, question, options }) => {
      const { signal, onProgress, ...rest } = options
      expect(signal).toBeInstanceOf(AbortSignal)
      return { name, ...(question && { question }), ...JSON.parse(JSON.stringify(rest)) }
    })
    expect(shown).toEqual([
      {
        ...{ name: "ask", question, expect: "polygon", seed: 3, guided: true, temperature: 0.5, topP: 0.9, topK: 7 },
        ...{ frequencyPenalty: 1, presencePenalty: -1, maxNewTokens: 9 },
      },
      { name: "caption", style: "concise", reasoning: true },
      { name: "caption", style: "detailed", reasoning: false },
      { name: "ocr", format: "text" },
      { name: "ocr", format: "markdown" },
      { name: "ocr", format: "html" },
      { name: "ask", question: "Read the sign.", system: expect.stringMatching(/^You are an OCR/) },
      { name: "detect", classes: ["cat", "dog"] },
    ])
  })

  it("take pictures as paths, addresses of files, data URIs and bare base64", async () => {
    const base64 = (await readFile(picture)).toString("base64")
    for (const media_url of [String(pathToFileURL(picture)), `data:image/png;base64,${base64}`, base64]) {
      const result = await call(tiny.client, "question", { media_url, question, output_format: "box" })
      expect(result.structuredContent?.text, media_url.slice(0, 30)).toBe(answer)
    }
  })
})

it("take pictures from addresses, private ones when they are allowed", async () => {
  const bytes = await readFile(picture)
  const server = await FileServer.start((path) => (path === "/a.png" ? bytes : undefined))
  const { client } = await connected({ allowPrivateUrls: true })
  const input = { media_url: `${server.origin}/a.png`, question, output_format: "box" }
  try {
    expect((await call(client, "question", input)).structuredContent?.text).toBe(answer)
    const missing = await call(client, "question", { ...input, media_url: `${server.origin}/b.png` })
    expect(textsOf(missing)[0]).toMatch(/^not_found: .*404/)
    expect(textsOf(await call(tiny.client, "question", input))[0]).toMatch(/^bad_input: .*private/)
  } finally {
    await server.stop()
  }
})

describe("calls", () => {
  it("that come at once are answered one after another, each as if alone", async () => {
    const asked = ["01-locate-box", "02-locate-box-several", "09-caption"].map((name) => ({
      media_url: sample(name),
      question: "Find all squares.",
      output_format: "box",
    }))
    const alone: unknown[] = []
    for (const input of asked) alone.push((await call(tiny.client, "question", input)).structuredContent!.text)
    const together = await Promise.all([...asked, ...asked].map((input) => call(tiny.client, "question", input)))
    expect(together.map(({ structuredContent }) => structuredContent!.text)).toEqual([...alone, ...alone])
    expect(new Set(alone).size).toBe(3)
  })

  it("load the model once for all, again after a failure, and are answered one at a time", async () => {
    let [loads, asking, most] = [0, 0, 0]
    const ask = async () => {
      most = Math.max(most, ++asking)
      await new Promise((resolve) => setTimeout(resolve, 5))
      asking--
      return given
    }
    const load = async () => {
      if (++loads === 1) throw new IsaacError("io", "the disk is asleep")
      return { info: given, ask, dispose: async () => {} } as unknown as Isaac
    }
    const { client } = await connected({}, load)
    const input = { media_url: picture, question }
    expect(textsOf(await call(client, "question", input))).toEqual(["io: the disk is asleep"])
    const results = await Promise.all([1, 2, 3, 4].map(() => call(client, "question", input)))
    expect(results.map(({ isError }) => isError)).toEqual(Array(4).fill(undefined))
    expect({ loads, most }).toEqual({ loads: 2, most: 1 })
  })

  it("go on with a new engine after one that died", async () => {
    let [loads, disposed] = [0, 0]
    const load = async () => {
      const dead = ++loads === 1
      const ask = async () => {
        if (dead) throw new IsaacError("worker_lost", "the engine's worker ended")
        return given
      }
      return { info: given, ask, dispose: async () => disposed++ } as unknown as Isaac
    }
    const { client } = await connected({}, load)
    const input = { media_url: picture, question }
    expect(textsOf(await call(client, "question", input))).toEqual(["worker_lost: the engine's worker ended"])
    expect((await call(client, "list_models", {})).structuredContent).toMatchObject({ models: [{ loaded: false }] })
    expect(textsOf(await call(client, "question", input))[0]).toBe(answer)
    expect({ loads, disposed }).toEqual({ loads: 2, disposed: 1 })
  })

  it("tell how far they are to a client that asks, in growing numbers", async () => {
    const { client } = await connected()
    const notices: Progress[] = []
    const input = { media_url: picture, question, output_format: "box" }
    await client.callTool({ name: "question", arguments: input }, undefined, {
      onprogress: (notice) => notices.push(notice),
    })
    expect(notices.map(({ progress }) => progress)).toEqual(notices.map((_, i) => i + 1))
    const messages = notices.map(({ message }) => message).join("\n")
    expect(messages).toMatch(/loading weights \d+ %/)
    expect(messages).toMatch(/looking at the picture/)
    expect(messages).toMatch(/answering, \d+ tokens?/)
  })

  it("that are cancelled end at once, also while they wait, and the next are answered", async () => {
    // At this temperature the end token hardly ever comes, so that this would take long.
    const long = { media_url: picture, question, temperature: 100, max_tokens: 3500 }
    const [running, waiting] = [new AbortController(), new AbortController()]
    let answering = () => {}
    const begun = new Promise<void>((resolve) => {
      answering = resolve
    })
    const onprogress = ({ message }: Progress) => message?.startsWith("answering") && answering()
    const options = { signal: running.signal, onprogress, timeout: 100_000 }
    const first = tiny.client.callTool({ name: "question", arguments: long }, undefined, options)
    const second = tiny.client.callTool({ name: "question", arguments: long }, undefined, { signal: waiting.signal })
    const third = call(tiny.client, "question", { media_url: picture, question, output_format: "box" })
    await begun
    waiting.abort()
    await expect(second).rejects.toThrow()
    running.abort()
    await expect(first).rejects.toThrow()
    expect((await third).structuredContent?.text).toBe(answer)
  })
})

describe("the model", () => {
  it("is not loaded for a call that was cancelled before: nobody would hear how that ends", async () => {
    let loads = 0
    const model = new McpModel(
      engine,
      () => {},
      async () => {
        loads++
        throw new IsaacError("io", "the disk is asleep")
      },
    )
    await expect(model.load(AbortSignal.abort())).rejects.toMatchObject({ code: "aborted" })
    expect(loads).toBe(0)
    await expect(model.load()).rejects.toMatchObject({ code: "io" })
  })

  it.each(["input that ends", "Ctrl-C"])(
    "is loaded while the client is heard with --preload, until %s",
    async (end) => {
      const terminal = fakeTerminal()
      let given: AbortSignal | undefined
      const load: LoadModel = (_, settings) =>
        new Promise((_, reject) => {
          given = settings?.signal as AbortSignal
          given.addEventListener("abort", () => reject(new IsaacError("aborted", "loading was cancelled")))
        })
      const greeted = new Promise<string>((resolve) => {
        terminal.onOut = resolve
      })
      const served = serveMcp({ ...engine, preload: true }, terminal, load)
      const clientInfo = { name: "test", version: "0" }
      const params = { protocolVersion: "2025-06-18", capabilities: {}, clientInfo }
      terminal.typed.write(`${JSON.stringify({ jsonrpc: "2.0", id: 1, method: "initialize", params })}\n`)
      expect(JSON.parse(await greeted)).toMatchObject({ id: 1, result: { serverInfo: { name: "isaac-vlm" } } })
      expect(given?.aborted).toBe(false)
      if (end === "Ctrl-C") terminal.interrupt()
      else terminal.typed.end()
      await served
      expect(given?.aborted).toBe(true)
      expect(terminal.written.err).toBe("")
    },
  )
})

describe("what goes wrong", () => {
  async function failure(name: string, input: Record<string, unknown>, { client } = tiny) {
    const result = await call(client, name, input)
    expect(result.isError, JSON.stringify(result)).toBe(true)
    return textsOf(result)[0]
  }

  it("is a result with a code and a message, and the server goes on", async () => {
    const base = { media_url: picture, question }
    expect(await failure("question", { ...base, media_url: "/no/such.png" })).toMatch(/^not_found: .*no such file/)
    expect(await failure("question", { ...base, media_url: " " })).toMatch(/^bad_input: .*empty/)
    expect(await failure("question", { ...base, media_url: "-" })).toMatch(/^not_found|^bad_input/)
    expect(await failure("question", { ...base, media_url: "ftp://a.example/b.png" })).toMatch(/^bad_input: .*ftp/)
    expect(await failure("question", { ...base, media_url: "http://127.0.0.1:9/a.png" })).toMatch(
      /^bad_input: .*private/,
    )
    expect(await failure("detect", { media_url: "data:image/png;base64,AAAA" })).toMatch(/^bad_image: /)
    expect(await failure("caption", { ...{ media_url: picture }, modality: "video" })).toMatch(/^unsupported: .*video/)
    expect(await failure("question", { ...base, output_format: "clip" })).toMatch(/^unsupported: .*videos/)
    expect(await failure("question", { ...base, model: "isaac-0.2" })).toMatch(/^bad_input: .*"isaac-0.2".*"tiny"/)
    expect(await failure("question", { media_url: picture })).toMatch(/question/)
    expect(await failure("question", { ...base, questoin: "?" })).toMatch(/questoin/)
    expect(await failure("ocr", { image_url: picture, mode: "latex" })).toMatch(/mode/)
    expect(await failure("segment", base)).toMatch(/segment/)
    expect(textsOf(await call(tiny.client, "question", { ...base, output_format: "box" }))[0]).toBe(answer)
  })

  it("a model that cannot be loaded is told each time", async () => {
    const broken = await connected({ model: join(folder, "no-model") })
    for (let i = 0; i < 2; i++) {
      expect(await failure("question", { media_url: picture, question }, broken)).toMatch(/^\w+: .*no-model/)
    }
  })

  it("files outside of --root are not read, nor told to exist", async () => {
    const root = join(folder, "root")
    await mkdir(root)
    await writeFile(join(root, "inside.png"), await readFile(picture))
    await writeFile(join(folder, "outside.png"), await readFile(picture))
    await symlink(join(folder, "outside.png"), join(root, "link.png"))
    await symlink(root, join(folder, "way"))
    const limited = await connected({ root: [join(folder, "way")] })
    for (const media_url of ["inside.png", join(root, "inside.png"), join(folder, "way", "inside.png")]) {
      const result = await call(limited.client, "question", { media_url, question, output_format: "box" })
      expect(result.structuredContent?.text, media_url).toBe(answer)
    }
    const outside = /^bad_input: .* is outside of the folders that this server reads/
    for (const media_url of [
      "link.png",
      "../outside.png",
      join(folder, "outside.png"),
      String(pathToFileURL(join(folder, "outside.png"))),
      "/no/such/file.png",
      "~/x.png",
      "inside.png/../../outside.png",
    ]) {
      expect(await failure("question", { media_url, question }, limited), media_url).toMatch(outside)
    }
    expect(await failure("question", { media_url: "none.png", question }, limited)).toMatch(/^not_found/)
    await expect(PictureReader.open({ root: [join(folder, "none")] })).rejects.toMatchObject({ code: "not_found" })
  })
})

describe("over standard input and output", () => {
  let built: BuiltPackage
  beforeAll(async () => {
    built = await buildPackage()
  })
  afterAll(() => built.remove())

  it("answers the SDK's client", async () => {
    const transport = new StdioClientTransport({
      command: process.execPath,
      args: [join(built.folder, "bin", "isaac.js"), "mcp", "--preload", "--root", join(built.folder, "models")],
      stderr: "pipe",
    })
    let err = ""
    transport.stderr!.on("data", (chunk) => (err += chunk))
    const client = new Client({ name: "test", version: "0" })
    await client.connect(transport)
    await client.listTools()
    const path = "isaac-tiny/samples/01-locate-box.png"
    // models is a link in the built package: what is inside is where the link leads.
    const result = await call(client, "question", { media_url: path, question, output_format: "box" })
    expect(textsOf(result)[0]).toBe(answer)
    await client.close()
    expect(err).toMatch(/^isaac: tiny is loaded \(.*\)\n$/)
  })

  it("writes nothing but the protocol, survives what is none, and ends with its input, also while it answers", async () => {
    const { process: child, ended } = built.start("bin/isaac.js", ["mcp"])
    const send = (message: object) => child.stdin!.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`)
    const seen = (what: string) =>
      new Promise<void>((resolve) => {
        let text = ""
        child.stdout!.on("data", (chunk) => {
          text += chunk
          if (text.includes(what)) resolve()
        })
      })
    const clientInfo = { name: "test", version: "0" }
    send({ id: 1, method: "initialize", params: { protocolVersion: "2025-06-18", capabilities: {}, clientInfo } })
    send({ method: "notifications/initialized" })
    child.stdin!.write("no JSON\n{}\n\n")
    send({ id: 2, method: "no/such" })
    const ask = { name: "question", arguments: { media_url: picture, question } }
    send({ id: 3, method: "tools/call", params: ask })
    await seen('"id":3')
    const long = { ...ask, arguments: { ...ask.arguments, temperature: 100, max_tokens: 3500 } }
    send({ id: 4, method: "tools/call", params: { ...long, _meta: { progressToken: 1 } } })
    await seen("answering")
    child.stdin!.end()
    const { code, signal, out, err } = await ended
    expect({ code, signal }).toEqual({ code: 0, signal: null })
    const messages = out
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line))
    const answered = messages.filter(({ id }) => id !== undefined)
    expect(answered.map(({ id }) => id).sort()).toEqual([1, 2, 3])
    expect(answered.find(({ id }) => id === 2).error.code).toBe(-32601)
    for (const { method } of messages.filter(({ id }) => id === undefined))
      expect(method).toBe("notifications/progress")
    for (const line of err.trimEnd().split("\n")) expect(line).toMatch(/^isaac: /)
  })
})

it("says why it cannot start", async () => {
  const rootless = await runCommand(["mcp", "--root", join(folder, "none")])
  expect(rootless).toMatchObject({ code: 1, out: "" })
  expect(rootless.err).toMatch(/^isaac: --root .*none: there is no such folder\n$/)
  const missing = await runCommand(["mcp", "--preload", "--model", join(folder, "none")])
  expect(missing).toMatchObject({ code: 1, out: "" })
  expect(missing.err).toMatch(/^isaac: .*none/)
})
