import { describe, expect, it } from "vitest"
import { goldenPath } from "../../test/golden"
import { openCheckpoint } from "./checkpoint"
import { openFolder } from "./files-node"
import { encodeSafetensors, type TensorData } from "./safetensors"
import { type ByteSource, bytesFiles, type FileSet } from "./source"

const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value))
const tensor = (...numbers: number[]): TensorData => ({ shape: [numbers.length], data: Float32Array.from(numbers) })

/** Two shards and their index; each can be replaced. */
function sharded(changes: Record<string, Uint8Array | undefined> = {}): FileSet {
  const files: Record<string, Uint8Array | undefined> = {
    "config.json": json({ model_type: "isaac" }),
    "a.safetensors": encodeSafetensors({ "model.norm.weight": tensor(1, 2) }),
    "b.safetensors": encodeSafetensors({ "lm_head.weight": tensor(3), "model.rotary_emb.inv_freq": tensor(9) }),
    "model.safetensors.index.json": json({
      weight_map: {
        "model.norm.weight": "a.safetensors",
        "lm_head.weight": "b.safetensors",
        "model.rotary_emb.inv_freq": "b.safetensors",
      },
    }),
    ...changes,
  }
  const present = Object.entries(files).filter((entry): entry is [string, Uint8Array] => entry[1] !== undefined)
  return bytesFiles("folder", Object.fromEntries(present))
}

/** The same files, counting what is open and read. */
function watched(files: FileSet): { files: FileSet; open: () => number; readBytes: () => number } {
  let open = 0
  let readBytes = 0
  const watch = (source: ByteSource): ByteSource => ({
    ...source,
    read(offset, length) {
      readBytes += length
      return source.read(offset, length)
    },
    async close() {
      open--
      await source.close()
    },
  })
  return {
    files: {
      ...files,
      async open(file) {
        const source = watch(await files.open(file))
        open++
        return source
      },
    },
    open: () => open,
    readBytes: () => readBytes,
  }
}

