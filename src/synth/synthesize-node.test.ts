import { mkdtemp, readdir, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { nodePlatform } from "../engine-node"
import { IsaacEngine } from "../isaac"
import { parameterTable, parseConfig } from "../model"
import { openCheckpoint } from "../weights/checkpoint"
import { openFolder } from "../weights/files-node"
import { PRESETS, presetConfig } from "./presets"
import { type SynthesizeOptions, synthesize } from "./synthesize-node"

let parent: string
beforeAll(async () => {
  parent = await mkdtemp(join(tmpdir(), "isaac-synth-"))
})
afterAll(() => rm(parent, { recursive: true }))

const small: SynthesizeOptions = { preset: "isaac-tiny", seed: 7, dtype: "f32", layers: 1, shardBytes: 1e6 }

async function write(name: string, changes: Partial<SynthesizeOptions> = {}): Promise<string> {
  const folder = join(parent, name)
  await synthesize(folder, { ...small, ...changes })
  return folder
}

async function tensor(folder: string, name: string): Promise<Float32Array> {
  const checkpoint = await openCheckpoint(await openFolder(folder))
  try {
    return (await checkpoint.read(name)).float32()
  } finally {
    await checkpoint.close()
  }
}

describe("presets", () => {
  it("isaac-0.1 has the published number of parameters, and a tenth of it a tenth", () => {
    const count = (preset: string) => {
      let sum = 0
      for (const { axes } of parameterTable(parseConfig(presetConfig(preset))).values()) {
        sum += axes.reduce((product, [, size]) => product * size, 1)
      }
      return sum
    }
    expect(count("isaac-0.1")).toBe(2_567_073_008)
    expect(count("isaac-0.1-tenth") / count("isaac-0.1")).toBeCloseTo(0.1, 2)
  })

  it("isaac-tiny has the shape of the model that ships", async () => {
    const shipped = JSON.parse(await readFile(new URL("../../models/isaac-tiny/config.json", import.meta.url), "utf8"))
    expect(parseConfig(PRESETS["isaac-tiny"])).toEqual(parseConfig(shipped))
  })
})

describe("synthesize", () => {
  it("writes a checkpoint in shards that loads and answers", async () => {
    const folder = await write("answers")
    expect((await readdir(folder)).filter((file) => file.endsWith(".safetensors")).length).toBeGreaterThan(3)
    const engine = await IsaacEngine.load(await openFolder(folder), nodePlatform(), { threads: 1 })
    try {
      const picture = { width: 70, height: 40, data: new Uint8Array(70 * 40 * 3).fill(90) }
      let completion = 0
      for await (const event of engine.ask([picture], "What is this?", { maxNewTokens: 3 })) {
        if (event.type === "final") completion = event.answer.usage.completion_tokens
      }
      expect(completion).toBeGreaterThan(0)
    } finally {
      await engine.dispose()
    }
  })

  it("gives the same numbers for the same seed, others for another, in one file or several", async () => {
    const name = "model.layers.0.mlp.up_proj.weight"
    const first = await tensor(await write("first"), name)
    expect(await tensor(await write("again", { shardBytes: undefined }), name)).toEqual(first)
    expect(await tensor(await write("other", { seed: 8 }), name)).not.toEqual(first)
    // Unit gain: the variance is one over the 192 inputs.
    const variance = first.reduce((sum, x) => sum + x * x, 0) / first.length
    expect(variance * 192).toBeCloseTo(1, 1)
    // Rounded to nearest: within half of a step of bfloat16, 2⁻⁹ of the number at most.
    const rounded = await tensor(await write("rounded", { dtype: "bf16" }), name)
    expect(first.every((x, i) => Math.abs(rounded[i] - x) <= Math.abs(x) * 2 ** -8)).toBe(true)
    expect(rounded).not.toEqual(first)
  })

  it("refuses an unknown preset and a folder with something in it", async () => {
    const folder = await write("taken", { dtype: "bf16" })
    await expect(synthesize(folder, small)).rejects.toMatchObject({ code: "io" })
    await expect(synthesize(join(parent, "x"), { ...small, preset: "toString" })).rejects.toMatchObject({
      code: "bad_input",
      message: expect.stringContaining("isaac-0.1"),
    })
  })

  it("stops when aborted and leaves nothing", async () => {
    const controller = new AbortController()
    const folder = join(parent, "aborted")
    const writing = synthesize(folder, { ...small, signal: controller.signal, onProgress: () => controller.abort() })
    await expect(writing).rejects.toMatchObject({ code: "aborted" })
    await expect(readdir(folder)).rejects.toMatchObject({ code: "ENOENT" })
  })
})
