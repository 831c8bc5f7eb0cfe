import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { hasAddon } from "../test/native-addon"
import { ids, picture as patches, prompt, SessionRig, text, turn } from "../test/session-rig"
import type { AnswerEvent } from "./answer"
import type { Conversation } from "./conversation"
import { loadEngine } from "./engine-node"
import { isIsaacError } from "./errors"
import { sha256 } from "./generate/prompt-keys"
import { Random } from "./generate/random"
import { Session } from "./generate/session"
import type { IsaacEngine } from "./isaac"
import type { Backend } from "./ops/backend"
import { createNativeBackend } from "./ops/cpu/load-native-node"
import { createWasmBackend } from "./ops/cpu/load-wasm-node"
import { createReferenceBackend } from "./ops/reference"
import { encodeSafetensors, readSafetensorsHeader, type TensorData } from "./weights/safetensors"
import { bytesSource } from "./weights/source"

const picture = fileURLToPath(new URL("../models/isaac-tiny/samples/07-exists.png", import.meta.url))

async function say(conversation: Conversation, images: string[], question: string) {
  let last: AnswerEvent | undefined
  for await (const event of conversation.ask(images, question)) last = event
  if (last?.type !== "final") throw new Error(`the last event is ${last?.type}`)
  return last.answer
}

let engine: IsaacEngine
let other: IsaacEngine
/** A conversation of one turn about a file and some pixels, saved. */
let saved: Uint8Array
let first: Conversation
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "isaac-session-"))
  engine = await loadEngine("tiny", { threads: 1 })
  other = await loadEngine("tiny", { threads: 1 })
  first = engine.session()
  await say(first, [picture], "Is there a yellow diamond?")
  saved = await engine.sessionBytes(first)
})
afterAll(async () => {
  await Promise.all([engine.dispose(), other.dispose()])
  await rm(folder, { recursive: true })
})

