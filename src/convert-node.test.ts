import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { ODD_CONFIG, randomTensors } from "../test/random-checkpoint"
import { convertModel } from "./convert-node"
import type { LoadProgress } from "./engine-options"
import { IsaacModel } from "./model"
import { type Backend, isPackedSource, type StoredType } from "./ops/backend"
import { createReferenceBackend } from "./ops/reference"
import { openCheckpoint } from "./weights/checkpoint"
import { openFolder } from "./weights/files-node"
import { encodeSafetensors, type TensorData } from "./weights/safetensors"

const TINY = fileURLToPath(new URL("../models/isaac-tiny", import.meta.url))
const IDS = Int32Array.of(5, 40, 7, 0, 96)

let folder: string
let backend: Backend
beforeAll(() => {
  backend = createReferenceBackend()
})
afterAll(() => backend.dispose())
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "isaac-convert-"))
})
afterEach(() => rm(folder, { recursive: true }))

/** A folder with a random checkpoint. */
async function source(
  tensors: ReadonlyMap<string, TensorData> = randomTensors(ODD_CONFIG),
  config: Readonly<Record<string, unknown>> = ODD_CONFIG,
): Promise<string> {
  const model = join(folder, "model")
  await mkdir(model, { recursive: true })
  await writeFile(join(model, "config.json"), JSON.stringify(config))
  await writeFile(join(model, "chat_template.jinja"), "template")
  await writeFile(join(model, "README.md"), "not copied")
  await writeFile(join(model, "model.safetensors"), encodeSafetensors(Object.fromEntries(tensors)))
  return model
}

/** The upper halves of float32 numbers, as a BF16 tensor. */
function truncated({ shape, data }: TensorData): TensorData {
  const bits = new Uint32Array((data as Float32Array).buffer)
  return { shape, data: Uint16Array.from(bits, (b) => b >>> 16), dtype: "BF16" }
}

async function logitsOf(model: string, stored: StoredType | "auto"): Promise<Float32Array> {
  const checkpoint = await openCheckpoint(await openFolder(model))
  const loaded = await IsaacModel.load(checkpoint, backend, { stored })
  await checkpoint.close()
  const { logits } = loaded.forward({ inputIds: IDS })
  const numbers = await backend.read(logits!)
  backend.free(logits!)
  loaded.dispose()
  return numbers
}

const convert = (model: string, changes: Partial<Parameters<typeof convertModel>[1]> = {}) =>
  convertModel(model, { dtype: "q8", out: join(folder, "out"), backend: "reference", ...changes })

