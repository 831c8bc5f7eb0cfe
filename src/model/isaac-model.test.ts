import { describe, expect, it } from "vitest"
import { maxAbsDiff } from "../../test/golden"
import { checkpointFiles, ODD_CONFIG, randomNumbers, randomTensors } from "../../test/random-checkpoint"
import type { Backend, StoredType } from "../ops/backend"
import { createReferenceBackend } from "../ops/reference"
import { createEvent, Stream, TensorStream } from "../stream"
import { openCheckpoint } from "../weights/checkpoint"
import type { TensorData } from "../weights/safetensors"
import { parseConfig } from "./config"
import { IsaacModel, type LoadModelOptions } from "./isaac-model"
import { planMemory } from "./memory-plan"
import { packImages } from "./vision-tower"

type Tensors = Map<string, TensorData>

const tensors = randomTensors(ODD_CONFIG)
const EMBEDDING = "model.embed_tokens.weight"

async function load(
  changed: Tensors = tensors,
  {
    config = {},
    backend = createReferenceBackend(),
    ...options
  }: LoadModelOptions & { config?: object; backend?: Backend } = {},
): Promise<IsaacModel> {
  return IsaacModel.load(await openCheckpoint(checkpointFiles({ ...ODD_CONFIG, ...config }, changed)), backend, options)
}

const changed = (changes: Record<string, TensorData | undefined>): Tensors => {
  const out = new Map(tensors)
  for (const [name, tensor] of Object.entries(changes)) {
    if (tensor) out.set(name, tensor)
    else out.delete(name)
  }
  return out
}

const renamed = (rename: (name: string) => string): Tensors =>
  new Map([...tensors].map(([name, tensor]) => [rename(name), tensor]))

/** The same numbers rounded to a 16-bit type. */
const narrowed = (dtype: "BF16" | "F16"): Tensors =>
  new Map(
    [...tensors].map(([name, { shape, data }]) => {
      const bits = new Uint32Array((data as Float32Array).slice().buffer)
      const out = Uint16Array.from(bits, (b) =>
        // Truncated: of halves only normal numbers occur here, the rest becomes zero.
        dtype === "BF16" ? b >>> 16 : half(b),
      )
      return [name, { shape, data: out, dtype }]
    }),
  )

function half(bits: number): number {
  const exponent = ((bits >>> 23) & 255) - 127 + 15
  return exponent <= 0 ? 0 : ((bits >>> 16) & 0x8000) | (exponent << 10) | ((bits >>> 13) & 1023)
}

/** Logits of a fixed prompt with one image. */
async function logitsOf(model: IsaacModel): Promise<Float32Array> {
  const next = randomNumbers(3)
  const patches = Float32Array.from({ length: 18 * 300 }, next)
  const image = createEvent({
    type: "image",
    time: 1,
    data: { values: patches, rows: 18, width: 300 },
    dimsReal: [1, 3, 6],
    dimsVirtual: [1, 1, 2],
  })
  const text = createEvent({ type: "text", time: 0, data: [5, 96, 0, 41] })
  const tensorStream = new TensorStream([new Stream([text, image], ["text", "image"])])
  return model.backend.read(model.forward({ tensorStream }).logits!)
}