describe("a saved session", () => {
  it("goes on in another engine as the one it was taken from, with all that was computed", async () => {
    const restored = await other.restoreSession(saved)
    expect(restored.length).toBe(first.length)
    expect(restored.messages).toEqual(first.messages)
    const fork = first.fork()
    const [a, b] = [await say(fork, [], "Describe the image."), await say(restored, [], "Describe the image.")]
    expect(b.text).toBe(a.text)
    expect(b.timings.vision_ms).toBe(0)
    expect(b.usage).toEqual(a.usage)
    // And once more, with what was computed there.
    const again = await engine.restoreSession(new Blob([new Uint8Array(await other.sessionBytes(restored))]))
    expect(again.length).toBe(restored.length)
    expect((await say(again, [], "How many squares?")).text).toBe((await say(fork, [], "How many squares?")).text)
    await Promise.all([restored, fork, again].map((conversation) => conversation.dispose()))
    expect(other.memory().sessions).toMatchObject({ open: 0, bytes: 0 })
  })

  it.each<[string, () => Backend | Promise<Backend>]>([
    ["reference", createReferenceBackend],
    ["wasm", () => createWasmBackend({ threads: 1 })],
    ...(hasAddon ? [["native", () => createNativeBackend({ threads: 1 })] as [string, () => Promise<Backend>]] : []),
  ])("has the very bits of the one it was taken from on %s, as f32, bf16 and int8", async (_, create) => {
    const rig = await SessionRig.create(await create())
    for (const stored of ["f32", "bf16", "int8"] as const) {
      const model = new Proxy(rig.model, {
        get(target, name) {
          if (name === "newCache") return () => target.newCache(1e6, { stored })
          const value: unknown = Reflect.get(target, name)
          return typeof value === "function" ? value.bind(target) : value
        },
      })
      const own = rig.pool(20, { model })
      const session = new Session(own)
      const events = [text(...ids(60, 1)), patches(4, 6, 2), text(...ids(9, 3))]
      await turn(session, prompt(...events), [4, 5])
      const copy = new Session(own)
      const layers = await Promise.all([0, 1, 2].map((layer) => session.exportLayer(layer)))
      const { numbers } = "numbers" in layers[0] ? layers[0] : { numbers: layers[0] }
      expect(numbers).toBeInstanceOf({ f32: Float32Array, bf16: Uint16Array, int8: Int8Array }[stored])
      await copy.restore(structuredClone(session.held()), async (layer) => layers[layer])
      expect(copy.length).toBe(77)
      const next = prompt(...events, text(4, 5, 6, 7))
      const [want, got] = [await turn(session, next, [8]), await turn(copy, next, [8])]
      expect(got.logits).toEqual(want.logits)
      expect(got.reused).toBe(want.reused)
      expect(got.reused).toBeGreaterThan(74)
      own.cache.free()
    }
    await rig.dispose()
  })

  it("as int8 goes on in another engine with all that was computed, and takes little more than a quarter", async () => {
    const [one, two] = [await loadEngine("tiny", { kvDtype: "int8" }), await loadEngine("tiny", { kvDtype: "int8" })]
    const conversation = one.session()
    await say(conversation, [picture], "Is there a yellow diamond?")
    const bytes = await one.sessionBytes(conversation)
    expect(bytes.length).toBeLessThan(0.35 * saved.length)
    const restored = await two.restoreSession(bytes)
    expect(restored.length).toBe(conversation.length)
    const [a, b] = [await say(conversation, [], "Describe the image."), await say(restored, [], "Describe the image.")]
    expect(b.text).toBe(a.text)
    expect((await engine.restoreSession(bytes)).length).toBe(0)

    const source = bytesSource("saved", bytes)
    const { tensors } = await readSafetensorsHeader(source)
    const { shape } = tensors.get("kv.2")!
    expect(tensors.get("kv_scales.2")).toMatchObject({ dtype: "F32", shape: shape.slice(0, 3) })
    await Promise.all([one.dispose(), two.dispose()])
  })

  it("is computed anew where dtype or keys and values differ, or have no room", async () => {
    const want = await say(first.fork(), [], "Describe the image.")
    const block = engine.model.newCache(64).growth([0], 1)
    const cases: [Parameters<typeof loadEngine>[1], number][] = [
      [{ dtype: "f32" }, 0],
      [{ maxContext: first.length - 1 }, 0],
      [{ sessionMemory: block }, 0],
      [{ backend: "reference" }, first.length],
    ]
    for (const [options, length] of cases) {
      const here = await loadEngine("tiny", options)
      const restored = await here.restoreSession(saved)
      expect({ options, length: restored.length }).toEqual({ options, length })
      expect(restored.messages).toEqual(first.messages)
      if (options?.dtype || options?.backend) {
        const answer = await say(restored, [], "Describe the image.")
        if (options.backend) expect(answer.text).toBe(want.text)
      }
      await here.dispose()
    }
  })

  it("may be of pixels, evicted, or not begun", async () => {
    const white = { width: 70, height: 40, data: new Uint8Array(70 * 40 * 4).fill(255) }
    const block = engine.model.newCache(64).growth([0], 1)
    const small = await loadEngine("tiny", { sessionMemory: 5 * block, threads: 1 })
    const conversation = small.session()
    for await (const _ of conversation.ask([white, picture], "Is there a yellow diamond?"));
    const want = await say(conversation.fork(), [], "Describe the image.")
    await say(small.session(), [picture], "Is there a yellow diamond? ".repeat(10))
    expect(conversation.length).toBe(0)
    const restored = await other.restoreSession(await small.sessionBytes(conversation))
    expect(restored.length).toBe(0)
    expect((await say(restored, [], "Describe the image.")).text).toBe(want.text)
    const both = await small.restoreSession(await other.sessionBytes(restored))
    expect(both.length).toBe(restored.length)
    expect(both.length).toBeGreaterThan(0)
    const empty = await other.restoreSession(await small.sessionBytes(small.session()))
    expect([empty.length, empty.messages]).toEqual([0, []])
    expect((await say(empty, [picture], "Is there a yellow diamond?")).text).toBe("No.")
    await small.dispose()
  })

  it("is written to a path whole, and read from one", async () => {
    const path = join(folder, "a session.safetensors")
    await engine.saveSession(first, path)
    expect(new Uint8Array(await readFile(path))).toEqual(saved)
    await engine.saveSession(first, pathToFileURL(path).href)
    expect(await readdir(folder)).toEqual(["a session.safetensors"])
    for (const from of [path, pathToFileURL(path).href]) {
      const restored = await other.restoreSession(from)
      expect(restored.length).toBe(first.length)
      await restored.dispose()
    }
    await expect(engine.saveSession(first, join(folder, "no", "b"))).rejects.toMatchObject({ code: "io" })
    await expect(other.restoreSession(join(folder, "no"))).rejects.toMatchObject({ code: "not_found" })
    await expect(other.restoreSession(folder)).rejects.toMatchObject({ code: "io" })
    await expect(other.restoreSession("")).rejects.toMatchObject({ code: "bad_input" })
    await writeFile(join(folder, "empty"), "")
    await expect(other.restoreSession(join(folder, "empty"))).rejects.toMatchObject({
      code: "bad_input",
      message: expect.stringMatching(/empty is no saved session.*0 bytes/),
    })
  })
})