describe("checkpoint", () => {
  it("opens the golden's shards and reads tensor by tensor", async () => {
    const { files, readBytes, open } = watched(await openFolder(goldenPath("random-tiny")))
    const checkpoint = await openCheckpoint(files)
    expect(readBytes()).toBeLessThan(100_000) // headers and JSON, no tensor
    const { shape, dtype, bytes, float32 } = await checkpoint.read("model.layers.0.self_attn.q_norm.weight")
    expect([shape, dtype, bytes.byteLength]).toEqual([[32], "F32", 128])
    expect(float32()).toHaveLength(32)
    expect(checkpoint.config.hidden_size).toBe(64)
    await checkpoint.close()
    expect(open()).toBe(0)
  })

  it("merges the JSON files and keeps metadata", async () => {
    const checkpoint = await openCheckpoint(
      bytesFiles("folder", {
        "config.json": json({ a: 1 }),
        "generation_config.json": json({ eos_token_id: 2 }),
        "preprocessor_config.json": json({ x: 1, y: 1 }),
        "processor_config.json": json({ y: 2 }),
        "model.safetensors": encodeSafetensors({ "model.norm.weight": tensor(1) }, { format: "pt" }),
      }),
    )
    expect(checkpoint.config).toEqual({ a: 1 })
    expect(checkpoint.generationConfig).toEqual({ eos_token_id: 2 })
    expect(checkpoint.processorConfig).toEqual({ x: 1, y: 2 })
    expect(checkpoint.metadata).toEqual({ format: "pt" })
  })

  it("takes tensors from all shards by canonical name, without rotary frequencies", async () => {
    const checkpoint = await openCheckpoint(sharded())
    expect([...checkpoint.tensors.keys()].sort()).toEqual(["lm_head.weight", "model.norm.weight"])
    expect(checkpoint.tensors.get("lm_head.weight")).toMatchObject({ file: "b.safetensors", shape: [1], bytes: 4 })
    expect([...(await checkpoint.read("model.norm.weight")).float32()]).toEqual([1, 2])
    await expect(checkpoint.read("model.none")).rejects.toMatchObject({ code: "bad_checkpoint" })
  })

  it.each([
    ["no config.json", { "config.json": undefined }, /no config\.json/],
    ["a config.json that is no JSON", { "config.json": new Uint8Array(3) }, /config\.json is not valid JSON/],
    ["no weights", { "model.safetensors.index.json": undefined }, /there are no weights/],
    [
      "a missing shard",
      { "b.safetensors": undefined },
      /lacks the shard b\.safetensors \(2 tensors, one of 2 shards\)/,
    ],
    [
      "a tensor in two shards",
      {
        "b.safetensors": encodeSafetensors({
          "model.norm.weight": tensor(1, 2),
          "lm_head.weight": tensor(3),
          "model.rotary_emb.inv_freq": tensor(9),
        }),
      },
      /"model\.norm\.weight" is in two shards, a\.safetensors and b\.safetensors/,
    ],
    [
      "a truncated shard",
      { "a.safetensors": encodeSafetensors({ "model.norm.weight": tensor(1, 2) }).slice(0, -1) },
      /a\.safetensors.*truncated/,
    ],
    [
      "an index that names a tensor its shard lacks",
      { "a.safetensors": encodeSafetensors({ "model.other.weight": tensor(1) }) },
      /says that a\.safetensors holds model\.norm\.weight, but it does not/,
    ],
    [
      "an index that points out of the folder",
      { "model.safetensors.index.json": json({ weight_map: { "model.norm.weight": "../a.safetensors" } }) },
      /no file name of a shard/,
    ],
    ["an index without a map", { "model.safetensors.index.json": json({}) }, /no weight_map/],
    ["an empty index", { "model.safetensors.index.json": json({ weight_map: {} }) }, /lists no tensors/],
    [
      "two names of one tensor",
      {
        "b.safetensors": encodeSafetensors({
          "lm_head.weight": tensor(3),
          "model.lm_head.weight": tensor(3),
          "model.rotary_emb.inv_freq": tensor(9),
        }),
      },
      /"lm_head\.weight" and "model\.lm_head\.weight" are two names of one tensor/,
    ],
  ])("refuses %s, and leaves nothing open", async (_, changes, message) => {
    const { files, open } = watched(sharded(changes))
    await expect(openCheckpoint(files)).rejects.toMatchObject({
      code: "bad_checkpoint",
      message: expect.stringMatching(message),
    })
    expect(open()).toBe(0)
  })

  it("names missing and left-over tensors as they are stored", async () => {
    const good = await openCheckpoint(sharded())
    expect(() => good.expectNames(["model.norm.weight", "model.embed_tokens.weight"], [])).toThrow(
      /lacks 1 tensors: model\.embed_tokens\.weight; it has 1 that the model does not use: lm_head\.weight/,
    )
    expect(() => good.expectNames(["model.norm.weight"], ["lm_head.weight"])).not.toThrow()
    const many = Array.from({ length: 20 }, (_, i) => `tensor.${String(i).padStart(2, "0")}`)
    expect(() => good.expectNames(many, [])).toThrow(/tensor\.07 and 12 more/)
  })

  it("compares tensors by their bytes", async () => {
    const checkpoint = await openCheckpoint(
      bytesFiles("folder", {
        "config.json": json({}),
        "model.safetensors": encodeSafetensors({
          a: tensor(1, 2, 3),
          same: tensor(1, 2, 3),
          other: tensor(1, 2, 4),
          shape: { shape: [3, 1], data: Float32Array.of(1, 2, 3) },
        }),
      }),
    )
    expect(await checkpoint.sameTensor("a", "same")).toBe(true)
    expect(await checkpoint.sameTensor("a", "other")).toBe(false)
    expect(await checkpoint.sameTensor("a", "shape")).toBe(false)
  })
})