describe("loading", () => {
  it("gives the same model under all four naming schemes", async () => {
    const want = await logitsOf(await load())
    const schemes: Record<string, (name: string) => string> = {
      "0.2": (name) =>
        name.startsWith("model.vision") || name.startsWith("lm_head")
          ? name
          : name.replace("model.", "model.text_model."),
      "language_model, lm_head under model": (name) =>
        name.startsWith("lm_head")
          ? `model.${name}`
          : name.startsWith("model.vision")
            ? name
            : name.replace("model.", "model.language_model."),
      "visual, lm_head under text_model": (name) =>
        name
          .replace(/^lm_head/, "model.text_model.lm_head")
          .replace("model.vision_embedding.0.", "model.visual.")
          .replace("model.vision_embedding.1.", "model.multimodal_projector.linear_1.")
          .replace("model.vision_embedding.3.", "model.multimodal_projector.linear_2.")
          .replace("position_embedding.weight", "position_embedding"),
    }
    for (const [scheme, rename] of Object.entries(schemes)) {
      const files = renamed(rename)
      const table = "model.visual.embeddings.position_embedding"
      const square = files.get(table)
      if (square) files.set(table, { ...square, shape: [7, 7, 24] })
      files.set("model.rotary_emb.inv_freq", { shape: [1], data: Float32Array.of(1) })
      expect(maxAbsDiff(await logitsOf(await load(files)), want), scheme).toBe(0)
    }
  })

  it("reports every tensor, in bytes that add up", async () => {
    const seen: string[] = []
    let last = 0
    let total = 0
    await load(tensors, {
      onProgress(progress) {
        expect(progress.loaded).toBeGreaterThan(last)
        last = progress.loaded
        total = progress.total
        seen.push(progress.tensor)
      },
    })
    expect(seen.sort()).toEqual([...tensors.keys()].sort())
    expect(last).toBe(total)
  })

  it("keeps each matrix as the checkpoint has it, F16 and what must be exact as f32", async () => {
    const kept = async (dtype: "F32" | "BF16" | "F16", stored?: StoredType) => {
      const backend = createReferenceBackend()
      const types: string[] = []
      const watched = Object.assign(Object.create(backend) as Backend, {
        createWeight: (...args: Parameters<Backend["createWeight"]>) => {
          types.push(`${args[0]}:${args[1]}`)
          return backend.createWeight(...args)
        },
      })
      const files = dtype === "F32" ? tensors : narrowed(dtype)
      await load(files, { backend: watched, stored })
      const patch = types.filter((type) => type.startsWith("24,300:"))
      return [new Set(types.filter((type) => !type.startsWith("24,300:")).map((type) => type.split(":")[1])), patch]
    }
    expect(await kept("F32")).toEqual([new Set(["f32"]), ["24,300:f32"]])
    expect(await kept("BF16")).toEqual([new Set(["bf16"]), ["24,300:f32"]])
    expect(await kept("F16")).toEqual([new Set(["f32"]), ["24,300:f32"]])
    expect(await kept("F32", "bf16")).toEqual([new Set(["bf16"]), ["24,300:f32"]])
    expect(await kept("BF16", "q8")).toEqual([new Set(["q8"]), ["24,300:f32"]])
  })

  it("computes with 16-bit weights what their values give", async () => {
    const want = await logitsOf(await load())
    for (const [dtype, tolerance] of [
      ["BF16", 0.3],
      ["F16", 0.04],
    ] as const) {
      const error = maxAbsDiff(await logitsOf(await load(narrowed(dtype))), want)
      expect(error).toBeGreaterThan(0)
      expect(error).toBeLessThan(tolerance)
    }
  })

  it("frees everything when the model is disposed of, or when loading fails", async () => {
    const backend = createReferenceBackend()
    const model = await load(tensors, { backend })
    expect(backend.memory().used).toBeGreaterThan(0)
    model.dispose()
    expect(backend.memory().used).toBe(0)
    const controller = new AbortController()
    let count = 0
    const stop = () => {
      if (++count === 5) controller.abort()
    }
    await expect(load(tensors, { backend, signal: controller.signal, onProgress: stop })).rejects.toMatchObject({
      code: "aborted",
    })
    expect(count).toBe(5)
    expect(backend.memory().used).toBe(0)
  })

  it("shares the embedding when lm_head is missing, tied or equal", async () => {
    const bytes = async (files: Tensors, config = {}) => {
      const backend = createReferenceBackend()
      await load(files, { backend, config })
      return backend.memory().used
    }
    const equal = changed({ "lm_head.weight": tensors.get(EMBEDDING) })
    const missing = changed({ "lm_head.weight": undefined })
    const whole = await bytes(tensors)
    expect(await bytes(equal)).toBe(whole - 97 * 40 * 4)
    expect(await bytes(equal, { tie_word_embeddings: true })).toBe(whole - 97 * 40 * 4)
    expect(await bytes(missing, { tie_word_embeddings: true })).toBe(whole - 97 * 40 * 4)
    expect(await bytes(missing, { tie_word_embeddings: undefined })).toBe(whole - 97 * 40 * 4)
    await expect(load(missing)).rejects.toThrow(/lacks 1 tensors: lm_head\.weight/)
    await expect(load(tensors, { config: { tie_word_embeddings: true } })).rejects.toMatchObject({
      code: "bad_config",
      message: expect.stringMatching(/tie_word_embeddings true, but lm_head\.weight differs/),
    })
  })

  it.each([
    ["F32", Number.NaN],
    ["F32", Number.NEGATIVE_INFINITY],
    ["BF16", 0x7f80],
    ["F16", 0xfe00],
  ] as const)("refuses a %s weight that is %s, naming it", async (dtype, value) => {
    const name = "model.layers.1.mlp.up_proj.weight"
    const files = dtype === "F32" ? new Map(tensors) : narrowed(dtype)
    const damaged = files.get(name)!
    const data = damaged.data.slice() as Float32Array
    data[77] = value
    files.set(name, { ...damaged, data })
    await expect(load(files)).rejects.toMatchObject({
      code: "not_finite",
      message: expect.stringContaining(`element 77 of ${name}`),
    })
  })

  it("names what is missing and left over, and shapes that contradict the config", async () => {
    await expect(
      load(
        changed({
          "model.norm.weight": undefined,
          "model.layers.2.mlp.up_proj.weight": tensors.get("model.norm.weight"),
        }),
      ),
    ).rejects.toMatchObject({
      code: "bad_checkpoint",
      message: expect.stringMatching(/lacks 1 tensors: model\.norm\.weight; .* not use: model\.layers\.2\.mlp/),
    })
    await expect(
      load(tensors, {
        config: { vision_patch_size: 12, vision_config: { ...(ODD_CONFIG.vision_config as object), patch_size: 12 } },
      }),
    ).rejects.toMatchObject({
      code: "bad_config",
      message: expect.stringMatching(/patch_embedding\.weight has the shape \[24, 300\].*3·vision_patch_size² = 432/),
    })
    await expect(
      load(changed({ "model.norm.weight": { shape: [40], data: new Int32Array(40) } })),
    ).rejects.toMatchObject({ code: "bad_checkpoint", message: expect.stringContaining("I32") })
  })

  it("refuses what does not fit, before reading any weight", async () => {
    let read = false
    const attempt = load(tensors, { memoryLimit: 1000, onProgress: () => (read = true) })
    await expect(attempt).rejects.toMatchObject({ code: "out_of_memory" })
    expect(read).toBe(false)
  })

  it("takes the backend's own limit, for the context that was asked for and no more than the model has", async () => {
    const backend = createReferenceBackend()
    const config = parseConfig(ODD_CONFIG)
    const context = config.maxSequenceLength
    const [stored, kvStored] = ["f32", "f32"] as const
    const memoryLimit = planMemory(config, { stored, maxContext: context }).total
    const limited = (bytes: number): Backend =>
      new Proxy(backend, {
        get: (target, key) =>
          key === "info" ? { ...target.info, memoryLimit: bytes } : Reflect.get(target, key)?.bind(target),
      })
    await expect(load(tensors, { stored, kvStored, backend: limited(memoryLimit - 1) })).rejects.toMatchObject({
      code: "out_of_memory",
    })
    await expect(
      load(tensors, { stored, kvStored, backend: limited(memoryLimit), maxContext: 10 * context }),
    ).resolves.toBeInstanceOf(IsaacModel)
    await expect(
      load(tensors, { stored, kvStored, backend: limited(memoryLimit - 1), maxContext: 1 }),
    ).resolves.toBeInstanceOf(IsaacModel)
  })

  it("refuses a storage type that the backend does not have", async () => {
    const stored = "q3" as StoredType
    await expect(load(tensors, { stored })).rejects.toMatchObject({ code: "unsupported" })
    // Also where memory is planned first: its size there is no number.
    await expect(load(tensors, { stored, memoryLimit: 2 ** 32 })).rejects.toMatchObject({ code: "unsupported" })
  })
})

