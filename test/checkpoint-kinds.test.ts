/** Every kind of published checkpoint computes what the same numbers compute in the form of Isaac 0.1. */

import { readFileSync } from "node:fs"
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { loadEngine } from "../src/engine-node"
import { Tokenizer } from "../src/processor"
import { bytesFiles } from "../src/weights/source"
import { Isaac } from "../src/worker/isaac-node"
import { ISAAC_0_1, KIND_AXES, type Kind, kindFiles, pairwiseKinds } from "./checkpoint-kinds"
import { runCommand } from "./cli-terminal"
import { HubServer } from "./hub-server"
import { randomNumbers } from "./random-checkpoint"

let root: string
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "isaac-kinds-"))
})
afterAll(() => rm(root, { recursive: true }))

let folders = 0
async function write(files: Readonly<Record<string, Uint8Array>>): Promise<string> {
  const folder = join(root, `kind-${folders++}`)
  await mkdir(folder)
  for (const [file, bytes] of Object.entries(files)) await writeFile(join(folder, file), bytes)
  return folder
}

const next = randomNumbers(5)
const picture = { width: 31, height: 22, data: Uint8Array.from({ length: 31 * 22 * 3 }, () => (next() + 1) * 127) }
const PROMPT = "<|im_start|>user\n<image>Größe 12, 日本<|im_end|>\n<|im_start|>assistant\n"

/** What a model computes: all of it, bit for bit. */
interface Computed {
  readonly ids: number[]
  readonly embeds: Uint32Array
  readonly logits: Uint32Array
  readonly greedy: number[]
  readonly answer: string
  readonly usage: unknown
}

const bits = (numbers: Float32Array) => new Uint32Array(numbers.slice().buffer)

async function compute(folder: string, backend: "reference" | "wasm" = "reference"): Promise<Computed> {
  const isaac = await Isaac.load(folder, { backend, worker: false })
  try {
    const { inputIds, tensorStream } = await isaac.processor({ text: PROMPT, images: [picture] })
    const embeds = await isaac.model.embedStream(tensorStream) // [1, T, D]
    const { logits } = await isaac.model.forward({ tensorStream }) // [1, T, V]
    const greedy: number[] = []
    for await (const { id } of isaac.generate({ tensorStream }, { maxNewTokens: 6, stopIds: [] })) greedy.push(id)
    const { text, usage } = await isaac.ask([picture], "Where is it?", { expect: "box", maxNewTokens: 4 })
    return {
      ids: [...inputIds],
      embeds: bits(embeds.data),
      logits: bits(logits!.data),
      greedy,
      answer: text,
      usage,
    }
  } finally {
    await isaac.dispose()
  }
}

/** The same numbers, rounded here and not by the library, as an Isaac 0.1 checkpoint in one float32 file. */
const plainKinds = new Map<string, Promise<Computed>>()
function expected({ dtype, tying }: Kind): Promise<Computed> {
  const own = tying.startsWith("own")
  const key = `${dtype} ${own}`
  const known = plainKinds.get(key)
  if (known) return known
  const kind: Kind = { ...ISAAC_0_1, dtype, tying: own ? "own" : "equal, flag false" }
  const computed = write(kindFiles(kind, "F32")).then((folder) => compute(folder))
  plainKinds.set(key, computed)
  return computed
}

/** Only what differs from Isaac 0.1. */
function nameOf(kind: Kind): string {
  const differences = Object.entries(kind).filter(([axis, value]) => value !== ISAAC_0_1[axis as keyof Kind])
  return differences.map(([axis, value]) => `${axis}: ${value}`).join("; ") || "Isaac 0.1"
}

const kinds = pairwiseKinds()

