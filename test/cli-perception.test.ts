/** `isaac caption`, `detect`, `ocr`, `count` and `point` about one picture. */

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import sharp from "sharp"
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest"
import { fakeTerminal, runCommand } from "./cli-terminal"
import { theModel } from "./one-model"

vi.mock("../src/index", async (original) => (await import("./one-model")).oneModel(await original()))

const sample = (name: string) => fileURLToPath(new URL(`../models/isaac-tiny/samples/${name}.png`, import.meta.url))
const squares = sample("02-locate-box-several")

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "isaac-tasks-"))
})
afterAll(() => rm(folder, { recursive: true }))
afterEach(() => vi.restoreAllMocks())

/** What `--json` tells. */
async function json(args: readonly string[]) {
  const { code, out, err } = await runCommand([...args, "--json"])
  expect({ code, err, out }).toEqual({ code: 0, err: "", out: expect.stringMatching(/^[^\n]+\n$/) })
  return JSON.parse(out)
}

const CONTRACT = ["model", "text", "reasoning", "points", "pixels", "usage", "finish_reason", "timings"]

describe("what people read", () => {
  it("caption: the text, as it is written", async () => {
    const terminal = fakeTerminal()
    const pieces: string[] = []
    terminal.onOut = (text) => pieces.push(text)
    const { code, out, err } = await runCommand(["caption", squares], terminal)
    expect({ code, err, out }).toEqual({ code: 0, err: "", out: expect.stringMatching(/^\w[^\n]+\.\n$/) })
    expect(pieces.length).toBeGreaterThan(5)
    const found = await json(["caption", squares])
    expect(Object.keys(found)).toEqual([...CONTRACT, "caption"])
    expect(`${found.caption}\n`).toBe(out)
  })

  it("ocr: the text in the picture", async () => {
    expect(await runCommand(["ocr", sample("10-ocr")])).toEqual({ code: 0, out: "STOP\n", err: "" })
    expect(Object.keys(await json(["ocr", sample("10-ocr")]))).toEqual(CONTRACT)
  })

  it("detect: a line for each thing, in whole pixels, as soon as its tag is closed", async () => {
    const terminal = fakeTerminal()
    const pieces: string[] = []
    terminal.onOut = (text) => pieces.push(text)
    const { code, out, err } = await runCommand(["detect", squares, "--classes", "square"], terminal)
    expect({ code, err }).toEqual({ code: 0, err: "" })
    const { pixels } = await json(["detect", squares, "--classes", "square"])
    expect(pixels.length).toBeGreaterThan(1)
    const lines = (pixels as { mention: string; x1: number; y1: number; x2: number; y2: number }[]).map(
      ({ mention, ...at }) => `${mention}  ${[at.x1, at.y1, at.x2, at.y2].map(Math.round).join(" ")}\n`,
    )
    expect(out).toBe(lines.join(""))
    expect(lines[0]).toMatch(/^square {2}\d+ \d+ \d+ \d+\n$/)
    expect(pieces.length).toBeGreaterThan(1)
  })

  it("point: a line for each point, or what the model says where there is none", async () => {
    const { out } = await runCommand(["point", sample("05-count-point"), "green triangle"])
    expect(out).toMatch(/^(green triangle {2}\d+ \d+\n)+$/)
    const none = await runCommand(["point", sample("03-locate-point"), "purple elephant"])
    expect(none).toEqual({ code: 0, out: expect.stringMatching(/^[^\n<]+\n$/), err: "" })
  })

  it("count: a number", async () => {
    const args = ["count", sample("06-count"), "diamonds"]
    const { code, out } = await runCommand(args)
    expect({ code, out }).toEqual({ code: 0, out: expect.stringMatching(/^\d+\n$/) })
    const found = await json(args)
    expect(Object.keys(found)).toEqual([...CONTRACT, "count"])
    expect(`${found.count}\n`).toBe(out)
  })

  it("what to look for may be called like a folder that is here", async () => {
    const { code, out } = await runCommand(["count", sample("06-count"), "test", "--max-new-tokens", "1", "--json"])
    expect({ code, out }).toEqual({ code: 0, out: expect.stringContaining('"count"') })
  })

  it("progress, where there is a terminal, never inside a line", async () => {
    const { out, err } = await runCommand(["caption", squares], fakeTerminal({ tty: true }))
    expect(err).toContain("looking at the picture")
    expect(err).not.toContain("answering")
    expect(err.endsWith("\r\x1b[K")).toBe(true)
    const boxes = await runCommand(["detect", squares], fakeTerminal({ tty: true }))
    expect(boxes.err).toContain("answering, 2 tokens")
    expect(boxes.out + out).not.toContain("\r")
  })
})