/** The tensors and the JSON of the saved session, to be changed and written again with hashes that fit. */
async function forge(
  change: (parts: {
    about: Record<string, unknown>
    tensors: Record<string, TensorData>
    metadata: Record<string, string>
  }) => void,
): Promise<Uint8Array> {
  const source = bytesSource("saved", saved)
  const header = await readSafetensorsHeader(source)
  const tensors: Record<string, TensorData> = {}
  for (const { name, dtype, shape, offset, bytes } of header.tensors.values()) {
    tensors[name] = { dtype, shape, data: new Uint8Array(await source.read(offset, bytes)) }
  }
  const about = JSON.parse(new TextDecoder().decode(tensors.session.data as Uint8Array))
  const metadata: Record<string, string> = { ...header.metadata }
  const own = { about, tensors, metadata }
  change(own)
  const json = new TextEncoder().encode(JSON.stringify(own.about))
  if (tensors.session) tensors.session = { dtype: "U8", shape: [json.length], data: json }
  const hashes: Record<string, string> = {}
  for (const [name, { data }] of Object.entries(tensors)) {
    hashes[name] = await sha256(new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength))
  }
  if ("isaac.sha256" in metadata) metadata["isaac.sha256"] = JSON.stringify(hashes)
  return encodeSafetensors(tensors, metadata)
}

