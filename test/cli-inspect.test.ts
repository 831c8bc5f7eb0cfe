/** `isaac inspect` over the built-in model, the golden checkpoint and changed copies of it. */

import { mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type Inspection, inspect } from "../src/cli/inspect"
import { runCommand } from "./cli-terminal"
import { goldenPath } from "./golden"

const TINY = fileURLToPath(new URL("../models/isaac-tiny", import.meta.url))
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "isaac-inspect-"))
})
afterAll(() => rm(folder, { recursive: true }))

/** The golden checkpoint with a changed config. */
async function changed(name: string, change: Record<string, unknown>): Promise<string> {
  const source = goldenPath("random-tiny")
  const copy = await mkdtemp(join(folder, `${name}-`))
  for (const file of ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]) {
    await symlink(join(source, file), join(copy, file))
  }
  await symlink(join(source, "model.safetensors.index.json"), join(copy, "model.safetensors.index.json"))
  const config = JSON.parse(await readFile(join(source, "config.json"), "utf8"))
  await writeFile(join(copy, "config.json"), JSON.stringify({ ...config, ...change }))
  return copy
}

describe("isaac inspect", () => {
  it("knows the built-in model", async () => {
    const { code, out } = await runCommand(["inspect", "tiny", "--json"])
    expect(code).toBe(0)
    expect(out).toMatch(/^[^\n]+\n$/)
    const found = JSON.parse(out) as Inspection
    expect(found.config.text).toMatchObject({ hiddenSize: 192, layers: 4, heads: 6, kvHeads: 2, headDim: 32 })
    expect(found.config.vision).toMatchObject({ hiddenSize: 160, layers: 5, heads: 5, patchSize: 16, pixelShuffle: 2 })
    // Stored as bf16, two bytes each, in a file of 11.4 MB.
    expect(found.tensors.every(({ dtype }) => dtype === "BF16")).toBe(true)
    expect(found.parameters * 2).toBe(found.tensors.reduce((sum, { bytes }) => sum + bytes, 0))
    expect(found.parameters / 1e6).toBeCloseTo(5.7, 1)
    const { f32, bf16, q8, q4 } = found.memory
    expect(f32.weights).toBe(found.parameters * 4)
    expect(bf16.weights / found.parameters).toBeCloseTo(2, 0)
    expect(q8.weights / bf16.weights).toBeLessThan(0.6)
    // The vision tower stays q8, and is a large part of a model this small.
    expect(q4.weights / q8.weights).toBeLessThan(0.9)
    // Keys and values, of 4 layers with 2 heads of 32 numbers of 4 bytes.
    expect(bf16.kv / found.context).toBe(2 * 4 * 2 * 32 * 4)
    expect(bf16.total).toBe(bf16.weights + bf16.kv + bf16.activations)
    expect(found.warnings).toEqual([])
  })

  it("says the same for people", async () => {
    const { code, out } = await runCommand(["inspect", TINY])
    expect(code).toBe(0)
    expect(out).toContain("4 layers, width 192, mlp 512, 6 heads and 2 key/value heads of 32")
    expect(out).toContain("64..256 patches of 16×16, 16..64 tokens")
    expect(out).toMatch(/model\.embed_tokens\.weight +BF16 +\[768, 192\] +294,912/)
  })

  it("reads shards and lists every stored tensor once", async () => {
    const found = await inspect(goldenPath("random-tiny"))
    const index = JSON.parse(await readFile(goldenPath("random-tiny/model.safetensors.index.json"), "utf8"))
    expect(found.tensors.map(({ storedName }) => storedName).sort()).toEqual(Object.keys(index.weight_map).sort())
    expect(new Set(found.tensors.map(({ file }) => file)).size).toBe(2)
    expect(found.warnings).toEqual([])
  })

  it("reports an interleaved MRoPE and a tied head", async () => {
    const rope = { rope_type: "default", mrope_section: null, mrope_interleaved: true }
    const found = await inspect(await changed("rope", { rope_scaling: rope, tie_word_embeddings: true }))
    expect(found.warnings).toEqual([
      expect.stringContaining("mrope_interleaved"),
      expect.stringMatching(/ties lm_head.*stored too/),
    ])
  })

  it("points at the licence of a checkpoint with the published shape", async () => {
    const config = JSON.parse(await readFile(goldenPath("random-tiny/config.json"), "utf8"))
    const vision = { ...config.vision_config, hidden_size: 1152, num_hidden_layers: 27, num_attention_heads: 16 }
    const found = await inspect(await changed("published", { vision_config: vision, num_hidden_layers: 28 }))
    expect(found.warnings).toContainEqual(expect.stringContaining("non-commercial"))
    expect(found.warnings).toContainEqual(expect.stringMatching(/cannot be loaded: .*lacks/))
  })

  it.each([
    ["no such folder", "no-such-folder", "not_found", "not a folder"],
    ["a folder that is no checkpoint", "test", "bad_checkpoint", "config.json"],
    ["a file", "package.json", "not_found", "not a folder"],
  ])("%s: one line, code 1", async (_name, model, code, message) => {
    const human = await runCommand(["inspect", model])
    expect(human).toEqual({ code: 1, out: "", err: expect.stringMatching(/^isaac: [^\n]+\n$/) })
    expect(human.err).toContain(message)
    const json = await runCommand(["inspect", model, "--json"])
    expect(JSON.parse(json.out).error).toEqual({ code, message: expect.stringContaining(message) })
  })
})