describe("what is asked", () => {
  it.each([
    ["caption", ["--style", "detailed", "--system", "Be brief."], [{ style: "detailed", system: "Be brief." }]],
    ["caption", [], [{ style: "concise" }]],
    ["ocr", ["--format", "markdown", "--hint-role", "user"], [{ format: "markdown", hintRole: "user" }]],
    [
      "detect",
      ["--classes", "cat, two dogs", "--expect", "polygon"],
      [{ classes: ["cat", "two dogs"], expect: "polygon" }],
    ],
    ["detect", ["--reasoning", "--focus"], [{ classes: undefined, reasoning: true, focus: true }]],
    ["detect", ["--classes", "cat", "--guided"], [{ classes: ["cat"], guided: true }]],
    ["point", ["a cat", "--guided", "--expect", "polygon"], ["a cat", { guided: true, expect: "polygon" }]],
    ["caption", ["--guided"], [{ guided: true }]],
    ["count", ["red circles", "--seed", "3", "--temperature", "1"], ["red circles", { seed: 3, temperature: 1 }]],
    ["point", ["--", "-5"], ["-5", {}]],
  ] as const)("%s %j", async (name, flags, [...request]) => {
    const isaac = await theModel()
    const asked = vi.spyOn(isaac, name)
    const limit = ["--max-new-tokens", "1", "--truncate", "left"]
    const { code } = await runCommand([name, ...limit, squares, ...flags])
    expect(code).toBe(0)
    const options = request.pop() as object
    const common = { maxNewTokens: 1, truncate: "left" }
    expect(asked.mock.calls).toEqual([
      [expect.objectContaining({ width: 288 }), ...request, expect.objectContaining({ ...common, ...options })],
    ])
  })

  it("detect --examples: pictures are looked for beside the file", async () => {
    await writeFile(join(folder, "one.png"), await readFile(sample("01-locate-box")))
    const annotations = [{ type: "box", x1: 180, y1: 67, x2: 211, y2: 100, mention: "orange square" }]
    await writeFile(join(folder, "shown.json"), JSON.stringify([{ image: "one.png", annotations }]))
    const args = ["detect", squares, "--examples", join(folder, "shown.json"), "--max-new-tokens", "2"]
    const { usage } = await json(args)
    const alone = await json(["detect", squares, "--max-new-tokens", "2"])
    expect(usage.image_tokens - alone.usage.image_tokens).toBe(42)
  })

  it.each([
    ["no.json", undefined, "not_found", "no.json"],
    ["text.json", "{", "bad_input", "no JSON"],
    ["object.json", "{}", "bad_input", "list"],
    ["blank.json", '[{"annotations":[]}]', "bad_input", "example 1"],
    ["lost.json", '[{"image":"lost.png","annotations":[]}]', "not_found", "lost.png"],
    [
      "corner.json",
      `[{"image":${JSON.stringify(squares)},"annotations":[{"type":"box"}]}]`,
      "bad_input",
      "annotation 1",
    ],
  ])("detect --examples %s is told in one line", async (name, text, code, message) => {
    const file = join(folder, name)
    if (text !== undefined) await writeFile(file, text)
    const ended = await runCommand(["detect", squares, "--examples", file, "--json"])
    expect(ended).toEqual({ code: 1, out: expect.stringMatching(/^[^\n]+\n$/), err: "" })
    expect(JSON.parse(ended.out).error).toEqual({ code, message: expect.stringContaining(message) })
  })
})

it("--draw writes JPEG and WebP, too", async () => {
  for (const [ending, format] of [
    ["jpg", "jpeg"],
    ["webp", "webp"],
  ]) {
    const file = join(folder, `drawn.${ending}`)
    expect(await runCommand(["detect", squares, "--draw", file])).toMatchObject({ code: 0, err: "" })
    expect((await sharp(file).metadata()).format).toBe(format)
  }
})

it("Ctrl-C ends the answer with code 130, what was written stays", async () => {
  const whole = (await runCommand(["caption", squares])).out
  const terminal = fakeTerminal()
  terminal.onOut = () => terminal.interrupt()
  const { code, out, err } = await runCommand(["caption", squares], terminal)
  expect({ code, err }).toEqual({ code: 130, err: "" })
  expect(out).not.toBe(whole)
  expect(whole.startsWith(out.trimEnd())).toBe(true)
})

describe("usage errors", () => {
  it.each([
    [["caption"], "missing required argument"],
    [["count", squares], "name what to count after the picture"],
    [["point", squares, squares], "name what to point at"],
    [["count", squares, " "], "what to count is empty"],
    [["detect", squares, "--classes", "cat,,dog"], "with commas between"],
    [["detect", squares, squares, "--draw", "x.png"], "--draw-dir draws each"],
    [["detect", squares, "--draw", "x.gif"], ".webp"],
    [["caption", squares, "--logprobs", "1"], "--logprobs needs --json"],
    [["caption", squares, "--style", "epic"], "detailed"],
    [["caption", "-", "-"], "standard input (-)"],
  ])("isaac %j", async (args, named) => {
    const { code, out, err } = await runCommand(args)
    expect({ code, out }).toEqual({ code: 2, out: "" })
    expect(err).toMatch(/^isaac: [^\n]+ \(see "isaac help"\)\n$/)
    expect(err).toContain(named)
  })
})
