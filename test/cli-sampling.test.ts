/** Sampling flags of `isaac ask`, `isaac score`, and the same calls over a real worker: the built package. */

import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type * as IsaacVlm from "../src/index"
import { type BuiltPackage, buildPackage } from "./built-package"

const picture = fileURLToPath(new URL("../models/isaac-tiny/samples/01-locate-box.png", import.meta.url))
const question = "Where is the orange square?"
const words = '<point_box mention="orange square"> (805,350) (940,520) </point_box>'
const box = ["ask", picture, question, "--expect", "box"]

let built: BuiltPackage
beforeAll(async () => {
  built = await buildPackage()
})
afterAll(() => built.remove())

/** The one line of a command that succeeds. */
async function json(args: readonly string[]) {
  const { code, out, err } = await built.isaac([...args, "--json"])
  expect({ code, err, out }).toEqual({ code: 0, err: "", out: expect.stringMatching(/^[^\n]+\n$/) })
  return JSON.parse(out)
}

describe("isaac ask", () => {
  it("--stop, --logit-bias and --logprobs: --json tells what they ask for", async () => {
    const flags = ["--stop", "no such text", "--stop", "(940", "--logit-bias", "<think>=0.5", "--logit-bias", "7=-100"]
    const found = await json([...box, ...flags, "--logprobs", "2"])
    const shown = words.slice(0, words.indexOf("(940")).trimEnd()
    expect(found).toMatchObject({ text: shown, finish_reason: "stop", stopped: "(940" })
    expect(Object.keys(found).slice(-3)).toEqual(["timings", "stopped", "logprobs"])
    expect(found.logprobs).toHaveLength(found.usage.completion_tokens)
    const [first] = found.logprobs
    expect(first).toMatchObject({ text: "<think>", bytes: [60, 116, 104, 105, 110, 107, 62] })
    expect(Object.keys(first)).toEqual(["id", "text", "bytes", "logprob", "top"])
    expect(first.top).toHaveLength(2)
    expect(first.top[0]).toEqual({ id: first.id, text: first.text, bytes: first.bytes, logprob: first.logprob })
  })

  it("penalties are felt, and off they are not", async () => {
    const flags = ["ask", "Tell me.", "--max-new-tokens", "16", "--temperature", "0.7", "--seed", "4"]
    const text = async (...more: string[]) => (await json([...flags, ...more])).text
    const plain = await text()
    expect(await text("--repetition-penalty", "1", "--frequency-penalty", "0", "--min-p", "0")).toBe(plain)
    expect(await text("--repetition-penalty", "9", "--frequency-penalty", "2", "--presence-penalty", "2")).not.toBe(
      plain,
    )
  })

  it("--n: one line of JSON, or each answer under its score", async () => {
    const flags = ["ask", "Tell me.", "--n", "3", "--seed", "2", "--max-new-tokens", "8"]
    const found = await json(flags)
    expect(Object.keys(found)).toEqual(["model", "candidates", "timings"])
    expect(found.candidates).toHaveLength(3)
    const fields = ["text", "reasoning", "points", "pixels", "usage", "finish_reason", "score", "sample", "seed"]
    for (const candidate of found.candidates) expect(Object.keys(candidate)).toEqual(fields)
    const scores = found.candidates.map(({ score }: { score: number }) => score)
    expect(scores).toEqual([...scores].sort((a, b) => b - a))
    const { out } = await built.isaac(flags)
    const [{ score, seed, text }] = found.candidates
    expect(out.startsWith(`# 1: score ${score.toFixed(4)}, seed ${seed}\n${text}\n\n# 2: `)).toBe(true)
  })
})

describe("isaac score", () => {
  it("tells loss, perplexity and tokens", async () => {
    const args = ["score", picture, question, words, "--expect", "box"]
    const found = await json(args)
    expect(Object.keys(found)).toEqual(["model", "loss", "perplexity", "tokens", "usage"])
    const total = found.tokens.reduce((sum: number, { logprob }: { logprob: number }) => sum + logprob, 0)
    expect(found.loss).toBeCloseTo(-total / found.tokens.length, 10)
    expect(found.tokens.map(({ text }: { text: string }) => text).join("")).toBe(words)
    const { code, out, err } = await built.isaac(args)
    expect({ code, err }).toEqual({ code: 0, err: "" })
    const lines = out.trimEnd().split("\n")
    expect(lines).toHaveLength(found.tokens.length + 1)
    expect(lines.at(-1)).toBe(
      `loss ${found.loss.toFixed(4)}, perplexity ${found.perplexity.toFixed(4)}, ${found.tokens.length} tokens`,
    )
  })
})

describe.each([true, false])("Isaac, worker: %j", (worker) => {
  let isaac: IsaacVlm.Isaac
  beforeAll(async () => {
    const vlm: typeof IsaacVlm = await import(
      /* @vite-ignore */ pathToFileURL(join(built.folder, "dist", "index.js")).href
    )
    isaac = await vlm.Isaac.load("tiny", { worker, maxContext: 1024 })
  })
  afterAll(() => isaac.dispose())

  it("carries candidates, scores, biases and alternatives over", async () => {
    const options = { expect: "box", stop: [")"], logprobs: 2, seed: 1 } as const
    const logitBias = new Map<number | string, number>([["!", -100]]).set(3, 0.5)
    const candidates = await isaac.candidates([picture], question, { ...options, logitBias, n: 2 })
    expect(candidates.map(({ sample }) => sample).sort()).toEqual([0, 1])
    const [{ logprobs, score }] = candidates
    expect(logprobs![0].bytes).toBeInstanceOf(Uint8Array)
    expect(logprobs![0].top).toHaveLength(2)
    expect(score).toBeLessThan(0)
    const ids = logprobs!.map(({ id }) => id)
    const { loss } = await isaac.score([picture], question, ids, { expect: "box" })
    expect(loss).toBeCloseTo(-score, 3)
    const session = isaac.session()
    expect(await session.candidates([picture], question, { ...options, n: 1 })).toHaveLength(1)
    expect((await session.score([picture], question, words, { expect: "box" })).tokens.length).toBeGreaterThan(5)
    await session.dispose()
    const answer = await isaac.ask([picture], question, options)
    expect(answer.stopped).toBe(")")
    expect(answer.logprobs).toHaveLength(answer.usage.completion_tokens)
  })

  it("refuses wrong arguments and ends with an abort", async () => {
    const { candidates, score } = { candidates: isaac.candidates.bind(isaac), score: isaac.score.bind(isaac) }
    const wrong: [() => Promise<unknown>, RegExp][] = [
      [() => candidates([], question, undefined as never), /n is undefined/],
      [() => candidates([], question, 3 as never), /candidates takes an object of options/],
      [() => candidates(5 as never, question, { n: 2 }), /the image must be the bytes/],
      [() => candidates([], question, { n: 2, stop: 5 as never }), /stop has 5/],
      [() => score([], question, ""), /no answer to score/],
      [() => score([], question, {} as never), /the answer is a object/],
      [() => score([], 5 as never, "a"), /the question is 5; it must be a string/],
    ]
    for (const [call, message] of wrong) {
      await expect(call()).rejects.toMatchObject({ code: "bad_input", message: expect.stringMatching(message) })
    }
    const controller = new AbortController()
    const logitBias = { "<|im_end|>": -100 }
    const running = candidates([], question, { n: 4, maxNewTokens: 900, logitBias, signal: controller.signal })
    setTimeout(() => controller.abort(), 50)
    await expect(running).rejects.toMatchObject({ code: "aborted" })
    expect((await isaac.memory()).sessions.open).toBe(0)
  })
})
