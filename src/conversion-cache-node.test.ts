import { chmod, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises"
import { homedir, tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { ODD_CONFIG, randomTensors } from "../test/random-checkpoint"
import { type ConversionCacheOptions, cacheFolder, packedFiles } from "./conversion-cache-node"
import type { LoadProgress } from "./engine-options"
import type { PackedType } from "./ops/backend"
import { createReferenceBackend } from "./ops/reference"
import { type Checkpoint, openCheckpoint } from "./weights/checkpoint"
import { openFolder } from "./weights/files-node"
import { encodeSafetensors } from "./weights/safetensors"
import { type FileSet, readText } from "./weights/source"

let folder: string
let files: FileSet
let checkpoint: Checkpoint
let steps: LoadProgress[]
const model = () => join(folder, "model")
const cache = () => join(folder, "cache")

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "isaac-cache-"))
  steps = []
  await mkdir(model())
  await writeFile(join(model(), "config.json"), JSON.stringify(ODD_CONFIG))
  await writeFile(join(model(), "chat_template.jinja"), "one")
  await writeWeights(1)
})
afterEach(async () => {
  await checkpoint.close()
  await rm(folder, { recursive: true })
})

async function writeWeights(seed: number): Promise<void> {
  await checkpoint?.close()
  await writeFile(
    join(model(), "model.safetensors"),
    encodeSafetensors(Object.fromEntries(randomTensors(ODD_CONFIG, seed))),
  )
  files = await openFolder(model())
  checkpoint = await openCheckpoint(files)
}

const packed = (options: ConversionCacheOptions = {}, stored: PackedType = "q8") =>
  packedFiles(files, checkpoint, stored, createReferenceBackend(), {
    env: { ISAAC_CACHE: cache() },
    worthKeeping: 1,
    onProgress: (step) => steps.push(step),
    ...options,
  })
/** Where the copy goes, how large it is, and how to prevent it. */
const PACKING = expect.stringMatching(/^Packing .*model as q8, once: [\d.]+ kB go to .*cache.*q8-.*ISAAC_CACHE=off/)
const conversions = () => steps.filter(({ stage, fraction }) => stage === "convert" && fraction === 1).length
const notices = () => steps.filter(({ stage }) => stage === "notice").map(({ message }) => message)
const entries = async () => (await readdir(join(cache(), "converted"))).sort()

/** Tensor types of what the loader gets. */
async function typesOf(set: FileSet | undefined): Promise<Record<string, number>> {
  const opened = await openCheckpoint(set!)
  await opened.close()
  const counts: Record<string, number> = {}
  for (const { dtype } of opened.tensors.values()) counts[dtype] = (counts[dtype] ?? 0) + 1
  return counts
}

