/**
 * The model against its goldens, for any backend: every stage of every case of the two random checkpoints, the tiny
 * trained model's stored answers, and layers of the real size.
 *
 * Tolerances are the reference's own float32 noise (its distance from float64) times a factor; ids, positions, masks
 * and patches are exact. With ISAAC_PRINT_ERRORS set the largest error of each stage is printed.
 */

import { readFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { IsaacModel } from "../src/model"
import type { Backend, StoredType } from "../src/ops/backend"
import { imageToEvent } from "../src/processor"
import { decodeImage } from "../src/processor/decode-image-node"
import { createEvent, type Event, Stream, TensorStream } from "../src/stream"
import { openCheckpoint } from "../src/weights/checkpoint"
import { openFolder } from "../src/weights/files-node"
import { type GoldenTensor, goldenPath, maxAbsDiff, readGolden, readGoldenJson } from "./golden"

/** Max |float32 − float64| of the reference over all tiny cases, by stage. */
const NOISE: Readonly<Record<string, number>> = {
  cos: 1.3e-6,
  sin: 1.3e-6,
  pos_embeds: 5.3e-6,
  vision_embeddings: 1.4e-6,
  vision_layer_0: 3.6e-6,
  vision_layer_1: 5.4e-6,
  vision_post_layernorm: 3.8e-6,
  vision_pixel_shuffle: 3.8e-6,
  vision_projector: 2.3e-6,
  inputs_embeds: 2.3e-6,
  decoder_layer_0: 1.1e-5,
  decoder_layer_1: 1.8e-5,
  decoder_layer_2: 2.1e-5,
  final_norm: 6.8e-6,
  logits: 1.5e-5,
  gen_logits: 1.5e-5,
  loss: 2.2e-6,
}

export interface GoldenOptions {
  /** Times the noise table. Default 5; at most 10. */
  readonly factor?: number
  /** How weights are kept. Default "auto". */
  readonly stored?: StoredType | "auto"
}

interface CaseIndex {
  readonly cases: readonly {
    readonly name: string
    readonly file: string
    readonly streams: readonly (readonly GoldenEvent[])[]
    readonly max_sequence_length: number | null
    readonly slice: readonly [number, number] | null
    readonly generated?: readonly number[]
  }[]
}

type GoldenEvent =
  | { readonly type: "text" | "padding"; readonly tokens: readonly number[] }
  | { readonly type: "image"; readonly image: number }

/** The largest error of each stage so far, in the order in which stages first came. */
class ErrorTable {
  readonly #worst = new Map<string, number>()

  add(stage: string, error: number): void {
    this.#worst.set(stage, Math.max(error, this.#worst.get(stage) ?? 0))
  }

  print(title: string): void {
    if (!process.env.ISAAC_PRINT_ERRORS) return
    const rows = [...this.#worst].map(([stage, error]) => `  ${stage.padEnd(24)} ${error.toExponential(1)}`)
    console.log([title, ...rows].join("\n"))
  }
}

/** Declares the tests of one backend. */
export function modelGoldens(name: string, create: () => Promise<Backend>, options: GoldenOptions = {}): void {
  for (const folder of ["random-tiny", "random-tiny-bf16"]) randomTiny(name, create, folder, options)
  isaacTiny(name, create, options)
}

// ── Random checkpoints ────────────────────────────────────────────────────────────────────────────────────────────

function randomTiny(
  name: string,
  create: () => Promise<Backend>,
  folder: string,
  { factor = 5, stored = "auto" }: GoldenOptions,
): void {
  describe(`${folder} on ${name}`, () => {
    let backend: Backend
    let model: IsaacModel
    const errors = new ErrorTable()

    beforeAll(async () => {
      backend = await create()
      model = await loadModel(goldenPath(folder), backend, stored)
    })
    afterAll(async () => {
      errors.print(`${folder} on ${name} (weights ${stored}): largest error`)
      model.dispose()
      await backend.dispose()
    })

    const within = (stage: string, got: ArrayLike<number>, want: GoldenTensor) => {
      const error = maxAbsDiff(got, want.data)
      errors.add(stage, error)
      expect(error, stage).toBeLessThanOrEqual(factor * NOISE[stage])
    }

    for (const golden of readGoldenJson<CaseIndex>(`${folder}/cases/index.json`).cases) {
      it(`${golden.name}: every stage, the loss${golden.generated ? ", 24 greedy tokens" : ""}`, async () => {
        const want = await readGolden(`${folder}/cases/${golden.file}`)
        const stream = goldenStream(model, golden, want)
        const [batch, tokens] = stream.shape

        // 1. Discrete views are exact (an image's token view is a float sum truncated: one off is allowed).
        const modality = stream.modalityMask()
        expect([...modality]).toEqual([...want.get("modality")!.data])
        expect([...stream.positions()]).toEqual([...want.get("position_ids")!.data])
        const ids = stream.tokenView()
        const goldenIds = want.get("input_ids")!.data
        for (let i = 0; i < ids.length; i++) {
          expect(Math.abs(ids[i] - goldenIds[i])).toBeLessThanOrEqual(modality[i] === 0 ? 1 : 0)
        }

        const images = stream.events.filter(({ type }) => type === "image")
        expect(images.flatMap(({ dimsReal }) => dimsReal.slice(1))).toEqual([...(want.get("token_grids")?.data ?? [])])
        expect(images.flatMap(({ idxRange }) => idxRange)).toEqual([...(want.get("vision_idx_range")?.data ?? [])])

        // 2. Every stage of one forward pass over the whole stream.
        const stages = new Map<string, Promise<Float32Array>>()
        const labels = want.get("labels")!.data as Int32Array
        const { logits, loss, ropeDelta } = model.forward(
          { tensorStream: stream, labels },
          { onStage: (stage, tensor) => stages.set(stage, backend.read(tensor)) },
        )
        expect(logits!.shape).toEqual([batch, tokens, model.config.text.vocabSize])
        backend.free(logits!)
        for (const [stage, tensor] of want) {
          if (stage === "patches") expect(maxAbsDiff(await stages.get(stage)!, tensor.data)).toBe(0)
          else if (stage in NOISE && !["loss", "gen_logits"].includes(stage)) {
            expect(stages.has(stage), `${stage} was reported`).toBe(true)
            within(stage, await stages.get(stage)!, tensor)
          }
        }
        expect([...ropeDelta]).toEqual([...want.get("rope_deltas")!.data])
        within("loss", [await loss!], want.get("loss")!)

        // 3. Greedy generation through the cache.
        if (golden.generated) await greedy(model, stream, want, within)
      })
    }
  })
}

/** 24 greedy tokens, compared until the reference's own choice is a near tie. */
async function greedy(
  model: IsaacModel,
  tensorStream: TensorStream,
  want: ReadonlyMap<string, GoldenTensor>,
  within: (stage: string, got: ArrayLike<number>, want: GoldenTensor) => void,
): Promise<void> {
  const { backend } = model
  const ids = want.get("gen_ids")!.data
  const gaps = want.get("gen_gap")!.data
  const positions = want.get("gen_positions")!.data
  const rows = want.get("gen_logits")!
  const vocabulary = rows.shape[1]
  const cache = model.newCache(tensorStream.shape[1] + ids.length)
  let step = model.forward({ tensorStream, cache, logits: "last" })
  for (let s = 0; s < ids.length; s++) {
    const row = rows.data.slice(s * vocabulary, (s + 1) * vocabulary)
    within("gen_logits", await backend.read(step.logits!), { ...rows, data: row })
    if (gaps[s] < 1e-3) break
    const best = backend.argmax(step.logits!)
    const [id] = await backend.read(best)
    backend.free(best, step.logits!)
    expect(id, `token ${s}`).toBe(ids[s])
    if (s + 1 === ids.length) break
    expect(cache.nextPosition(), `position of token ${s}`).toBe(positions[s])
    step = model.forward({ inputIds: Int32Array.of(id), cache, logits: "last" })
  }
  cache.free()
}

/** The case's stream as the processor makes it: images resized and cut into patches, then truncated and sliced. */
function goldenStream(
  model: IsaacModel,
  golden: CaseIndex["cases"][number],
  tensors: ReadonlyMap<string, GoldenTensor>,
): TensorStream {
  const toEvent = (event: GoldenEvent, time: number): Event => {
    if (event.type !== "image") return createEvent({ type: event.type, time, data: event.tokens })
    const { data, shape } = tensors.get(`image_${event.image}`)!
    return imageToEvent({ height: shape[0], width: shape[1], data: data as Uint8Array }, model.config.vision, time)
  }
  let stream = new TensorStream(golden.streams.map((events) => new Stream(events.map(toEvent), ["text", "image"])))
  const tokens = stream.shape[1]
  if (golden.max_sequence_length !== null && tokens > golden.max_sequence_length) {
    stream = stream.slice(tokens - golden.max_sequence_length, tokens)
  }
  return golden.slice ? stream.slice(...golden.slice) : stream
}

async function loadModel(folder: string, backend: Backend, stored: StoredType | "auto"): Promise<IsaacModel> {
  const checkpoint = await openCheckpoint(await openFolder(folder))
  try {
    return await IsaacModel.load(checkpoint, backend, { stored })
  } finally {
    await checkpoint.close()
  }
}

// ── The trained tiny model ────────────────────────────────────────────────────────────────────────────────────────

interface TinyGoldens {
  readonly goldens: readonly {
    readonly image: string
    readonly patch_grid: readonly [number, number]
    /** -1 stands for an image token. */
    readonly input_ids: readonly number[]
    readonly patches: Summary
    readonly encoder_output: Summary
    readonly vision_tokens: Summary
    readonly first_logits_top10: readonly (readonly [id: number, logit: number])[]
    readonly greedy_ids: readonly number[]
  }[]
}

interface Summary {
  readonly shape: readonly number[]
  readonly mean: number
  readonly std: number
  readonly first8: readonly number[]
  readonly last8?: readonly number[]
}

/** The trained model's activations are up to ten times those of the random ones, and so is their noise. */
const TINY_NOISE = { patches: 0, encoder_output: 4e-6, vision_tokens: 2e-5, first_logits: 1.5e-5 }

function isaacTiny(name: string, create: () => Promise<Backend>, { factor = 5, stored = "auto" }: GoldenOptions): void {
  const folder = fileURLToPath(new URL("../models/isaac-tiny", import.meta.url))

  describe(`isaac-tiny on ${name}`, () => {
    let backend: Backend
    let model: IsaacModel
    let goldens: TinyGoldens["goldens"]
    const errors = new ErrorTable()

    beforeAll(async () => {
      backend = await create()
      model = await loadModel(folder, backend, stored)
      goldens = (JSON.parse(await readFile(`${folder}/samples/goldens.json`, "utf8")) as TinyGoldens).goldens
    })
    afterAll(async () => {
      errors.print(`isaac-tiny on ${name} (weights ${stored}): largest error`)
      model.dispose()
      await backend.dispose()
    })

    const matches = (stage: keyof typeof TINY_NOISE, got: Float32Array, want: Summary) => {
      const tolerance = factor * TINY_NOISE[stage]
      const error = Math.max(
        maxAbsDiff(got.subarray(0, want.first8.length), want.first8),
        want.last8 ? maxAbsDiff(got.subarray(-want.last8.length), want.last8) : 0,
      )
      errors.add(stage, error)
      expect(error, stage).toBeLessThanOrEqual(tolerance)
      expect(got.length).toBe(want.shape.reduce((a, b) => a * b))
      // Stored as float32: the sum's own rounding is the tolerance.
      const mean = got.reduce((a, b) => a + b, 0) / got.length
      const std = Math.sqrt(got.reduce((a, b) => a + (b - mean) ** 2, 0) / got.length)
      expect(Math.abs(mean - want.mean), `${stage} mean`).toBeLessThanOrEqual(1e-5)
      expect(Math.abs(std - want.std) / want.std, `${stage} std`).toBeLessThanOrEqual(1e-4)
    }

    for (const i of [0, 1, 2]) {
      it(`stored example ${i + 1}: patches, vision tokens, first logits, 32 greedy tokens`, async () => {
        const golden = goldens[i]
        // 1. The prompt: ids around one image.
        const file = `${folder}/samples/${golden.image}`
        const image = imageToEvent(await decodeImage(await readFile(file), file), model.config.vision, 1)
        expect(image.dimsReal).toEqual([1, ...golden.patch_grid])
        const before = golden.input_ids.indexOf(-1)
        const after = golden.input_ids.lastIndexOf(-1) + 1
        const text = (ids: readonly number[], time: number) => createEvent({ type: "text", time, data: ids })
        const events = [text(golden.input_ids.slice(0, before), 0), image, text(golden.input_ids.slice(after), 2)]
        const tensorStream = new TensorStream([new Stream(events, ["text", "image"])])
        expect(tensorStream.shape).toEqual([1, golden.input_ids.length])

        // 2. Prefill.
        const stages = new Map<string, Promise<Float32Array>>()
        const cache = model.newCache(golden.input_ids.length + golden.greedy_ids.length)
        let step = model.forward(
          { tensorStream, cache, logits: "last" },
          { onStage: (stage, tensor) => stages.set(stage, backend.read(tensor)) },
        )
        matches("patches", await stages.get("patches")!, golden.patches)
        matches("encoder_output", await stages.get("vision_post_layernorm")!, golden.encoder_output)
        matches("vision_tokens", await stages.get("vision_projector")!, golden.vision_tokens)
        const top = backend.topK(step.logits!, golden.first_logits_top10.length)
        expect([...(await backend.read(top.indices))]).toEqual(golden.first_logits_top10.map(([id]) => id))
        const error = maxAbsDiff(
          await backend.read(top.values),
          golden.first_logits_top10.map(([, logit]) => logit),
        )
        errors.add("first_logits", error)
        // 5e-6 more, since the stored ones have five decimals.
        expect(error).toBeLessThanOrEqual(factor * TINY_NOISE.first_logits + 5e-6)

        // 3. Greedy, past the end token.
        const ids: number[] = []
        while (ids.length < golden.greedy_ids.length) {
          const best = backend.argmax(step.logits!)
          const [id] = await backend.read(best)
          backend.free(best, step.logits!)
          ids.push(id)
          step = model.forward({ inputIds: Int32Array.of(id), cache, logits: "last" })
        }
        expect(ids).toEqual(golden.greedy_ids)
        cache.free()
      })
    }
  })
}