describe("convertModel", () => {
  it.each<[string, "q8" | "q4" | "bf16", (t: Map<string, TensorData>) => Map<string, TensorData>]>([
    ["float32", "q8", (tensors) => tensors],
    ["float32", "q4", (tensors) => tensors],
    ["float32", "bf16", (tensors) => tensors],
    ["bfloat16", "q8", (tensors) => new Map([...tensors].map(([name, tensor]) => [name, truncated(tensor)]))],
    ["a head of its own", "bf16", (tensors) => tensors],
    ["a head equal to the embedding", "q4", (t) => t.set("lm_head.weight", t.get("model.embed_tokens.weight")!)],
    ["a head equal to the embedding", "q8", (t) => t.set("lm_head.weight", t.get("model.embed_tokens.weight")!)],
    ["a head equal to the embedding", "bf16", (t) => t.set("lm_head.weight", t.get("model.embed_tokens.weight")!)],
  ])("of %s to %s loads to the same bits as rounding while loading", async (_, dtype, change) => {
    const model = await source(change(randomTensors(ODD_CONFIG)))
    const { bytes, sourceBytes } = await convert(model, { dtype })
    expect(bytes).toBeLessThan(sourceBytes)
    expect(await logitsOf(join(folder, "out"), "auto")).toEqual(await logitsOf(model, dtype))
  })

  it.each(["q8", "q4"] as const)("stores a head that equals the embedding once, as %s", async (dtype) => {
    const tensors = randomTensors(ODD_CONFIG)
    await convert(await source(tensors.set("lm_head.weight", tensors.get("model.embed_tokens.weight")!)), { dtype })
    const checkpoint = await openCheckpoint(await openFolder(join(folder, "out")))
    await checkpoint.close()
    expect(checkpoint.tensors.get("lm_head.weight")).toMatchObject({ storedName: "model.embed_tokens.weight" })
  })

  it("copies what belongs to a checkpoint, and nothing else", async () => {
    const model = await source()
    const progress: LoadProgress[] = []
    await convert(model, { onProgress: (step) => progress.push(step) })
    expect((await readdir(join(folder, "out"))).sort()).toEqual([
      "chat_template.jinja",
      "config.json",
      "model.safetensors",
    ])
    expect(await readFile(join(folder, "out", "chat_template.jinja"), "utf8")).toBe("template")
    const fractions = progress.filter(({ stage }) => stage === "convert").map(({ fraction }) => fraction)
    expect(fractions.length).toBeGreaterThan(10)
    expect(fractions).toEqual([...fractions].sort((a, b) => a - b))
    expect(fractions.at(-1)).toBe(1)
  })

  it.each(["q8", "q4"] as const)("aligns matrices of %s to 64 bytes, leaves vectors as they were", async (dtype) => {
    const model = await source()
    await convert(model, { dtype })
    const [before, after] = await Promise.all(
      [model, join(folder, "out")].map(async (where) => openCheckpoint(await openFolder(where))),
    )
    const bytes = new DataView((await readFile(join(folder, "out", "model.safetensors"))).buffer)
    const header = JSON.parse(
      new TextDecoder().decode(new Uint8Array(bytes.buffer, 8, Number(bytes.getBigUint64(0, true)))),
    )
    const data = 8 + Number(bytes.getBigUint64(0, true))
    for (const [name, tensor] of after.tensors) {
      expect(tensor.shape).toEqual(before.tensors.get(name)!.shape)
      if (isPackedSource(tensor.dtype)) expect((data + header[name].data_offsets[0]) % 64, name).toBe(0)
      else expect((await after.read(name)).bytes).toEqual((await before.read(name)).bytes)
    }
    const packed = [...after.tensors.values()].filter((tensor) => isPackedSource(tensor.dtype))
    expect(packed).toHaveLength(30)
    for (const tensor of packed) {
      // Of q4, but for the vision tower and the projector.
      expect(tensor.dtype).toBe(dtype === "q4" && !tensor.name.includes("vision") ? "Q4" : "Q8")
    }
    expect(after.metadata["isaac.source"]).toMatch(/^[0-9a-f]{64}$/)
    await Promise.all([before.close(), after.close()])
  })

  it("refuses what is converted already, and to load it as what it no longer is", async () => {
    await convert(await source())
    const out = join(folder, "out")
    await expect(convert(out, { out: join(folder, "again") })).rejects.toMatchObject({ code: "unsupported" })
    await expect(convert(out, { out: join(folder, "again"), dtype: "bf16" })).rejects.toMatchObject({
      code: "unsupported",
      message: expect.stringContaining("convert the original"),
    })
    for (const stored of ["f32", "bf16"] as const) {
      await expect(logitsOf(out, stored)).rejects.toMatchObject({
        code: "unsupported",
        message: expect.stringMatching(/stored as q8.*the original checkpoint as/),
      })
    }
    expect(await logitsOf(out, "q8")).toEqual(await logitsOf(out, "auto"))
    await expect(logitsOf(out, "q4")).rejects.toMatchObject({ code: "unsupported" })
    await expect(convert(TINY, { dtype: "q3" as "q8" })).rejects.toMatchObject({
      code: "unsupported",
      message: expect.stringContaining("writes q8, q4, bf16"),
    })
    const q4 = join(folder, "q4")
    await convert(join(folder, "model"), { dtype: "q4", out: q4 })
    await expect(convert(q4, { out: join(folder, "again") })).rejects.toMatchObject({
      message: expect.stringContaining("stored as q4 already"),
    })
    await expect(logitsOf(q4, "q8")).rejects.toMatchObject({
      code: "unsupported",
      message: expect.stringMatching(/stored as q4.*load it as q4 or auto/),
    })
  })

  it("replaces an earlier conversion, and nothing else", async () => {
    const model = await source()
    const out = join(folder, "out")
    await convert(model, { dtype: "bf16" })
    await convert(model) // over the other
    expect((await openCheckpoint(await openFolder(out))).metadata["isaac.stored"]).toBe("q8")
    await writeFile(join(out, "notes.txt"), "mine")
    await expect(convert(model)).rejects.toMatchObject({ code: "io", message: expect.stringContaining("notes.txt") })
    await expect(convert(model, { out: model })).rejects.toMatchObject({ code: "bad_input" })
    const other = join(folder, "other")
    await mkdir(other)
    await writeFile(join(other, "config.json"), "{}")
    await expect(convert(model, { out: other })).rejects.toMatchObject({ code: "io" })
    await writeFile(
      join(other, "model.safetensors"),
      encodeSafetensors({ "model.norm.weight": truncated(randomTensors(ODD_CONFIG).get("model.norm.weight")!) }),
    )
    await expect(convert(model, { out: other })).rejects.toMatchObject({
      code: "io",
      message: expect.stringContaining("not made by converting"),
    })
    expect((await readdir(folder)).sort()).toEqual(["model", "other", "out"])
  })

  it("leaves nothing of a conversion that was aborted or met a NaN", async () => {
    const tensors = randomTensors(ODD_CONFIG)
    ;(tensors.get("lm_head.weight")!.data as Float32Array)[11] = Number.POSITIVE_INFINITY
    const model = await source(tensors)
    await expect(convert(model)).rejects.toMatchObject({
      code: "not_finite",
      message: expect.stringContaining("element 11 of lm_head.weight"),
    })
    const controller = new AbortController()
    const aborted = convert(model, { signal: controller.signal, onProgress: () => controller.abort() })
    await expect(aborted).rejects.toMatchObject({ code: "aborted" })
    expect(await readdir(folder)).toEqual(["model"])
  })
})