describe("the cache of converted weights", () => {
  it("packs a checkpoint once, and gives the copy from then on", async () => {
    const first = await packed()
    expect(Object.keys(await typesOf(first)).sort()).toEqual(["F32", "Q8"])
    expect(conversions()).toBe(1)
    expect(await entries()).toEqual([expect.stringMatching(/^q8-[0-9a-f]{32}$/)])
    await packed()
    expect(conversions()).toBe(1)
    expect(notices()).toEqual([PACKING])
  })

  it("has a copy for each type", async () => {
    await packed()
    expect(Object.keys(await typesOf(await packed({}, "q4"))).sort()).toEqual(["F32", "Q4", "Q8"])
    expect(Object.keys(await typesOf(await packed())).sort()).toEqual(["F32", "Q8"])
    expect(conversions()).toBe(2)
    expect(await entries()).toEqual([expect.stringMatching(/^q4-/), expect.stringMatching(/^q8-/)])
    expect(notices()[1]).toMatch(/as q4, once: .*q4-/)
  })

  it("takes the weights alone from it: a template that was changed counts at once", async () => {
    await packed()
    await writeFile(join(model(), "chat_template.jinja"), "two")
    const set = (await packed())!
    expect(conversions()).toBe(1)
    expect(await readText(set, "chat_template.jinja")).toBe("two")
    expect(await set.has("tokenizer.json")).toBe(false)
    expect(set.name).toBe(model())
  })

  it("has a copy for each content of the weights", async () => {
    await packed()
    await writeWeights(2)
    await packed()
    expect(conversions()).toBe(2)
    expect(await entries()).toHaveLength(2)
  })

  it.each<[string, (copy: string) => Promise<unknown>]>([
    ["truncated", (copy) => truncate(join(copy, "model.safetensors"), 5000)],
    ["gone in part", (copy) => rm(join(copy, "model.safetensors"))],
    [
      "of other weights",
      async (copy) => {
        const text = await readFile(join(copy, "model.safetensors"), "latin1")
        const other = text.replace(
          /"isaac\.source":"[0-9a-f]/,
          (found) => `${found.slice(0, -1)}${found.endsWith("0") ? 1 : 0}`,
        )
        await writeFile(join(copy, "model.safetensors"), other, "latin1")
      },
    ],
    [
      "of another layout",
      async (copy) => {
        const text = await readFile(join(copy, "model.safetensors"), "latin1")
        await writeFile(
          join(copy, "model.safetensors"),
          text.replace('"isaac.layout":"', '"isaac.layout":"9'),
          "latin1",
        )
      },
    ],
  ])("writes a copy anew that is %s", async (_, damage) => {
    await packed()
    const copy = join(cache(), "converted", (await entries())[0])
    await damage(copy)
    await typesOf(await packed())
    expect(conversions()).toBe(2)
    expect(notices()).toEqual([PACKING, PACKING])
    expect(await entries()).toHaveLength(1)
  })

  it.each<[string, ConversionCacheOptions]>([
    ["a small checkpoint", { worthKeeping: 1e7 }],
    ["a cache that is turned off", { env: { ISAAC_CACHE: "off" } }],
  ])("leaves the disk alone for %s", async (_, options) => {
    expect(await packed(options)).toBeUndefined()
    expect(steps).toEqual([])
    expect(await readdir(folder)).toEqual(["model"])
  })

  it("tells why it cannot write, and lets loading go on without it", async () => {
    await writeFile(cache(), "a file where the folder should be")
    expect(await packed()).toBeUndefined()
    expect(notices()).toEqual([PACKING, expect.stringMatching(/cannot write.*ISAAC_CACHE.*packed in memory/)])
  })

  it("the same with a disk that is full in the middle, and leaves nothing there", async () => {
    const full = Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC", syscall: "write" })
    const openFile = async () => ({
      write: async () => Promise.reject(full),
      sync: async () => {},
      close: async () => {},
    })
    expect(await packed({ openFile })).toBeUndefined()
    expect(notices()).toEqual([
      PACKING,
      expect.stringMatching(/too full: .* needed, .* free at .*ISAAC_CACHE.*packed in memory/),
    ])
    expect(await entries()).toEqual([])
  })

  it.skipIf(process.getuid?.() === 0)("and with a folder that is read only", async () => {
    await mkdir(cache())
    await chmod(cache(), 0o500)
    expect(await packed()).toBeUndefined()
    expect(notices()).toHaveLength(2)
  })

  it("stops when aborted, and leaves nothing there", async () => {
    const controller = new AbortController()
    const stopped = packed({ signal: controller.signal, onProgress: () => controller.abort() })
    await expect(stopped).rejects.toMatchObject({ code: "aborted" })
    expect(await entries()).toEqual([])
  })

  it("does not take damaged weights for a full disk", async () => {
    const tensors = randomTensors(ODD_CONFIG)
    ;(tensors.get("model.layers.1.mlp.up_proj.weight")!.data as Float32Array)[7] = Number.NaN
    await writeFile(join(model(), "model.safetensors"), encodeSafetensors(Object.fromEntries(tensors)))
    await checkpoint.close()
    checkpoint = await openCheckpoint(files)
    await expect(packed()).rejects.toMatchObject({ code: "not_finite", message: expect.stringContaining("element 7") })
  })
})

it("the cache's folder follows ISAAC_CACHE, XDG_CACHE_HOME, and the home", () => {
  expect(cacheFolder({ ISAAC_CACHE: "/c", XDG_CACHE_HOME: "/x" })).toBe("/c")
  expect(cacheFolder({ ISAAC_CACHE: "~/c" })).toBe(join(homedir(), "c"))
  expect(cacheFolder({ ISAAC_CACHE: " ", XDG_CACHE_HOME: "/x" })).toBe("/x/isaac-vlm")
  expect(cacheFolder({})).toBe(join(homedir(), ".cache", "isaac-vlm"))
  expect(cacheFolder({ ISAAC_CACHE: "off" })).toBeUndefined()
})
