/** `isaac trace` over every case of both golden checkpoints: the written file against the stored one. */

import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, relative } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { largestTwo } from "../src/cli/trace-generation"
import { runCommand } from "./cli-terminal"
import { type GoldenTensor, goldenPath, maxAbsDiff, readGolden, readGoldenJson } from "./golden"

/** The reference's own float32 noise (see test/fixtures/golden/README.md), largest over all cases. */
const NOISE: readonly (readonly [name: RegExp, noise: number])[] = [
  [/^(?:cos|sin)$/, 1.3e-6],
  [/^pos_embeds$/, 5.3e-6],
  [/^vision_embeddings$/, 1.4e-6],
  [/^vision_layer_0$/, 3.6e-6],
  [/^vision_layer_1$/, 5.4e-6],
  [/^vision_(?:post_layernorm|pixel_shuffle)$/, 3.8e-6],
  [/^(?:vision_projector|inputs_embeds)$/, 2.3e-6],
  [/^decoder_layer_0$/, 1.1e-5],
  [/^decoder_layer_1$/, 1.8e-5],
  [/^decoder_layer_2$/, 2.1e-5],
  [/^final_norm$/, 6.8e-6],
  [/^(?:logits|gen_logits)$/, 1.5e-5],
  // The difference of two logits.
  [/^gen_gap$/, 3e-5],
  [/^loss$/, 2.2e-6],
]
const FACTOR = 5

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "isaac-trace-"))
})
afterAll(() => rm(folder, { recursive: true }))

async function trace(path: string, model: string, out: string): Promise<void> {
  const {
    code,
    out: printed,
    err,
  } = await runCommand(["trace", path, "--model", model, "--out", out, "--backend", "reference"])
  expect({ code, printed, err }).toEqual({ code: 0, printed: "", err: expect.stringContaining(out) })
}

for (const checkpoint of ["random-tiny", "random-tiny-bf16"]) {
  describe(`isaac trace: ${checkpoint}`, () => {
    const { cases } = readGoldenJson<{ cases: { name: string; file: string }[] }>(`${checkpoint}/cases/index.json`)

    it.each(cases)("$name", async ({ file }) => {
      const out = join(folder, `${checkpoint}-${file}`)
      await trace(goldenPath(`${checkpoint}/cases/${file}`), goldenPath(checkpoint), out)
      const got = await readGolden(relative(goldenPath(""), out))
      const want = await readGolden(`${checkpoint}/cases/${file}`)
      for (const [name, tensor] of want) compare(name, got.get(name), tensor, want)
      // Beyond the golden's own tensors, only those that the bf16 folder leaves out.
      const extra = [...got.keys()].filter((name) => !want.has(name))
      const left = ["patches", "pos_embeds", "vision_embeddings", "cos", "sin"]
      expect(extra.filter((name) => checkpoint === "random-tiny" || !left.includes(name))).toEqual([])
    })
  })
}

function compare(
  name: string,
  got: GoldenTensor | undefined,
  want: GoldenTensor,
  golden: ReadonlyMap<string, GoldenTensor>,
): void {
  expect({ name, dtype: got?.dtype, shape: got?.shape }).toEqual({ name, dtype: want.dtype, shape: want.shape })
  const noise = NOISE.find(([pattern]) => pattern.test(name))?.[1]
  if (noise !== undefined) {
    expect(maxAbsDiff(got!.data, want.data), name).toBeLessThanOrEqual(FACTOR * noise)
  } else if (name === "input_ids") {
    // At image positions they are float sums cut to whole numbers: one off where the sum is nearly whole.
    const modality = golden.get("modality")!.data
    want.data.forEach((id, i) => {
      expect(Math.abs(got!.data[i] - id), `input_ids[${i}]`).toBeLessThanOrEqual(modality[i] === 0 ? 1 : 0)
    })
  } else if (name === "patch_sums_f64") {
    // Only the order of the additions differs: 768 of them, of numbers up to 1.
    expect(maxAbsDiff(got!.data, want.data), name).toBeLessThanOrEqual(1e-11)
  } else {
    expect(got!.data, name).toEqual(want.data)
  }
}

describe("isaac trace: what it refuses, in one line", () => {
  const refuse = async (path: string, model = goldenPath("random-tiny"), out = join(folder, "out.safetensors")) => {
    const {
      code,
      out: printed,
      err,
    } = await runCommand(["trace", path, "--model", model, "--out", out, "--backend", "reference"])
    expect({ code, printed, err }).toEqual({ code: 1, printed: "", err: expect.stringMatching(/^isaac: [^\n]+\n$/) })
    return err
  }

  it("a case without an index.json, or that its index.json does not list", async () => {
    const alone = join(folder, "text_only.safetensors")
    await copyFile(goldenPath("random-tiny/cases/text_only.safetensors"), alone)
    expect(await refuse(alone)).toContain("index.json")
    await writeFile(join(folder, "index.json"), '{"cases": []}')
    expect(await refuse(alone)).toContain("lists no case")
    await writeFile(join(folder, "index.json"), "{")
    expect(await refuse(alone)).toContain("not valid JSON")
  })

  it("a case that lacks a picture, or whose labels do not fit", async () => {
    const { cases } = JSON.parse(await readFile(goldenPath("random-tiny/cases/index.json"), "utf8"))
    const text = cases.find((c: { name: string }) => c.name === "text_only")
    const alone = join(folder, "text_only.safetensors")
    await writeFile(join(folder, "index.json"), JSON.stringify({ cases: [{ ...text, slice: [0, 5] }] }))
    expect(await refuse(alone)).toContain("23 labels for 1×5 tokens")
    const streams = [[{ type: "image", image: 0 }]]
    await writeFile(join(folder, "index.json"), JSON.stringify({ cases: [{ ...text, streams }] }))
    expect(await refuse(alone)).toContain("no image_0")
  })

  it("a missing case, a missing model, a place that cannot be written", async () => {
    const path = goldenPath("random-tiny/cases/text_only.safetensors")
    expect(await refuse(goldenPath("random-tiny/cases/none.safetensors"))).toContain("none.safetensors")
    expect(await refuse(path, join(folder, "no-model"))).toContain("not a folder")
    expect(await refuse(path, undefined, join(folder, "no", "such", "folder.safetensors"))).toContain("cannot write")
  })
})

describe("largestTwo", () => {
  it("takes the first of equals", () => {
    expect(largestTwo(Float32Array.of(1, 3, 2))).toEqual([1, 2])
    expect(largestTwo(Float32Array.of(5, 5, 5))).toEqual([0, 1])
    expect(largestTwo(Float32Array.of(-1, -3, -2, -1))).toEqual([0, 3])
    expect(largestTwo(Float32Array.of(0, 1, 2))).toEqual([2, 1])
  })
})
