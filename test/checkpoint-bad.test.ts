/** Checkpoints that are broken, contradict themselves or mean harm: each is refused, and the message says what to do. */

import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { loadEngine, nodePlatform } from "../src/engine-node"
import type { IsaacErrorCode } from "../src/errors"
import { IsaacEngine } from "../src/isaac"
import { IsaacModel } from "../src/model"
import { createReferenceBackend } from "../src/ops/reference"
import { openCheckpoint } from "../src/weights/checkpoint"
import { encodeSafetensors, type TensorData } from "../src/weights/safetensors"
import { bytesFiles } from "../src/weights/source"
import { ISAAC_0_1, type Kind, kindFiles, numbersOf } from "./checkpoint-kinds"
import { runCommand } from "./cli-terminal"

type Json = Record<string, unknown>
type Files = Record<string, Uint8Array>

const utf8 = new TextEncoder()
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)
const json = (value: unknown) => utf8.encode(JSON.stringify(value))

const GOOD = kindFiles(ISAAC_0_1)
const SHARDED = kindFiles({ ...ISAAC_0_1, files: "two shards" })
const INDEX = "model.safetensors.index.json"

/** Loads a folder in memory; what it threw, or "loaded". */
async function load(files: Files): Promise<{ code: string; message: string }> {
  try {
    const engine = await IsaacEngine.load(bytesFiles("folder", files), nodePlatform(), { backend: "reference" })
    await engine.dispose()
    return { code: "loaded", message: "" }
  } catch (error) {
    const { code, message, name } = error as { code: string; message: string; name: string }
    expect(name, message).toBe("IsaacError")
    expect(message.length).toBeLessThan(2000)
    return { code, message }
  }
}

/** What an answer failed with. */
async function firstOf(engine: IsaacEngine): Promise<unknown> {
  try {
    const { value } = await engine.ask([], "Hello").next()
    return value?.type === "error" ? value.error : value
  } catch (error) {
    return error
  }
}

async function refused(files: Files, code: IsaacErrorCode, ...says: readonly RegExp[]): Promise<void> {
  const failure = await load(files)
  expect(failure).toMatchObject({ code })
  for (const pattern of says) expect(failure.message).toMatch(pattern)
}

function changedJson(file: string, change: (content: Json) => void, files: Files = GOOD): Files {
  const content = JSON.parse(text(files[file] ?? utf8.encode("{}"))) as Json
  change(content)
  return { ...files, [file]: json(content) }
}

const config = (changes: Json, files: Files = without(GOOD, "processor_config.json")): Files =>
  changedJson("config.json", (content) => Object.assign(content, changes), files)

const vision = (changes: Json): Files =>
  changedJson(
    "config.json",
    (content) => Object.assign(content.vision_config as Json, changes),
    without(GOOD, "processor_config.json"),
  )

function without(files: Files, ...names: readonly string[]): Files {
  return Object.fromEntries(Object.entries(files).filter(([name]) => !names.includes(name)))
}

/** The good checkpoint with other tensors. */
function tensors(change: (tensors: Map<string, TensorData>) => void, kind: Kind = ISAAC_0_1): Files {
  const all = numbersOf(kind)
  change(all)
  return { ...GOOD, "model.safetensors": encodeSafetensors(Object.fromEntries(all)) }
}

it("the checkpoint that is broken below loads", async () => {
  expect(await load(GOOD)).toEqual({ code: "loaded", message: "" })
  expect(await load(SHARDED)).toEqual({ code: "loaded", message: "" })
  expect(await load(tensors(() => {}))).toEqual({ code: "loaded", message: "" })
  expect(await load(config({}))).toEqual({ code: "loaded", message: "" })
})

