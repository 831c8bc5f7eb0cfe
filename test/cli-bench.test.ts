/** `isaac bench` on isaac-tiny: the fields it promises, numbers that fit together, and what it refuses. */

import { describe, expect, it } from "vitest"
import type { BenchReport } from "../src/cli/bench"
import { type LoadedBench, loadForBench } from "../src/cli/bench-load"
import { runBench } from "../src/cli/bench-measure"
import type { OperationReport, ProfileReport } from "../src/cli/bench-profile"
import { profileText } from "../src/cli/bench-profile-text"
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

describe("isaac bench --profile", () => {
  const named = (operations: readonly OperationReport[], name: string) => {
    const found = operations.filter((operation) => operation.name === name)
    expect(found, name).toHaveLength(1)
    return found[0]
  }

  it.each(["wasm", "reference"])("--json on %s: every operation of every phase", async (backend) => {
    const found = await report("--backend", backend, "--profile", "--image", "128x128", "--batch", "2")
    expect(Object.keys(found)).toEqual([...FIELDS, "batch", "batch_decode_tok_s", "profile"])
    const { limits, phases } = found.profile!
    expect(phases.map(({ phase }) => phase)).toEqual(["vision", "prefill", "decode", "batch"])
    for (const { ms, operations, outside_ms: outside } of phases) {
      const inside = operations.reduce((sum, operation) => sum + operation.ms, 0)
      expect(inside).toBeGreaterThan(0)
      expect(Math.abs(inside + outside - ms)).toBeLessThan(1e-6 * ms)
      for (const { calls, ms: time, share } of operations) {
        expect(calls).toBeGreaterThan(0)
        expect(share).toBeCloseTo(time / ms, 9)
      }
    }

    // isaac-tiny: 64 patches are 16 tokens, with 5 of text; 5 and 4 layers; one row of logits for the prompt.
    const [vision, prefill, decode, batch] = phases.map(({ operations }) => operations)
    expect(named(vision, "q, k, v, out 160→160 bf16")).toMatchObject({ calls: 20, multiply_adds: 20 * 64 * 160 * 160 })
    expect(named(prefill, "gate, up 192→512 bf16")).toMatchObject({ calls: 8, multiply_adds: 8 * 21 * 192 * 512 })
    expect(named(prefill, "lm_head 192→768 bf16")).toMatchObject({ calls: 1, multiply_adds: 192 * 768 })
    const causal = "causal, 6/2 heads of 32, f32"
    expect(named(prefill, causal)).toMatchObject({ calls: 4, multiply_adds: 4 * 2 * ((21 * 22) / 2) * 192 })
    // Three steps, at 22, 23 and 24 tokens.
    expect(named(decode, causal)).toMatchObject({ calls: 12, multiply_adds: 4 * 2 * (22 + 23 + 24) * 192 })
    expect(named(batch, causal)).toMatchObject({ calls: 12, multiply_adds: 2 * 4 * 2 * (22 + 23 + 24) * 192 })
    expect(named(batch, "lm_head 192→768 bf16")).toMatchObject({ calls: 3, multiply_adds: 3 * 2 * 192 * 768 })

    if (backend === "reference") {
      expect(limits).toBeNull()
      expect(named(decode, causal)).toMatchObject({ bound: null, roofline: null })
    } else {
      expect(limits!.f32_gops).toBeGreaterThan(0)
      expect(limits!.read_gb_s).toBeGreaterThan(0)
      expect(named(decode, causal)).toMatchObject({ bound: "memory", roofline: expect.any(Number) })
    }
  })

  const made: ProfileReport = {
    limits: { f32_gops: 400, bf16_gops: null, int8_gops: 1500, read_gb_s: 50, read_bytes: 2 ** 28 },
    phases: [
      {
        phase: "decode",
        ms: 2000,
        operations: [
          {
            ...{ kind: "linear", name: "gate, up 2048→6144 q4", calls: 56, ms: 1000, share: 0.5 },
            ...{ multiply_adds: 5e10, bytes: 2e10, gops: 100, gb_s: 20, bound: "memory", roofline: 0.4 },
          },
          {
            ...{ kind: "norm", name: "rmsNorm 2048", calls: 57, ms: 5, share: 0.0025 },
            ...{ multiply_adds: 1, bytes: 1, gops: 1, gb_s: 1, bound: "memory", roofline: 0.1 },
          },
        ],
        outside_ms: 985,
        roofline: 0.2,
      },
    ],
  }

  it("in words: bars, the small ones together, and how to read it", () => {
    const lines = profileText(made).split("\n")
    expect(lines[0]).toBe("Writing, one sequence: 2.00 s, 20 % of what the machine could do")
    expect(lines.slice(2, 5).map((line) => line.replace(/ {2,}/g, " | "))).toEqual([
      "linear gate, up 2048→6144 q4 | ████████████ | 50 % | 1.00 s | 56 | 100 Gop/s | 20.0 GB/s | 40 % of memory",
      "1 more, below 0.5 % each | 0.3 % | 5.00 ms | 57",
      "outside of operations | ███████████▉ | 49 % | 985 ms",
    ])
    expect(lines.slice(6).join(" ")).toContain(
      "400 Gop/s of f32 multiply-adds, 1500 Gop/s of int8 multiply-adds; reading 50.0 GB/s",
    )
  })

  it("without limits it compares with nothing", () => {
    const { phases } = made
    const operations = phases[0].operations.map((operation) => ({ ...operation, bound: null, roofline: null }))
    const text = profileText({ limits: null, phases: [{ ...phases[0], operations, roofline: null }] })
    expect(text).toMatch(/^Writing, one sequence: 2.00 s\n/)
    expect(text).not.toMatch(/could do|% of (?:memory|arithmetic)/)
  })

  it("without --json it follows the table", async () => {
    const { code, out } = await runCommand(["bench", ...small, "--backend", "reference", "--profile"])
    expect(code).toBe(0)
    expect(out).toMatch(/^memory .*\n\nReading the prompt: [\s\S]+\n\nWriting, one sequence: [\s\S]+\nlinear lm_head /m)
  })
})

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
    expect(out).toMatch(/^picture {4}[\d.]+ m?s for 64 patches$/m)
    expect(out).toMatch(/^prompt {5}[\d.]+ tokens\/s, 21 tokens, 16 of the picture$/m)
    expect(out).toMatch(/^answer {5}[\d.]+ tokens\/s, 3 steps$/m)
    expect(out).toMatch(/^2 answers {2}[\d.]+ tokens\/s, all together$/m)
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
