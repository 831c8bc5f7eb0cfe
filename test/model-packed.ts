/**
 * The whole model with packed weights: its laws, how far each stage is from the goldens, that backends agree, and the
 * tiny model's answers.
 */

import { readFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"
import { loadEngine } from "../src/engine-node"
import type { Expect } from "../src/engine-options"
import { IsaacModel } from "../src/model"
import type { Backend, PackedType } from "../src/ops/backend"
import { createNativeBackend } from "../src/ops/cpu/load-native-node"
import { createWasmBackend } from "../src/ops/cpu/load-wasm-node"
import { createReferenceBackend } from "../src/ops/reference"
import { imageToEvent } from "../src/processor"
import { createEvent, Stream, TensorStream } from "../src/stream"
import { openCheckpoint } from "../src/weights/checkpoint"
import { openFolder } from "../src/weights/files-node"
import { goldenPath, maxAbsDiff, readGolden, readGoldenJson } from "./golden"
import { modelLaws } from "./model-laws"
import { hasAddon } from "./native-addon"

const BACKENDS: readonly [name: string, create: () => Promise<Backend>][] = [
  ["reference", async () => createReferenceBackend()],
  ["wasm", () => createWasmBackend()],
  ...(hasAddon ? [["native", () => createNativeBackend()] as [string, () => Promise<Backend>]] : []),
]

export interface PackedModelLimits {
  /** Largest difference of the laws' logits from float64 weights: that of the bits. */
  readonly exact: number
  /** How far the stages of the random checkpoints turn away: 1 − cosine with the golden; half as much again as measured. */
  readonly turn: Readonly<Record<string, number>>
  /**
   * Of isaac-tiny's twelve samples: how many answers at least are letter for letter those of float32; how many have at
   * least the same words and as many places; and how far those places may move, in thousandths of the picture.
   */
  readonly answers: { readonly same: number; readonly alike: number; readonly moved: number }
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
async function stagesOf(
  backend: Backend,
  folder: string,
  name: string,
  stored: PackedType,
): Promise<Map<string, Float32Array>> {
  const checkpoint = await openCheckpoint(await openFolder(goldenPath(folder)))
  const model = await IsaacModel.load(checkpoint, backend, { stored })
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

/** Declares the tests of one type. */
export function packedModelTests(stored: PackedType, { exact, turn: limits, answers }: PackedModelLimits): void {
  // Rows are rounded one by one, so laws hold as exactly as with f32.
  modelLaws("reference", BACKENDS[0][1], { stored, exact, same: 1e-7 })
  modelLaws("wasm", BACKENDS[1][1], { stored, exact })

  describe.each(["random-tiny", "random-tiny-bf16"])(`%s in ${stored}`, (folder) => {
    it("stays near the golden in every stage, on each backend, and backends agree", async () => {
      const want = await readGolden(`${folder}/cases/two_images.safetensors`)
      const [first, second] = await Promise.all(
        BACKENDS.map(async ([, create]) => {
          const backend = await create()
          const stages = await stagesOf(backend, folder, "two_images", stored)
          await backend.dispose()
          return stages
        }),
      )
      for (const [stage, limit] of Object.entries(limits)) {
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

  describe(`isaac-tiny in ${stored}`, () => {
    it(`answers ${answers.same} of its twelve samples as in float32, and most others nearly so`, async () => {
      const folder = fileURLToPath(new URL("../models/isaac-tiny/samples/", import.meta.url))
      const samples: readonly Sample[] = JSON.parse(await readFile(`${folder}samples.json`, "utf8"))
      const engine = await loadEngine("tiny", { dtype: stored, backend: "wasm" })
      let [same, alike] = [0, 0]
      for (const { image, question, hint, answer } of samples) {
        const expected = (hint?.toLowerCase() ?? "text") as Expect
        for await (const event of engine.ask([folder + image], question, { expect: expected })) {
          if (event.type !== "final") continue
          const { text } = event.answer
          if (text === answer) same++
          if (text.replace(/\d+/g, "0") !== answer.replace(/\d+/g, "0")) continue
          alike++
          const [got, want] = [text, answer].map((t) => Array.from(t.matchAll(/\d+/g), Number))
          expect(maxAbsDiff(got, want), `${image}: ${text}`).toBeLessThanOrEqual(answers.moved)
        }
      }
      await engine.dispose()
      expect(same).toBeGreaterThanOrEqual(answers.same)
      expect(alike).toBeGreaterThanOrEqual(answers.alike)
    })
  })
}

interface Sample {
  readonly image: string
  readonly question: string
  readonly hint: string | null
  readonly answer: string
}