describe("a checkpoint of each kind computes the same", () => {
  it("kinds cover every pair of ways to write something", () => {
    expect(kinds.length).toBeLessThan(50)
    const axes = Object.entries(KIND_AXES) as [keyof Kind, readonly string[]][]
    for (const [i, [a, xs]] of axes.entries()) {
      for (const [b, ys] of axes.slice(i + 1)) {
        const seen = new Set(kinds.map((kind) => `${kind[a]} & ${kind[b]}`))
        expect(seen.size).toBe(xs.length * ys.length)
      }
    }
  })

  it("the numbers matter: rounding and tying change what comes out", async () => {
    const [f32, bf16, f16, tied] = await Promise.all([
      expected(ISAAC_0_1),
      expected({ ...ISAAC_0_1, dtype: "BF16" }),
      expected({ ...ISAAC_0_1, dtype: "F16" }),
      expected({ ...ISAAC_0_1, tying: "equal, flag true" }),
    ])
    const floats = ({ logits }: Computed) => new Float32Array(logits.buffer)
    const range = Math.max(...floats(f32).map(Math.abs))
    const distance = (other: Computed) => {
      const theirs = floats(other)
      return Math.max(...floats(f32).map((x, i) => Math.abs(x - theirs[i]))) / range
    }
    // Weights rounded to 8 and to 11 bits, through four layers.
    expect(distance(bf16)).toBeGreaterThan(1e-4)
    expect(distance(bf16)).toBeLessThan(0.1)
    expect(distance(f16)).toBeGreaterThan(1e-6)
    expect(distance(f16)).toBeLessThan(distance(bf16))
    expect(distance(tied)).toBeGreaterThan(0.1)
    expect(tied.embeds).toEqual(f32.embeds)
  })

  it.each(kinds.map((kind) => [nameOf(kind), kind] as const))("%s", async (_, kind) => {
    const folder = await write(kindFiles(kind))
    expect(await compute(folder)).toEqual(await expected(kind))
  })

  it.each(["F32", "BF16", "F16"] as const)("%s on the kernels, from any kind", async (dtype) => {
    const odd = kinds.find((kind) => kind.dtype === dtype && kind.files !== "one" && kind.config === "nested")!
    const plain = { ...ISAAC_0_1, dtype, tying: odd.tying }
    const computed = await compute(await write(kindFiles(odd)), "wasm")
    expect(computed).toEqual(await compute(await write(kindFiles(plain)), "wasm"))
    expect(computed.ids).toEqual((await expected(odd)).ids)
  })

  it("stops at the ids of every place", async () => {
    for (const eos of KIND_AXES.eos) {
      const engine = await loadEngine(await write(kindFiles({ ...ISAAC_0_1, eos })), { backend: "reference" })
      expect([...engine.model.config.stopIds].sort(), eos).toEqual(eos.endsWith("list") ? [742, 744] : [744])
      await engine.dispose()
    }
  })
})

describe("tokenizer files", () => {
  it("of every kind give the same ids, also where tokens are typed", async () => {
    const golden = readFileSync(new URL("./fixtures/tokenizer/isaac-tiny.json", import.meta.url), "utf8")
    const texts = (JSON.parse(golden) as { cases: { text: string }[] }).cases.map(({ text }) => text)
    texts.push(
      "Größe 1234567890 ½ ²",
      "日本語 한국어 العربية हिन्दी ไทย",
      "e\u0301 \ufeff \u0085 👩‍👩‍👧",
      "<image><think></think>",
    )
    const load = (tokenizer: Kind["tokenizer"]) =>
      Tokenizer.load(bytesFiles(tokenizer, kindFiles({ ...ISAAC_0_1, tokenizer })))
    const [first, ...others] = await Promise.all(KIND_AXES.tokenizer.map(load))
    expect(texts.length).toBeGreaterThan(300)
    for (const other of others) {
      expect(other.size).toBe(first.size)
      for (const text of texts) {
        for (const special of [false, true]) {
          expect(other.encode(text, { special }), text).toEqual(first.encode(text, { special }))
        }
        const ids = first.encode(text, { special: true })
        expect(other.decode(ids, { skipSpecial: true }), text).toBe(first.decode(ids, { skipSpecial: true }))
      }
    }
  })
})

describe("from the Hub", () => {
  it("ORG/NAME@revision is downloaded once and answers like the folder", async () => {
    const kind = kinds.find(
      ({ files, config, dtype }) => files === "two shards" && config === "nested" && dtype === "BF16",
    )!
    const server = await HubServer.start(kindFiles(kind))
    server.revision = "v0.2"
    vi.stubEnv("HF_ENDPOINT", server.endpoint)
    vi.stubEnv("HF_HOME", join(root, "hub"))
    try {
      const steps: string[] = []
      const name = `${server.model}@v0.2`
      expect(await compute(name)).toEqual(await expected(kind))
      const asked = server.seen.length
      expect(asked).toBeGreaterThan(5)
      const isaac = await Isaac.load(name, {
        backend: "reference",
        worker: false,
        onProgress: ({ stage }) => steps.push(stage),
      })
      expect(isaac.info.model).toBe(name)
      await isaac.dispose()
      expect(server.seen.length).toBe(asked)
      expect(steps).not.toContain("download")
      const inspected = await runCommand(["inspect", name, "--json"])
      expect(JSON.parse(inspected.out)).toMatchObject({ model: name, warnings: expect.any(Array) })
      expect(inspected.code).toBe(0)
    } finally {
      vi.unstubAllEnvs()
      await server.stop()
    }
  })
})