describe("a file that is not what it says", () => {
  const ints = ({ data }: TensorData) => new Int32Array(data.buffer as ArrayBuffer)
  const T = () => first.length

  it("but changed nowhere is taken", async () => {
    const restored = await other.restoreSession(await forge(() => {}))
    expect(restored.length).toBe(first.length)
    await restored.dispose()
  })

  it.each<[string, Parameters<typeof forge>[0], string, RegExp]>([
    ["is another model's", ({ about }) => (about.model = "f".repeat(64)), "bad_input", /another model/],
    ["has no version", ({ metadata }) => delete metadata["isaac.session"], "bad_input", /no isaac.session/],
    ["has another version", ({ metadata }) => (metadata["isaac.session"] = "2"), "unsupported", /form "2".*reads 1/],
    ["has no hashes", ({ metadata }) => delete metadata["isaac.sha256"], "bad_input", /isaac.sha256 is not JSON/],
    ["has no session", ({ tensors }) => delete tensors.session, "bad_input", /it has no session/],
    ["has no layer", ({ tensors }) => delete tensors["kv.1"], "bad_input", /it has no kv.1/],
    ["has no picture", ({ tensors }) => delete tensors["picture.0"], "bad_input", /it has no picture.0/],
    [
      "has fewer tokens in a layer",
      ({ tensors, about }) => {
        about.tokens = T() - 1
        for (const name of ["held.ids", "held.images"]) {
          tensors[name] = { ...tensors[name], shape: [T() - 1], data: tensors[name].data.subarray(0, 4 * (T() - 1)) }
        }
        const { data } = tensors["held.positions"]
        tensors["held.positions"] = { dtype: "I32", shape: [T() - 1, 3], data: data.subarray(0, 12 * (T() - 1)) }
      },
      "bad_input",
      /kv.0 is F32 \[2, \d+, \d+, \d+\], F32 \[2, \d+, \d+, \d+\] is needed/,
    ],
    [
      "has keys and values of another type",
      ({ tensors }) => (tensors["kv.0"] = { ...tensors["kv.0"], dtype: "I32" }),
      "bad_input",
      /kv.0 is I32/,
    ],
    [
      "has a NaN among them",
      ({ tensors }) => (new Float32Array(tensors["kv.2"].data.buffer as ArrayBuffer)[100] = Number.NaN),
      "not_finite",
      /number 100 of layer 2/,
    ],
    ["claims tokens without end", ({ about }) => (about.tokens = 2 ** 40), "bad_input", /1099511627776\] is needed/],
    ["claims no number of tokens", ({ about }) => (about.tokens = -1), "bad_input", /-1 tokens/],
    [
      "has an image index out of range",
      ({ tensors }) => (ints(tensors["held.images"])[3] = 7),
      "bad_input",
      /has 7, of 1/,
    ],
    ["has a negative one", ({ tensors }) => (ints(tensors["held.images"])[3] = -2), "bad_input", /has -2/],
    ["has a position out of range", ({ tensors }) => (ints(tensors["held.positions"])[5] = -3), "bad_input", /has -3/],
    ["has a huge one", ({ tensors }) => (ints(tensors["held.positions"])[5] = 2 ** 30), "bad_input", /1073741824/],
    ["has hashes that are none", ({ about }) => (about.imageHashes = [5]), "bad_input", /hashes of images/],
    ["has no messages", ({ about }) => (about.messages = "hi"), "bad_input", /list of messages/],
    [
      "has other messages",
      ({ about }) => (about.messages = [{ role: "root", content: "" }]),
      "bad_input",
      /role "root"/,
    ],
    [
      "shows no picture",
      ({ about }) => (about.messages = [{ role: "user", content: "" }]),
      "bad_input",
      /0 pictures, it has 1/,
    ],
    [
      "shows one that is not there",
      ({ about }) => (about.messages = [{ role: "user", content: [{ type: "image", image: 1 }] }]),
      "bad_input",
      /pictures/,
    ],
    ["has a picture without a name", ({ about }) => (about.pictures = [{}]), "bad_input", /neither a name nor a size/],
    ["has one of another size", ({ about }) => (about.pictures = [{ width: 5, height: 5 }]), "bad_input", /5×5 pixels/],
    ["has null for one", ({ about }) => (about.pictures = [null]), "bad_input", /neither a name nor a size/],
    ["keeps them in another way", ({ about }) => (about.kv = "q8"), "bad_input", /keys and values as "q8"/],
  ])("%s: refused", async (_, change, code, message) => {
    const before = other.memory()
    const failure = await other.restoreSession(await forge(change)).catch((error) => error)
    expect(failure.message).toMatch(message)
    expect(failure.code).toBe(code)
    expect(other.memory()).toMatchObject({ used: before.used, sessions: before.sessions })
  })

  it("is cut short anywhere, or has any byte changed: refused, and nothing stays", async () => {
    const random = new Random(3)
    const before = other.memory()
    const header = 8 + Number(new DataView(saved.buffer).getBigUint64(0, true))
    for (let i = 0; i < 200; i++) {
      const at = Math.floor(random.next() * (i % 2 ? saved.length : header))
      const changed = saved.slice()
      changed[at] ^= 1 << Math.floor(random.next() * 8)
      const damaged = i % 5 === 0 ? saved.slice(0, at) : changed
      const failure = await other.restoreSession(damaged).catch((error) => error)
      expect(isIsaacError(failure) && failure.code, `byte ${at}: ${failure}`).toMatch(/bad_input|unsupported/)
    }
    expect(other.memory()).toMatchObject({ used: before.used, sessions: before.sessions })
    const restored = await other.restoreSession(saved)
    expect(restored.length).toBe(first.length)
  })
})
