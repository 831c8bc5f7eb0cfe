/** How an engine keeps its weights: as asked for, as they fit, and from a packed copy. */

import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { convertModel } from "./convert-node"
import { nodePlatform, openModel } from "./engine-node"
import type { LoadProgress, Platform } from "./engine-options"
import { type EngineLoadOptions, IsaacEngine } from "./isaac"
import { configOf, planMemory } from "./model"
import type { Backend, BackendInfo, KvType } from "./ops/backend"
import { createReferenceBackend } from "./ops/reference"
import { openCheckpoint } from "./weights/checkpoint"
import { openFolder } from "./weights/files-node"
import type { FileSet } from "./weights/source"

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "isaac-storage-"))
  await convertModel("tiny", { dtype: "q8", out: join(folder, "q8"), backend: "reference" })
})
afterAll(() => rm(folder, { recursive: true }))

/** Node's, with the reference backend under a limit. */
function platform(memoryLimit?: number, changes: Partial<Platform> = {}): Platform {
  const selectBackend: Platform["selectBackend"] = async () => {
    const backend = createReferenceBackend()
    const info: BackendInfo = { ...backend.info, memoryLimit }
    const limited: Backend = new Proxy(backend, {
      get: (target, key) => (key === "info" ? info : Reflect.get(target, key)?.bind(target)),
    })
    return { backend: limited, refused: [] }
  }
  return { ...nodePlatform(), selectBackend, ...changes }
}

/** Loads isaac-tiny and lets it go; what it was kept as, and the notices. */
async function load(where: Platform, options: EngineLoadOptions = {}, model = "tiny") {
  const steps: LoadProgress[] = []
  const onProgress = (step: LoadProgress) => steps.push(step)
  const engine = await IsaacEngine.load(await openModel(model), where, { maxContext: 1024, ...options, onProgress })
  const { dtype, kvDtype } = engine.info
  const weights = engine.memory().used
  await engine.dispose()
  const notices = steps.filter(({ stage }) => stage === "notice").map(({ message }) => message)
  return { dtype, kvDtype, weights, notices }
}

/** What isaac-tiny takes at 1024 tokens, a chunk of 512 at a time. */
async function total(stored: "auto" | "q8" | "q4", kvStored: KvType): Promise<number> {
  const checkpoint = await openCheckpoint(await openModel("tiny"))
  await checkpoint.close()
  const { tensors } = checkpoint
  return planMemory(configOf(checkpoint), { stored, kvStored, tensors, maxContext: 1024, prefillTokens: 512 }).total
}

describe("what fits into the backend's memory", () => {
  it("is kept as it is stored, without a word", async () => {
    expect(await load(platform(await total("auto", "f32")))).toMatchObject({
      dtype: "bf16",
      kvDtype: "f32",
      notices: [],
    })
  })

  it("else with bf16 keys and values, else as q8, else as q4, and a notice tells", async () => {
    const half = await load(platform(await total("auto", "bf16")))
    expect(half).toMatchObject({ dtype: "bf16", kvDtype: "bf16", notices: [expect.stringContaining("kept as bf16")] })
    const q8 = await load(platform(await total("q8", "bf16")))
    expect(q8).toMatchObject({ dtype: "q8", kvDtype: "bf16", notices: [expect.stringContaining("kept as q8")] })
    expect(q8.weights).toBeLessThan(0.6 * half.weights)
    const q4 = await load(platform(await total("q4", "int8")))
    expect(q4).toMatchObject({ dtype: "q4", kvDtype: "int8", notices: [expect.stringContaining("kept as q4")] })
    expect(q4.weights).toBeLessThan(0.9 * q8.weights)
    const int8 = await load(platform(await total("q8", "int8")))
    expect(int8).toMatchObject({ dtype: "q8", kvDtype: "int8", notices: [expect.stringContaining("kept as int8")] })
    const small = platform(2 ** 32, { machineMemory: await total("q8", "bf16") })
    expect(await load(small)).toMatchObject({ dtype: "q8", notices: [expect.stringContaining("can have here")] })
  })

  it("is kept as asked for, or refused with the numbers", async () => {
    const limit = await total("q4", "int8")
    for (const dtype of ["q8", "q4"] as const) {
      expect(await load(platform(), { dtype, kvDtype: "bf16" })).toMatchObject({ dtype, kvDtype: "bf16", notices: [] })
    }
    expect(await load(platform(), { kvDtype: "int8" })).toMatchObject({ dtype: "bf16", kvDtype: "int8", notices: [] })
    expect(await load(platform(), { kvDtype: "auto" })).toMatchObject({ kvDtype: "f32" })
    for (const options of [{ dtype: "bf16" }, { dtype: "q8" }, { kvDtype: "bf16" }, { maxContext: 2048 }] as const) {
      await expect(load(platform(limit), options)).rejects.toMatchObject({
        code: "out_of_memory",
        message: expect.stringMatching(/\d+ MB of weights.*are allowed/),
      })
    }
  })
})

describe("the packed copy", () => {
  it("is asked for when weights are kept as q8, and loaded from", async () => {
    const asked: string[] = []
    const opened: string[] = []
    const copy = await openFolder(join(folder, "q8"))
    const packed: FileSet = {
      ...copy,
      open(file) {
        opened.push(file)
        return copy.open(file)
      },
    }
    const where = platform(undefined, {
      async packedFiles(files) {
        asked.push(files.name)
        return packed
      },
    })
    expect(await load(where, { dtype: "q8" })).toMatchObject({ dtype: "q8" })
    expect(asked).toHaveLength(1)
    expect(opened).toContain("model.safetensors")
    // Not for other types, not when it is unwanted, and not for what is packed already.
    await load(where, { dtype: "bf16" })
    await load(where, { dtype: "q8", cache: false })
    expect(await load(where, { dtype: "q8" }, join(folder, "q8"))).toMatchObject({ dtype: "q8" })
    expect(asked).toHaveLength(1)
  })

  it("is asked for in the type that is wanted", async () => {
    const asked: string[] = []
    const where = platform(undefined, {
      async packedFiles(_files, _checkpoint, stored) {
        asked.push(stored)
        return undefined
      },
    })
    for (const dtype of ["q4", "q8", "f32"] as const) await load(where, { dtype })
    expect(asked).toEqual(["q4", "q8"])
  })

  it("is done without where there is none", async () => {
    const where = platform(undefined, { packedFiles: async () => undefined })
    expect(await load(where, { dtype: "q8" })).toMatchObject({ dtype: "q8" })
  })
})
