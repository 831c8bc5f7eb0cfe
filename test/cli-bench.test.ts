/** `isaac bench` on isaac-tiny: the fields it promises, numbers that fit together, and what it refuses. */

import { describe, expect, it } from "vitest"
import type { BenchReport } from "../src/cli/bench"
import { type LoadedBench, loadForBench } from "../src/cli/bench-load"
import { runBench } from "../src/cli/bench-measure"
import { INTERRUPTED } from "../src/cli/terminal"
import { fakeTerminal, runCommand } from "./cli-terminal"

/** The promised fields, in their order. */
const FIELDS = [
  ...["model", "backend", "isa", "dtype", "threads", "load_s", "convert_s", "vision_patches", "vision_ms"],
  ...["prefill_tokens", "prefill_tok_s", "decode_tokens", "decode_tok_s", "peak_rss_bytes"],
]

const small = ["--prompt-tokens", "5", "--new-tokens", "4", "--runs", "1", "--threads", "1"]

async function report(...args: string[]): Promise<BenchReport> {
  const { code, out, err } = await runCommand(["bench", ...small, "--json", ...args])
  expect({ code, err, out }).toEqual({ code: 0, err: "", out: expect.stringMatching(/^\{[^\n]+\}\n$/) })
  return JSON.parse(out) as BenchReport
}

describe.each(["wasm", "reference"])("isaac bench --backend %s", (backend) => {
  it("--json: one line with exactly the promised fields", async () => {
    const found = await report("--backend", backend, "--image", "128x160", "--dtype", "f32")
    expect(Object.keys(found)).toEqual(FIELDS)
    expect(found).toMatchObject({ model: "tiny", backend, dtype: "f32", threads: 1, convert_s: 0 })
    // 128×160 pixels are 8×10 patches of 16×16; four of them make a token.
    expect(found).toMatchObject({ vision_patches: 80, prefill_tokens: 20 + 5, decode_tokens: 3 })
    for (const name of ["load_s", "vision_ms", "prefill_tok_s", "decode_tok_s", "peak_rss_bytes"] as const) {
      expect(found[name], name).toBeGreaterThan(0)
    }
    expect(found.peak_rss_bytes).toBeGreaterThan(20e6)
  })

  it("has null for a picture that is not there, and for steps that were not asked for", async () => {
    const found = await report("--backend", backend, "--new-tokens", "1")
    expect(found).toMatchObject({ vision_patches: null, vision_ms: null, prefill_tokens: 5 })
    expect(found).toMatchObject({ decode_tokens: 0, decode_tok_s: null })
  })

  it("a batch writes what each of its sequences writes alone", async () => {
    const { engine, prompt } = await loadForBench("tiny", {
      backend: backend as "wasm",
      threads: 1,
      promptTokens: 70,
      newTokens: 5,
      image: { height: 128, width: 128 },
    })
    try {
      const { model } = engine
      const together = await runBench(model, { prompt, newTokens: 5, batch: 3 })
      expect(together.ids).toHaveLength(5)
      expect(together.batchIds).toHaveLength(3)
      expect(together.batchIds[0]).toEqual(together.ids)
      // Alone: the model's own forward pass over the whole sequence, without a cache.
      const firsts = together.batchIds.map(([id]) => id)
      expect(new Set(firsts).size).toBe(3)
      for (const ids of together.batchIds) expect(ids).toEqual(await greedy({ engine, prompt }, ids[0], 5))
      expect(together.batchMs).toBeGreaterThan(0)
    } finally {
      await engine.dispose()
    }
  })
})

/** `count` ids from the first one on, each from a pass over everything before it. */
async function greedy(
  { engine: { model }, prompt }: Pick<LoadedBench, "engine" | "prompt">,
  first: number,
  count: number,
): Promise<number[]> {
  const { backend } = model
  const cache = model.newCache(prompt.tokens + count + 64)
  const ids = [first]
  try {
    model.forward({ tensorStream: prompt.stream, cache, logits: "none" })
    while (ids.length < count) {
      // All ids again, in one pass behind the prompt.
      cache.truncate(prompt.tokens)
      const { logits } = model.forward({ inputIds: Int32Array.from(ids), cache, logits: "last" })
      const best = backend.argmax(logits!)
      ids.push((await backend.read(best))[0])
      backend.free(best, logits!)
    }
  } finally {
    cache.free()
  }
  return ids
}

describe("isaac bench", () => {
  it("--batch and --kv-dtype add fields of their own", async () => {
    const found = await report("--backend", "wasm", "--batch", "2", "--kv-dtype", "bf16")
    expect(Object.keys(found)).toEqual([...FIELDS, "kv_dtype", "batch", "batch_decode_tok_s"])
    expect(found).toMatchObject({ kv_dtype: "bf16", batch: 2 })
    expect(found.batch_decode_tok_s).toBeGreaterThan(0)
  })

  it("without --json: a table for people", async () => {
    const { code, out, err } = await runCommand([
      ...["bench", ...small, "--image", "128x128", "--backend", "wasm", "--batch", "2"],
    ])
    expect({ code, err }).toEqual({ code: 0, err: "" })
    expect(out).toMatch(/^runs on {4}wasm \(simd128.*\), 1 thread$/m)
    expect(out).toMatch(/^picture {4}[\d.e+]+ ms for 64 patches$/m)
    expect(out).toMatch(/^prompt {5}[\d.e+]+ tokens\/s, 21 tokens, 16 of the picture$/m)
    expect(out).toMatch(/^answer {5}[\d.e+]+ tokens\/s, 3 steps$/m)
    expect(out).toMatch(/^2 answers {2}[\d.e+]+ tokens\/s, all together$/m)
  })

  it.each([
    [["--image", "640"], "640"],
    [["--image", "0x10"], "0x10"],
    [["--image", "99999x99999"], "60 million"],
    [["--prompt-tokens", "-1"], "whole number"],
    [["--prompt-tokens", "0"], "the prompt would be empty"],
    [["--new-tokens", "0"], "at least 1"],
    [["--runs", "0"], "at least 1"],
    [["--batch", "0"], "at least 1"],
    [["--batch", "257"], "at most 256"],
    [["--batch", "2", "--new-tokens", "1"], "at least 2"],
    [["--kv-dtype", "q9"], "q9"],
    [["--backend", "gpu"], "gpu"],
    [["a-model"], "too many arguments"],
  ])("%s is an error of usage", async (args, message) => {
    const { code, out, err } = await runCommand(["bench", ...args])
    expect({ code, out, err }).toEqual({ code: 2, out: "", err: expect.stringMatching(/^isaac: [^\n]+\n$/) })
    expect(err).toContain(message)
  })

  it("refuses more context than the model has, with the numbers", async () => {
    const { code, out } = await runCommand(["bench", "--prompt-tokens", "999999", "--backend", "reference", "--json"])
    expect(code).toBe(1)
    expect(JSON.parse(out).error.message).toContain("999999")
  })

  it("ends with 130 when it is interrupted", async () => {
    const terminal = fakeTerminal({ tty: true })
    const { err } = terminal
    terminal.err = (text) => {
      err(text)
      if (text.includes("warming up")) terminal.controller.abort(INTERRUPTED)
    }
    const { code, out } = await runCommand(["bench", "--new-tokens", "400", "--backend", "wasm", "--json"], terminal)
    expect(code).toBe(130)
    expect(JSON.parse(out)).toEqual({ error: { code: "aborted", message: "interrupted" } })
  })
})