describe("files that are cut off", () => {
  const weights = GOOD["model.safetensors"]
  const header = Number(new DataView(weights.buffer, weights.byteOffset).getBigUint64(0, true))
  const lengths = {
    empty: 0,
    "in the header's length": 7,
    "behind the header's length": 8,
    "in the header": 8 + Math.floor(header / 2),
    "behind the header": 8 + header,
    "in the first tensor": 8 + header + 1,
    "a byte too early": weights.byteLength - 1,
  }
  it.each(Object.entries(lengths))("weights: %s", async (_, length) => {
    const cut = { ...GOOD, "model.safetensors": weights.slice(0, length) }
    await refused(
      cut,
      "bad_checkpoint",
      /^folder\/model\.safetensors is not a valid safetensors file.*\d/,
      /Download it again/,
    )
  })

  it.each(["config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json", INDEX])(
    "%s",
    async (file) => {
      const files = file === INDEX ? SHARDED : GOOD
      for (const length of [0, Math.floor(files[file].byteLength / 2), files[file].byteLength - 1]) {
        const cut = { ...files, [file]: files[file].slice(0, length) }
        await refused(cut, "bad_checkpoint", new RegExp(`folder/${file} is not valid JSON.*Download it again`))
      }
    },
  )

  it("a chat template", async () => {
    const template = GOOD["chat_template.jinja"]
    const cut = { ...GOOD, "chat_template.jinja": template.slice(0, template.byteLength / 2) }
    await refused(cut, "bad_checkpoint", /chat_template\.jinja is not valid Jinja/)
  })
})

