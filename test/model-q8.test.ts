/**
 * The whole model with q8 weights: its laws, how far each stage is from the goldens, that backends agree, and the tiny
 * model's answers.
 */

import { readFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"
import { loadEngine } from "../src/engine-node"
import type { Expect } from "../src/engine-options"
import { IsaacModel } from "../src/model"
import type { Backend } from "../src/ops/backend"
import { createWasmBackend } from "../src/ops/cpu/load-wasm-node"
import { createReferenceBackend } from "../src/ops/reference"
import { imageToEvent } from "../src/processor"
import { createEvent, Stream, TensorStream } from "../src/stream"
import { openCheckpoint } from "../src/weights/checkpoint"
import { openFolder } from "../src/weights/files-node"
import { goldenPath, maxAbsDiff, readGolden, readGoldenJson } from "./golden"
import { modelLaws } from "./model-laws"

const BACKENDS: readonly [name: string, create: () => Promise<Backend>][] = [
  ["reference", async () => createReferenceBackend()],
  ["wasm", () => createWasmBackend()],
]

// The distance from float64 weights is that of 7 bits. Rows are rounded one by one, so laws hold as exactly as with f32.
modelLaws("reference", BACKENDS[0][1], { stored: "q8", exact: 0.15, same: 1e-7 })
modelLaws("wasm", BACKENDS[1][1], { stored: "q8", exact: 0.15 })

/** How far the stages of the random checkpoints turn away: 1 − cosine with the golden; half as much again as measured. */
const TURN: Readonly<Record<string, number>> = {
  vision_layer_0: 4e-4,
  vision_layer_1: 7e-4,
  vision_post_layernorm: 7e-4,
  vision_projector: 1.3e-3,
  decoder_layer_0: 2.6e-3,
  decoder_layer_1: 4e-3,
  decoder_layer_2: 4e-3,
  final_norm: 4.5e-3,
  logits: 5e-3,
}

/** 1 − cosine. */
function turn(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [ab, aa, bb] = [0, 0, 0]
  for (let i = 0; i < a.length; i++) {
    ab += a[i] * b[i]
    aa += a[i] ** 2
    bb += b[i] ** 2
  }
  return 1 - ab / Math.sqrt(aa * bb)
}

/** Every stage of a golden case of one row. */
async function stagesOf(backend: Backend, folder: string, name: string): Promise<Map<string, Float32Array>> {
  const checkpoint = await openCheckpoint(await openFolder(goldenPath(folder)))
  const model = await IsaacModel.load(checkpoint, backend, { stored: "q8" })
  await checkpoint.close()
  const { cases } = readGoldenJson<{ cases: readonly GoldenCase[] }>(`${folder}/cases/index.json`)
  const tensors = await readGolden(`${folder}/cases/${name}.safetensors`)
  const events = cases
    .find((entry) => entry.name === name)!
    .streams[0].map((event, time) => {
      if (event.type !== "image") return createEvent({ type: "text", time, data: event.tokens! })
      const { data, shape } = tensors.get(`image_${event.image}`)!
      return imageToEvent({ height: shape[0], width: shape[1], data: data as Uint8Array }, model.config.vision, time)
    })
  const stages = new Map<string, Promise<Float32Array>>()
  const tensorStream = new TensorStream([new Stream(events, ["text", "image"])])
  const { logits } = model.forward({ tensorStream }, { onStage: (stage, t) => stages.set(stage, backend.read(t)) })
  backend.free(logits!)
  const read = new Map<string, Float32Array>()
  for (const [stage, numbers] of stages) read.set(stage, await numbers)
  model.dispose()
  return read
}

interface GoldenCase {
  readonly name: string
  readonly streams: readonly (readonly {
    readonly type: string
    readonly tokens?: readonly number[]
    readonly image?: number
  }[])[]
}

describe.each(["random-tiny", "random-tiny-bf16"])("%s in q8", (folder) => {
  it("stays near the golden in every stage, on each backend, and backends agree", async () => {
    const want = await readGolden(`${folder}/cases/two_images.safetensors`)
    const [first, second] = await Promise.all(
      BACKENDS.map(async ([, create]) => {
        const backend = await create()
        const stages = await stagesOf(backend, folder, "two_images")
        await backend.dispose()
        return stages
      }),
    )
    for (const [stage, limit] of Object.entries(TURN)) {
      const golden = want.get(stage)?.data
      if (!golden) continue
      const [one, other] = [first.get(stage)!, second.get(stage)!]
      const turns = [turn(one, golden), turn(other, golden), turn(one, other)]
      if (process.env.ISAAC_PRINT_ERRORS) console.log(stage, ...turns.map((t) => t.toExponential(1)))
      expect(turns[0], `${stage} of the reference backend`).toBeLessThan(limit)
      expect(turns[0], `${stage} is rounded at all`).toBeGreaterThan(limit / 10)
      expect(turns[1], `${stage} of wasm`).toBeLessThan(limit)
      // Whole numbers are equal where activations are. Where float32 noise puts one on the other side of a half, it is
      // rounded to another number, and so are some of those that come after: far less than rounding itself moves.
      expect(turns[2], `${stage} of one and the other`).toBeLessThan(limit / 4)
    }
    expect(maxAbsDiff(first.get("vision_layer_0")!, second.get("vision_layer_0")!)).toBeLessThan(1.8e-5)
  })
})

describe("isaac-tiny in q8", () => {
  it("answers at least eight of its twelve samples as in float32, and the others nearly so", async () => {
    const folder = fileURLToPath(new URL("../models/isaac-tiny/samples/", import.meta.url))
    const samples: readonly Sample[] = JSON.parse(await readFile(`${folder}samples.json`, "utf8"))
    const engine = await loadEngine("tiny", { dtype: "q8", backend: "wasm" })
    let equal = 0
    for (const { image, question, hint, answer } of samples) {
      const expected = (hint?.toLowerCase() ?? "text") as Expect
      for await (const event of engine.ask([folder + image], question, { expect: expected })) {
        if (event.type !== "final") continue
        const { text } = event.answer
        if (text === answer) equal++
        // The same words and as many places; only coordinates differ.
        else expect(text.replace(/\d+/g, "0"), image).toBe(answer.replace(/\d+/g, "0"))
      }
    }
    await engine.dispose()
    expect(equal).toBeGreaterThanOrEqual(8)
  })
})

interface Sample {
  readonly image: string
  readonly question: string
  readonly hint: string | null
  readonly answer: string
}
