/**
 * The whole model with keys and values as int8: its laws, how far logits turn, that backends agree, and the tiny model's
 * answers.
 */

import { readFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { loadEngine } from "../src/engine-node"
import type { Expect } from "../src/engine-options"
import { IsaacModel } from "../src/model"
import type { Backend } from "../src/ops/backend"
import { createNativeBackend } from "../src/ops/cpu/load-native-node"
import { createWasmBackend } from "../src/ops/cpu/load-wasm-node"
import { createReferenceBackend } from "../src/ops/reference"
import { openCheckpoint } from "../src/weights/checkpoint"
import { openFolder } from "../src/weights/files-node"
import { goldenPath } from "./golden"
import { modelLaws } from "./model-laws"
import { hasAddon } from "./native-addon"
import { ids, picture, prompt, text } from "./session-rig"

const BACKENDS: readonly [name: string, create: () => Promise<Backend>][] = [
  ["reference", async () => createReferenceBackend()],
  ["wasm", () => createWasmBackend()],
  ...(hasAddon ? [["native", () => createNativeBackend()] as [string, () => Promise<Backend>]] : []),
]

for (const [name, create] of BACKENDS) modelLaws(name, create, { kvStored: "int8", exact: 0.05 })

/** 1 − cosine. */
function turn(a: Float32Array, b: Float32Array): number {
  let [ab, aa, bb] = [0, 0, 0]
  for (let i = 0; i < a.length; i++) {
    ab += a[i] * b[i]
    aa += a[i] ** 2
    bb += b[i] ** 2
  }
  return 1 - ab / Math.sqrt(aa * bb)
}

const tokens = ids(80, 1)
const stream = prompt(text(...tokens.slice(0, 60)), picture(4, 6, 2), text(...tokens.slice(60)))

/** Logits of every token of the prompt, in one pass. */
async function logitsOf(create: () => Promise<Backend>, kvStored: "f32" | "int8"): Promise<Float32Array> {
  const backend = await create()
  const checkpoint = await openCheckpoint(await openFolder(goldenPath("random-tiny")))
  const model = await IsaacModel.load(checkpoint, backend, { kvStored })
  await checkpoint.close()
  expect(model.kvStored).toBe(kvStored)
  const { logits } = model.forward({ tensorStream: stream })
  const numbers = await backend.read(logits!)
  await backend.dispose()
  return numbers
}

describe("keys and values as int8", () => {
  let exact: Float32Array
  let reference: Float32Array
  beforeAll(async () => {
    exact = await logitsOf(BACKENDS[0][1], "f32")
    reference = await logitsOf(BACKENDS[0][1], "int8")
  })

  it.each(BACKENDS)("turn the logits of a small random model by 1e-4 on %s, as on the reference", async (_, create) => {
    const got = await logitsOf(create, "int8")
    const [off, apart] = [turn(got, exact), turn(got, reference)]
    if (process.env.ISAAC_PRINT_ERRORS) console.log(off.toExponential(1), apart.toExponential(1))
    expect(off, "is not rounded at all").toBeGreaterThan(1e-5)
    expect(off).toBeLessThan(2e-4)
    // A number that float32 noise puts on the other side of a half is rounded to another one.
    expect(apart).toBeLessThan(1e-5)
  })
})

describe("isaac-tiny with keys and values as int8", () => {
  let engine: Awaited<ReturnType<typeof loadEngine>>
  beforeAll(async () => {
    engine = await loadEngine("tiny", { kvDtype: "int8" })
  })
  afterAll(() => engine.dispose())

  it("answers at least eleven of its twelve samples letter for letter as in float32", async () => {
    expect(engine.info.kvDtype).toBe("int8")
    const folder = fileURLToPath(new URL("../models/isaac-tiny/samples/", import.meta.url))
    const samples: readonly { image: string; question: string; hint: string | null; answer: string }[] = JSON.parse(
      await readFile(`${folder}samples.json`, "utf8"),
    )
    let same = 0
    for (const { image, question, hint, answer } of samples) {
      for await (const event of engine.ask([folder + image], question, {
        expect: (hint?.toLowerCase() ?? "text") as Expect,
      })) {
        if (event.type === "final" && event.answer.text === answer) same++
      }
    }
    expect(same).toBeGreaterThanOrEqual(11)
  })
})