describe("files that are something else", () => {
  const pointer = utf8.encode("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
  it.each(["model.safetensors", "tokenizer.json", "config.json"])("%s is a Git LFS pointer", (file) =>
    refused({ ...GOOD, [file]: pointer }, "bad_checkpoint", /Git LFS pointer.*git lfs pull/),
  )

  it("a page of a web server, a pickle, an archive in place of weights", async () => {
    for (const content of ["<!DOCTYPE html><html>", "\u0080\u0002}q\u0000.aaaaaaaa", "PK\u0003\u0004aaaaaaaaaaa"]) {
      await refused({ ...GOOD, "model.safetensors": utf8.encode(content) }, "bad_checkpoint", /header claims \d+ bytes/)
    }
  })

  it.each(["[]", "null", "3", '"x"'])("config.json is %s", (content) =>
    refused(
      { ...GOOD, "config.json": utf8.encode(content) },
      "bad_checkpoint",
      /config\.json should hold a JSON object/,
    ),
  )

  it("another model's config", async () => {
    await refused(
      { ...GOOD, "config.json": json({ model_type: "qwen3" }) },
      "bad_config",
      /no vision_config.*not.*Isaac/,
    )
  })
})

describe("tensors", () => {
  it("that are missing or too many are named, the first of them", async () => {
    const less = tensors((all) => {
      for (const name of [...all.keys()].slice(0, 12)) all.delete(name)
    })
    await refused(less, "bad_checkpoint", /lacks 12 tensors: model\.\S+(?:, \S+){7} and 4 more/)
    const more = tensors((all) => {
      for (let i = 0; i < 20; i++) all.set(`model.audio.${10 + i}`, { shape: [1], data: Float32Array.of(1) })
    })
    await refused(more, "bad_checkpoint", /20 that the model does not use: model\.audio\.10, .*audio\.17 and 12 more/)
    await refused(
      tensors((all) => {
        all.set("model.norm.w", all.get("model.norm.weight")!)
        all.delete("model.norm.weight")
      }),
      "bad_checkpoint",
      /lacks 1 tensors: model\.norm\.weight; it has 1 .*: model\.norm\.w$/,
    )
  })

  it("of other layers than the config counts are named", async () => {
    await refused(config({ num_hidden_layers: 3 }), "bad_checkpoint", /lacks 11 tensors: model\.layers\.2\./)
    await refused(
      config({ num_hidden_layers: 1 }),
      "bad_checkpoint",
      /11 that the model does not use: model\.layers\.1\./,
    )
    await refused(vision({ num_hidden_layers: 3 }), "bad_checkpoint", /lacks 16 tensors: .*encoder\.layers\.2\./)
  })

  it.each<[string, (all: Map<string, TensorData>) => void, RegExp]>([
    [
      "transposed",
      (all) =>
        all.set("model.layers.1.mlp.down_proj.weight", {
          ...all.get("model.layers.1.mlp.down_proj.weight")!,
          shape: [44, 32],
        }),
      /down_proj\.weight has the shape \[44, 32\], but config\.json asks for \[hidden_size = 32, intermediate_size = 44\]/,
    ],
    [
      "with an axis too many",
      (all) => all.set("model.norm.weight", { ...all.get("model.norm.weight")!, shape: [1, 32] }),
      /norm\.weight has the shape \[1, 32\], but .* \[hidden_size = 32\]/,
    ],
    [
      "empty",
      (all) => all.set("model.norm.weight", { shape: [0], data: new Float32Array(0) }),
      /norm\.weight has the shape \[0\], but .* \[hidden_size = 32\]/,
    ],
    [
      "a position table that is no square",
      (all) => {
        const name = "model.vision_embedding.0.embeddings.position_embedding.weight"
        all.set(name, { ...all.get(name)!, shape: [2, 8, 24] })
      },
      /position_embedding\.weight has the shape \[2, 8, 24\], but .* \[vision_config\.num_patches = 16, /,
    ],
    [
      "of another patch size",
      (all) => {
        const name = "model.vision_embedding.0.embeddings.patch_embedding.weight"
        all.set(name, { shape: [24, 192], data: new Float32Array(24 * 192) })
      },
      /patch_embedding\.weight has the shape \[24, 192\], but .* 3·vision_patch_size² = 108\]/,
    ],
  ])("%s: shape and config are both named", (_, change, message) => refused(tensors(change), "bad_config", message))

  it.each(["I8", "I64", "F8_E4M3", "BOOL", "F64"] as const)("stored as %s are refused", (dtype) =>
    refused(
      tensors((all) => {
        const width = { I8: 1, I64: 8, F8_E4M3: 1, BOOL: 1, F64: 8 }[dtype]
        all.set("model.norm.weight", { shape: [32], data: new Uint8Array(32 * width), dtype })
      }),
      "bad_checkpoint",
      new RegExp(`model\\.norm\\.weight is stored as ${dtype}; weights are read from F32, F16 and BF16`),
    ),
  )

  it.each([
    ["F32", Number.NaN],
    ["F32", Number.POSITIVE_INFINITY],
    ["F16", 0x7e00],
    ["F16", 0xfc00],
    ["BF16", 0x7fc0],
    ["BF16", 0xff80],
  ] as const)("with a %s of %d are refused, and the number is found", async (dtype, value) => {
    for (const [name, index] of [
      ["model.embed_tokens.weight", 1000],
      ["model.vision_embedding.0.post_layernorm.bias", 23],
      ["model.vision_embedding.0.embeddings.position_embedding.weight", 0],
    ] as const) {
      const broken = tensors((all) => {
        const { shape, data } = all.get(name)!
        const numbers = dtype === "F32" ? (data as Float32Array).slice() : new Uint16Array(data.length)
        numbers[index] = value
        all.set(name, { shape, data: numbers, dtype })
      })
      await refused(broken, "not_finite", new RegExp(`element ${index} of ${name} is not a finite.*download it again`))
    }
  })

  it("are refused where lm_head is said to be the embedding and is not", async () => {
    await refused(
      config({ tie_word_embeddings: true }),
      "bad_config",
      /tie_word_embeddings true, but lm_head\.weight differs/,
    )
    const none = tensors((all) => all.delete("lm_head.weight"))
    await refused(none, "bad_checkpoint", /lacks 1 tensors: lm_head\.weight/)
  })
})

describe("an index of shards", () => {
  const map = (change: (map: Record<string, unknown>) => void): Files =>
    changedJson(INDEX, (index) => change(index.weight_map as Json), SHARDED)

  it.each([
    ...["../model.safetensors", "../../etc/passwd", "/etc/passwd", "a/b.safetensors", "..\\a.safetensors"],
    ...[
      "C:\\a.safetensors",
      ".hidden.safetensors",
      "a.safetensors\u0000",
      "a.bin",
      "",
      ".safetensors",
      "file:a.safetensors",
    ],
  ])("that names %j is refused before anything is opened", (file) =>
    refused(
      map((names) => Object.assign(names, { "model.norm.weight": file })),
      "bad_checkpoint",
      /which is no file name of a shard/,
    ),
  )

  it.each([3, null, ["a.safetensors"], { file: "a" }])("that names %j is refused", (file) =>
    refused(
      map((names) => Object.assign(names, { "model.norm.weight": file })),
      "bad_checkpoint",
      /no file name of a shard/,
    ),
  )

  it("that names a shard which is not there, or a tensor that is elsewhere", async () => {
    const shards = Object.keys(SHARDED).filter((file) => file.endsWith(".safetensors"))
    await refused(without(SHARDED, shards[1]), "bad_checkpoint", /lacks the shard model-00002-of-00002.*Download it/)
    const swapped = map((names) => Object.assign(names, { "model.norm.weight": shards[0] }))
    await refused(swapped, "bad_checkpoint", /says that model-00001.* holds model\.norm\.weight, but it does not/)
    const invented = map((names) => {
      for (let i = 0; i < 1000; i++) names[`x.${i}`] = shards[0]
    })
    await refused(invented, "bad_checkpoint", /holds x\.0, .* and 992 more, but it does not\. Download both again/)
  })

  it("that is empty, or is none", async () => {
    await refused({ ...SHARDED, [INDEX]: json({ weight_map: {} }) }, "bad_checkpoint", /lists no tensors/)
    await refused({ ...SHARDED, [INDEX]: json({ weight_map: [] }) }, "bad_checkpoint", /has no weight_map/)
    await refused({ ...SHARDED, [INDEX]: json({}) }, "bad_checkpoint", /has no weight_map/)
  })

  it("with the names that objects have changes no object", async () => {
    const index = `{"weight_map":{"__proto__":"x.safetensors","constructor":"x.safetensors"}}`
    await refused({ ...SHARDED, [INDEX]: utf8.encode(index) }, "bad_checkpoint", /lacks the shard x\.safetensors/)
    const named = utf8.encode('{"__proto__":{"hidden_size":1,"polluted":1},"constructor":{"prototype":{"polluted":1}}}')
    await refused({ ...GOOD, "config.json": named }, "bad_config", /no vision_config/)
    await refused(
      { ...GOOD, "processor_config.json": utf8.encode('{"__proto__":{"patch_size":99}}') },
      "loaded" as never,
    )
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
  })
})

describe("a config that contradicts itself: both places and values are named", () => {
  const processor = (content: unknown) => ({ ...GOOD, "processor_config.json": json(content) })
  it.each<[string, Files, RegExp]>([
    [
      "hidden_size",
      config({ text_config: { hidden_size: 64 } }),
      /text_config: hidden_size is 64, but config\.json: hidden_size is 32/,
    ],
    ["num_hidden_layers", config({ text_config: { num_hidden_layers: 5 } }), /is 5, but .* is 2/],
    ["num_attention_heads", config({ text_config: { num_attention_heads: 8 } }), /is 8, but .* is 4/],
    ["num_key_value_heads", config({ text_config: { num_key_value_heads: 4 } }), /is 4, but .* is 2/],
    ["heads and their groups", config({ num_key_value_heads: 3 }), /num_attention_heads is 4, not a multiple of .* 3/],
    ["head_dim", config({ text_config: { head_dim: 8 } }), /is 8, but .* is 16/],
    ["head_dim and weights", config({ head_dim: 24 }), /shape \[64, 32\], but .*num_attention_heads·head_dim = 96/],
    ["intermediate_size", config({ text_config: { intermediate_size: 45 } }), /is 45, but .* is 44/],
    ["vocab_size", config({ text_config: { vocab_size: 9 } }), /is 9, but .* is 770/],
    ["vocab_size and weights", config({ vocab_size: 769 }), /shape \[770, 32\], but .* \[vocab_size = 769/],
    ["rms_norm_eps", config({ text_config: { rms_norm_eps: 0.1 } }), /is 0\.1, but .* is 0\.00001/],
    ["rope_theta", config({ rope_scaling: { rope_theta: 5 } }), /rope_theta is 777, but rope_scaling: rope_theta is 5/],
    [
      "rope_theta below",
      config({ text_config: { rope_parameters: { rope_theta: 5 } } }),
      /777, but text_config\.rope_parameters: rope_theta is 5/,
    ],
    ["max_sequence_length", config({ text_config: { max_sequence_length: 9 } }), /is 512, but .* is 9/],
    ["patch size", vision({ patch_size: 7 }), /vision_patch_size is 6, but vision_config: patch_size is 7/],
    [
      "pixel shuffle",
      config({ pixel_shuffle_scale: 3 }),
      /pixel_shuffle_scale is 3, but vision_config: pixel_shuffle_scale_factor is 2/,
    ],
    ["position table", vision({ num_patches: 25 }), /shape \[16, 24\], but .*num_patches = 25/],
    ["vision heads", vision({ num_attention_heads: 5 }), /hidden_size is 24, not a multiple of .* 5/],
    ["image limits", config({ vision_min_num_patches: 49 }), /vision_min_num_patches is 49, more than .* 48/],
    [
      "the processor's limits",
      processor({ image_processor: { max_num_patches: 47 } }),
      /is 48, but image_processor: max_num_patches is 47/,
    ],
    [
      "the processor's patch",
      processor({ image_processor: { patch_size: 8 } }),
      /is 6, but image_processor: patch_size is 8/,
    ],
    [
      "the processor's shuffle",
      processor({ pixel_shuffle_scale: 4 }),
      /is 2, but processor config: pixel_shuffle_scale is 4/,
    ],
    [
      "the processor's copy: patch",
      processor({ config: { vision_patch_size: 8 } }),
      /is 6, but .*vision_patch_size is 8/,
    ],
    ["the processor's copy: length", processor({ config: { max_sequence_length: 8 } }), /is 512, but .* is 8/],
    ["the processor's copy: limits", processor({ config: { vision_max_num_patches: 8 } }), /is 48, but .* is 8/],
    ["the processor's copy: shuffle", processor({ config: { pixel_shuffle_scale: 8 } }), /is 2, but .* is 8/],
  ])("%s", (_, files, message) => refused(files, "bad_config", message))
})

describe("an absurd config", () => {
  const numbers = [0, -1, 1.5, 1e9, 1e308, "4", [4], {}, true, "__proto__"]
  const keys = ["hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim"]
  const sizes = [...keys, "intermediate_size", "vocab_size", "max_sequence_length", "vision_patch_size"]

  it.each(sizes)("%s", async (key) => {
    for (const value of numbers)
      await refused(config({ [key]: value }), "bad_config", new RegExp(`^config\\.json: ${key} is `))
  })

  it.each(["hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "num_patches"])(
    "vision_config.%s",
    async (key) => {
      for (const value of numbers)
        await refused(vision({ [key]: value }), "bad_config", new RegExp(`vision_config\\.${key} is `))
    },
  )

  it.each(["rms_norm_eps", "rope_theta"])("%s", async (key) => {
    for (const value of [0, -1, "1", [], {}, true])
      await refused(config({ [key]: value }), "bad_config", new RegExp(`${key} is `))
  })

  it("sections that are no objects, and missing fields", async () => {
    for (const value of [3, "x", [1], true]) {
      await refused(config({ vision_config: value }), "bad_config", /vision_config is /)
      await refused(config({ text_config: value }), "bad_config", /text_config is /)
      await refused(config({ rope_scaling: value }), "bad_config", /rope_scaling is /)
    }
    for (const key of [
      "hidden_size",
      "num_hidden_layers",
      "num_attention_heads",
      "intermediate_size",
      "max_sequence_length",
    ]) {
      await refused(config({ [key]: undefined }), "bad_config", new RegExp(`${key} is missing`))
    }
    await refused(config({ rope_theta: undefined }), "bad_config", /there is no rope_theta/)
    await refused(config({ head_dim: 12 }), "bad_config", /head_dim is 12; .*multiple of 8/)
  })

  it("nested deeper than the stack", async () => {
    const deep = `${text(GOOD["config.json"]).slice(0, -1)},"text_config":${"[".repeat(1e5)}${"]".repeat(1e5)}}`
    await refused({ ...GOOD, "config.json": utf8.encode(deep) }, "bad_config", /text_config is \[\[\[\[…/)
  })

  it("stop ids", async () => {
    for (const eos of [-1, 1.5, "744", [744, "x"], {}]) {
      await refused(config({ eos_token_id: eos }), "bad_config", /eos_token_id is /)
    }
    await refused(
      config({ eos_token_id: 151645 }),
      "bad_checkpoint",
      /768 ids, but .* end answers at 151645: .*different models/,
    )
  })
})

describe("tokenizers and templates", () => {
  it("no tokenizer, or one of a larger model", async () => {
    await refused(
      without(GOOD, "tokenizer.json"),
      "bad_checkpoint",
      /has no tokenizer: it needs tokenizer\.json, or vocab\.json/,
    )
    const grown = changedJson("tokenizer_config.json", (content) => {
      Object.assign(content.added_tokens_decoder as Json, { 770: { content: "<new>", special: true } })
    })
    await refused(grown, "bad_checkpoint", /771 ids, but its embedding table has 770 rows/)
  })

  it("without a template only raw text is taken", async () => {
    const files = without(GOOD, "chat_template.jinja")
    const engine = await IsaacEngine.load(bytesFiles("base", files), nodePlatform(), { backend: "reference" })
    expect(await firstOf(engine)).toMatchObject({
      code: "bad_input",
      message: expect.stringMatching(/no chat template.*raw text/),
    })
    expect((await engine.processor({ text: "Hello" })).inputIds.length).toBeGreaterThan(0)
    await engine.dispose()
  })

  it("a template without an end is stopped", async () => {
    const endless = utf8.encode("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}")
    const files = { ...GOOD, "chat_template.jinja": endless }
    const engine = await IsaacEngine.load(bytesFiles("endless", files), nodePlatform(), { backend: "reference" })
    expect(await firstOf(engine)).toMatchObject({
      code: "bad_checkpoint",
      message: expect.stringMatching(/chat_template\.jinja was stopped: it has not ended after \d+/),
    })
    await engine.dispose()
  })

  it("files too large to be what they say", async () => {
    const files = { ...GOOD, "chat_template.jinja": new Uint8Array((4 << 20) + 1) }
    await refused(files, "bad_checkpoint", /has 4194305 bytes; 4194304 are allowed/)
    await refused(
      { ...GOOD, "config.json": new Uint8Array((64 << 20) + 1) },
      "bad_checkpoint",
      /67108865 bytes; 67108864/,
    )
  })
})

describe("memory that will not suffice", () => {
  it("is told with the numbers before any weight is read", async () => {
    const backend = createReferenceBackend()
    const checkpoint = await openCheckpoint(bytesFiles("folder", GOOD))
    const read = vi.spyOn(checkpoint, "read")
    const readPart = vi.spyOn(checkpoint, "readPart")
    await expect(IsaacModel.load(checkpoint, backend, { memoryLimit: 300_000, maxContext: 128 })).rejects.toMatchObject(
      {
        code: "out_of_memory",
        message: expect.stringMatching(
          /needs \d+ MB: \d+ MB of weights .* for 128 tokens .*but 1 MB are allowed.*smaller maxContext/,
        ),
      },
    )
    expect([...read.mock.calls, ...readPart.mock.calls]).toEqual([])
    expect(backend.memory().used).toBe(0)
  })
})

describe("folders", () => {
  let root: string
  let count = 0
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "isaac-bad-"))
  })
  afterAll(() => rm(root, { recursive: true }))

  async function write(files: Files): Promise<string> {
    const folder = join(root, String(count++))
    await mkdir(folder)
    for (const [file, bytes] of Object.entries(files)) await writeFile(join(folder, file), bytes)
    return folder
  }
  const failure = (folder: string) =>
    loadEngine(folder, { backend: "reference" }).then(
      () => ({ code: "loaded", message: "" }),
      ({ code, message }: { code: string; message: string }) => ({ code, message }),
    )

  it("empty, or a file", async () => {
    expect(await failure(await write({}))).toMatchObject({
      code: "bad_checkpoint",
      message: /no config\.json/ as never,
    })
    const folder = await write(GOOD)
    expect(await failure(join(folder, "config.json"))).toMatchObject({
      code: "not_found",
      message: expect.stringContaining("is not a folder"),
    })
  })

  it.each(["config.json", "model.safetensors", "tokenizer.json"])(
    "%s is a folder, or a link to itself",
    async (file) => {
      const folder = await write(without(GOOD, file))
      await mkdir(join(folder, file))
      expect(await failure(folder)).toMatchObject({
        code: "io",
        message: expect.stringMatching(`${file} is not a file`),
      })
      const looped = await write(without(GOOD, file))
      await symlink(file, join(looped, file))
      expect(await failure(looped)).toMatchObject({
        code: "io",
        message: expect.stringMatching(/cannot open .*ELOOP.*links lead in a circle/),
      })
    },
  )

  it("a link to nothing is a file that is not there", async () => {
    const folder = await write(without(GOOD, "config.json"))
    await symlink("../blobs/gone", join(folder, "config.json"))
    expect(await failure(folder)).toMatchObject({
      code: "bad_checkpoint",
      message: expect.stringMatching(/no config\.json/),
    })
  })

  it.skipIf(process.platform === "win32")("a file that may not be read", async () => {
    const folder = await write(GOOD)
    await chmod(join(folder, "model.safetensors"), 0)
    // The administrator may read everything; so nobody asks.
    const administrator = process.geteuid?.() === 0
    await chmod(root, 0o755)
    if (administrator) process.seteuid?.(65534)
    try {
      expect(await failure(folder)).toMatchObject({
        code: "io",
        message: expect.stringMatching(/cannot open .*model\.safetensors: EACCES.*change its permissions/),
      })
    } finally {
      if (administrator) process.seteuid?.(0)
    }
  })

  it("the command tells in one line, with code 1", async () => {
    const cases: [Files, string, RegExp][] = [
      [
        { ...GOOD, "model.safetensors": GOOD["model.safetensors"].slice(0, 5000) },
        "bad_checkpoint",
        /the file has 5000\. Download it again/,
      ],
      [config({ pixel_shuffle_scale: 3 }), "bad_config", /is 3, but .* is 2/],
      [
        { ...GOOD, "config.json": utf8.encode('{"vision_config": "\u001b[2J\\u001b[31m"}') },
        "bad_checkpoint",
        /not valid JSON/,
      ],
      [config({ hidden_size: "\u001b[2J\nx" }), "bad_config", /hidden_size is "\\u001b\[2J\\nx"/],
      [{}, "bad_checkpoint", /no config\.json/],
    ]
    for (const [files, code, message] of cases) {
      const folder = await write(files)
      for (const command of [
        ["inspect", folder],
        ["ask", "Hello?", "--model", folder, "--backend", "reference"],
      ]) {
        const human = await runCommand(command)
        expect(human).toEqual({ code: 1, out: "", err: expect.stringMatching(/^isaac: [^\p{Cc}]+\n$/u) })
        expect(human.err).toMatch(message)
        expect(human.err).not.toMatch(/ at .*\.[jt]s:\d+/)
        const machine = await runCommand([...command, "--json"])
        expect(machine.code).toBe(1)
        expect(JSON.parse(machine.out)).toEqual({ error: { code, message: expect.stringMatching(message) } })
      }
    }
  })

  it("inspect shows a tensor's name without what it would do to a terminal", async () => {
    const folder = await write(tensors((all) => all.set("\u001b[2J\u202e", { shape: [1], data: Float32Array.of(1) })))
    const { code, out } = await runCommand(["inspect", folder])
    expect(code).toBe(0)
    expect(out).toContain("\\u001b[2J\\u202e")
    expect(out).not.toMatch(/[^\P{Cc}\n]|\u202e/u)
  })

  it("inspect tells what would stop a model from loading", async () => {
    const folder = await write(tensors((all) => all.delete("model.norm.weight")))
    const { code, out } = await runCommand(["inspect", folder, "--json"])
    expect(code).toBe(0)
    expect(JSON.parse(out).warnings).toContainEqual(expect.stringMatching(/cannot be loaded: .*lacks 1 tensors/))
  })
})