describe("forward", async () => {
  const model = await load()
  const { backend } = model
  const ids = Int32Array.of(1, 2, 3, 4)

  it.each([
    ["no input", {}, /one of tensorStream, inputsEmbeds and inputIds/],
    ["no tokens", { inputIds: new Int32Array(0) }, /no tokens/],
    ["ids that do not make the batch", { inputIds: ids, batch: 3 }, /4 ids do not make 3 rows/],
    ["an id outside the vocabulary", { inputIds: Int32Array.of(97) }, /97/],
    ["positions of another length", { inputIds: ids, positionIds: new Int32Array(11) }, /positionIds has 11 .* 12/],
    ["a mask of another length", { inputIds: ids, modality: new Int32Array(3) }, /modality has 3 .* 4/],
    ["labels of another length", { inputIds: ids, labels: new Int32Array(5) }, /labels has 5 .* 4/],
    ["slots of another length", { inputIds: ids, slots: [0, 1] }, /slots has 2 .* 1/],
    [
      "embeddings of another width",
      { inputsEmbeds: backend.upload(new Float32Array(6), [1, 2, 3]) },
      /inputsEmbeds is \[1,2,3\]/,
    ],
    ["ids in a plain list", { inputIds: [1, 2] as unknown as Int32Array }, /inputIds must be an Int32Array/],
    [
      "positions in a plain list",
      { inputIds: ids, positionIds: Array(12).fill(Number.NaN) as unknown as Int32Array },
      /positionIds must be an Int32Array/,
    ],
    ["a choice of logits that there is not", { inputIds: ids, logits: "some" as "all" }, /"some"; all, last and none/],
    ["a stream that is none", { tensorStream: { streams: [] } as unknown as TensorStream }, /must be a TensorStream/],
    [
      "text with more tokens than ids",
      {
        tensorStream: new TensorStream([
          new Stream([createEvent({ type: "text", time: 0, data: [1, 2, 3], dimsVirtual: [2, 2] })], ["text"]),
        ]),
      },
      /one id for each token .* 3 rows of 1 for 4 tokens/,
    ],
  ])("refuses %s", (_, input, message) => {
    let thrown: unknown
    try {
      model.forward(input)
    } catch (error) {
      thrown = error
    }
    expect(thrown).toMatchObject({ code: "bad_input", message: expect.stringMatching(message) })
  })

  it("does not start a stream's positions again in the middle of a cache", () => {
    const cache = model.newCache(16)
    const text = createEvent({ type: "text", time: 0, data: [1, 2] })
    const tensorStream = new TensorStream([new Stream([text], ["text"])])
    model.forward({ tensorStream, cache })
    expect(() => model.forward({ tensorStream, cache })).toThrow(/pass the positionIds/)
    expect(() => model.forward({ tensorStream, cache, positionIds: Int32Array.of(2, 0, 0, 3, 0, 0) })).not.toThrow()
    expect(cache.length()).toBe(4)
  })

  it("takes the processor's output as it is: the stream wins over its token view", async () => {
    const text = createEvent({ type: "text", time: 0, data: [1, 2, 3, 4] })
    const tensorStream = new TensorStream([new Stream([text], ["text"])])
    const both = await backend.read(model.forward({ inputIds: Int32Array.of(9, 9, 9, 9), tensorStream }).logits!)
    const plain = await backend.read(model.forward({ inputIds: ids }).logits!)
    expect(maxAbsDiff(both, plain)).toBe(0)
  })

  it("refuses patches of another size", () => {
    const values = new Float32Array(9 * 48)
    const image = createEvent({
      type: "image",
      time: 0,
      data: { values, rows: 9, width: 48 },
      dimsReal: [1, 3, 3],
      dimsVirtual: [1, 1, 1],
    })
    expect(() => model.encodeImages([image])).toThrow(/needs 2700/)
    expect(() => model.encodeImages([createEvent({ type: "text", time: 0, data: [1] })])).toThrow(/still image/)
  })
})

describe("packing", () => {
  it("spreads images over passes of bounded size, in order", () => {
    const image = (rows: number, columns: number) => ({ rows, columns, values: new Float32Array(0) })
    const sizes = (images: ReturnType<typeof image>[], limit: number) =>
      packImages(images, limit).map((pass) => pass.map(({ rows, columns }) => rows * columns))
    expect(sizes([image(2, 2), image(2, 3), image(1, 2), image(4, 4), image(1, 1)], 10)).toEqual([
      [4, 6],
      [2],
      [16],
      [1],
    ])
    expect(sizes([image(2, 2)], 1)).toEqual([[4]])
  })
})
