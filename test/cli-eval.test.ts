/** `isaac eval` on a few drawn scenes, with the built-in model. */

import { existsSync } from "node:fs"
import { appendFile, cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import sharp from "sharp"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest"
import { IsaacError } from "../src/errors"
import { glyphDot } from "../src/perception/label-font"
import { datasetOf, drawScene } from "../tools/scene.mjs"
import { fakeTerminal, runCommand } from "./cli-terminal"
import { theModel } from "./one-model"

vi.mock("../src/index", async (original) => (await import("./one-model")).oneModel(await original()))

const COUNT = 6
let root: string
/** A dataset of its own for each test. */
let folder: string
const at = (name: string) => join(folder, name)
const scenes = () => at("scenes.json")

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "isaac-eval-"))
  const seeds = Array.from({ length: COUNT }, (_, i) => 300_003 + i)
  const drawn = seeds.map((seed) => drawScene(seed, glyphDot))
  const fileOf = (i: number) => `${i + 1}.png`
  for (const [i, { image }] of drawn.entries()) {
    const { width, height, data } = image
    await sharp(data, { raw: { width, height, channels: 3 } })
      .png()
      .toFile(join(root, fileOf(i)))
  }
  await writeFile(join(root, "scenes.json"), JSON.stringify(datasetOf(drawn, seeds, fileOf)))
})
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "isaac-eval-"))
  await cp(root, folder, { recursive: true })
})
afterEach(async () => {
  vi.restoreAllMocks()
  await rm(folder, { recursive: true })
})
afterAll(() => rm(root, { recursive: true }))

/** The report of a command that succeeds. */
async function report(...args: string[]) {
  const { code, out, err } = await runCommand(["eval", scenes(), "--json", ...args])
  expect({ code, err }).toEqual({ code: 0, err: "" })
  expect(out).toMatch(/^[^\n]+\n$/)
  return JSON.parse(out)
}

async function linesOf(
  file: string,
): Promise<{ image: string; answers?: { task: string }[]; error?: { code: string } }[]> {
  return (await readFile(file, "utf8"))
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line))
}

describe("isaac eval", () => {
  it("measures every task, writes a report, and goes on with what is there", async () => {
    const asked = vi.spyOn(await theModel(), "view")
    const first = await runCommand(["eval", scenes(), "--limit", "4", "--out", at("out")])
    expect(first).toMatchObject({
      code: 0,
      err: "",
      out: expect.stringMatching(/^Detection\n {2}mAP.*\n4 pictures\n$/s),
    })
    expect(asked).toHaveBeenCalledTimes(4)

    const { tasks, pictures, model, speed } = await report("--out", at("out"))
    expect(asked).toHaveBeenCalledTimes(COUNT)
    expect({ pictures, model }).toEqual({ pictures: { evaluated: COUNT, failed: 0 }, model: "tiny" })
    expect(Object.keys(tasks)).toEqual(["detect", "point", "count", "vqa", "ocr"])
    expect(tasks.detect).toMatchObject({ ranking: "confidence", unreadable: 0 })
    // It is good at its own kind of picture, and weak at reading.
    expect(tasks.detect.matches.f1).toBeGreaterThan(0.5)
    expect(tasks.detect.coco.ap50).toBeGreaterThan(0.4)
    expect(tasks.point.insideShare).toBeGreaterThan(0.7)
    expect(tasks.count.exact).toBeGreaterThan(0.6)
    expect(tasks.vqa.normalised).toBeGreaterThan(0.6)
    expect(tasks.ocr.normalised.texts).toBeGreaterThan(0)
    expect(speed.questions).toBeGreaterThan(8)

    const lines = await linesOf(at("out/predictions.jsonl"))
    expect(lines.map(({ image }) => image).sort()).toEqual(["1.png", "2.png", "3.png", "4.png", "5.png", "6.png"])
    const written = JSON.parse(await readFile(at("out/report.json"), "utf8"))
    expect(written).toMatchObject({ tasks, pictures })
    expect(written.worst[0]).toMatchObject({ task: expect.any(String), badness: expect.any(Number) })
    for (const { badness } of written.worst) expect(badness).toBeGreaterThan(0)
    expect(await readFile(at("out/report.md"), "utf8")).toContain("![worst answers](worst.png)")
    expect(await sharp(at("out/worst.png")).metadata()).toMatchObject({ format: "png" })

    // The answers alone give the same numbers.
    const again = await report("--predictions", at("out/predictions.jsonl"))
    expect(again).toMatchObject({ tasks, pictures, model: null, speed: null })
    expect(asked).toHaveBeenCalledTimes(COUNT)
  })

  it("after a kill asks for nothing twice, and refuses other settings", async () => {
    const flags = ["--task", "count", "--out", at("out")]
    await report("--limit", "2", ...flags)
    await appendFile(at("out/predictions.jsonl"), '{"image":"3.png","answers":[{"task":"cou')
    const asked = vi.spyOn(await theModel(), "view")
    await report("--limit", "3", ...flags)
    expect(asked).toHaveBeenCalledTimes(1)
    expect((await linesOf(at("out/predictions.jsonl"))).map(({ image }) => image)).toEqual(["1.png", "2.png", "3.png"])
    const other = await runCommand(["eval", scenes(), ...flags, "--temperature", "0.5"])
    expect(other).toMatchObject({ code: 1, out: "", err: expect.stringContaining("temperature 0.5 instead of none") })
  })

  it("a picture that cannot be read is told, left out, tried again, and no reason to stop", async () => {
    const good = await readFile(at("2.png"))
    await writeFile(at("2.png"), "no picture")
    const flags = ["eval", scenes(), "--task", "count", "--limit", "3", "--out", at("out"), "--json"]
    const { code, out, err } = await runCommand(flags)
    expect(code).toBe(1)
    expect(JSON.parse(out).pictures).toEqual({ evaluated: 2, failed: 1 })
    expect(err).toMatch(/^isaac: 2\.png: .*\nisaac: 3 of 3 pictures, 1 of them failed.*\n$/)
    await writeFile(at("2.png"), good)
    const asked = vi.spyOn(await theModel(), "view")
    const { pictures } = await report(...flags.slice(2, -1))
    expect(pictures).toEqual({ evaluated: 3, failed: 0 })
    expect(asked).toHaveBeenCalledTimes(1)
  })

  it.each([
    ["while the model answers", false],
    ["while something waits for the signal", true],
  ])("Ctrl-C keeps what is done: %s", async (_, throws) => {
    const terminal = fakeTerminal()
    const isaac = await theModel()
    const { view } = isaac
    let views = 0
    vi.spyOn(isaac, "view").mockImplementation(function (this: typeof isaac, images) {
      if (++views === 3) {
        terminal.controller.abort("interrupted")
        if (throws) throw new IsaacError("aborted", "reading was aborted")
      }
      return view.call(this, images)
    })
    const { code, out, err } = await runCommand(["eval", scenes(), "--task", "count", "--out", at("out")], terminal)
    expect({ code, out }).toEqual({ code: 130, out: "" })
    expect(err).toMatch(/^isaac: interrupted: 2 of 6 pictures.*run the same command to go on\n$/)
    expect(await linesOf(at("out/predictions.jsonl"))).toHaveLength(2)
    expect(existsSync(at("out/report.md"))).toBe(false)
  })

  it("an engine that is lost costs one picture; lost three times in a row, it ends the run", async () => {
    const isaac = await theModel()
    const { view } = isaac
    let views = 0
    const lost = new IsaacError("worker_lost", "the engine's worker ended")
    const mock = vi.spyOn(isaac, "view").mockImplementation(function (this: typeof isaac, images) {
      if (++views === 2) throw lost
      return view.call(this, images)
    })
    const flags = ["eval", scenes(), "--task", "count", "--out", at("out"), "--json"]
    const once = await runCommand(flags)
    expect(once.code).toBe(1)
    expect(JSON.parse(once.out).pictures).toEqual({ evaluated: 5, failed: 1 })
    mock.mockImplementation(() => {
      throw lost
    })
    await rm(at("out"), { recursive: true })
    const ended = await runCommand(flags)
    expect(ended.code).toBe(1)
    expect(JSON.parse(ended.out)).toMatchObject({ error: { code: "worker_lost" } })
    expect(await linesOf(at("out/predictions.jsonl"))).toHaveLength(2)
  })

  it("--guided and --per-class: every name is one of the dataset's", async () => {
    const flags = ["--task", "detect,point", "--limit", "3"]
    const detect = vi.spyOn((await theModel()).view([]).constructor.prototype, "detect")
    const guided = await report("--guided", ...flags)
    expect(guided.tasks.detect).toMatchObject({ unreadable: 0, names: { none: 0, ambiguous: 0 } })
    const [everything] = detect.mock.calls[0] as [
      { guided: { kinds: string[]; classes: string[] }; classes?: string[] },
    ]
    expect(everything).toMatchObject({ guided: { kinds: ["box"] }, logprobs: true })
    expect(everything.guided.classes).toHaveLength(65)
    expect(everything.classes).toBeUndefined()
    detect.mockClear()
    await report("--guided", "--per-class", "--absent", "0", ...flags)
    const { annotations } = JSON.parse(await readFile(scenes(), "utf8"))
    const wanted = annotations.filter((a: { image_id: number; bbox?: unknown }) => a.bbox && a.image_id <= 3)
    const pairs = new Set(
      wanted.map((a: { image_id: number; category_id: number }) => `${a.image_id} ${a.category_id}`),
    )
    expect(detect).toHaveBeenCalledTimes(pairs.size)
    const [one] = detect.mock.calls[0] as [{ guided: { classes: string[] }; classes: string[] }]
    expect(one.guided.classes).toEqual(one.classes)
  })

  it("evaluates results in COCO's format without pictures or a model", async () => {
    const { annotations } = JSON.parse(await readFile(scenes(), "utf8"))
    const boxes = annotations.filter((a: { bbox?: unknown }) => a.bbox)
    await writeFile(at("perfect.json"), JSON.stringify(boxes.map((a: object) => ({ ...a, score: 1 }))))
    const asked = vi.spyOn(await theModel(), "view")
    const flags = [
      "--task",
      "detect",
      "--predictions",
      at("perfect.json"),
      "--images",
      at("nowhere"),
      "--out",
      at("out"),
    ]
    const { tasks } = await report(...flags)
    // The dataset has more to ask for, the results have boxes.
    expect(Object.keys(tasks)).toEqual(["detect"])
    expect(tasks.detect).toMatchObject({ ranking: "given", coco: { ap: expect.closeTo(1, 9) }, matches: { f1: 1 } })
    expect(asked).not.toHaveBeenCalled()
    expect(existsSync(at("out/worst.png"))).toBe(false)
    expect(await readFile(at("out/report.md"), "utf8")).not.toContain("worst")
  })

  it("shows how far it is on a terminal", async () => {
    const terminal = fakeTerminal({ tty: true })
    const { code, err } = await runCommand(["eval", scenes(), "--task", "ocr"], terminal)
    expect(code).toBe(0)
    expect(err).toMatch(/ 1\/\d.*\/min.* left/)
  })

  it.each<[string, string[], number, string]>([
    ["a file that there is not", ["nowhere.json"], 1, "nowhere.json cannot be read"],
    ["a task that there is not", ["scenes.json", "--task", "dance"], 2, "--task"],
    ["a limit of nothing", ["scenes.json", "--limit", "0"], 2, "--limit"],
    ["no dataset", ["1.png"], 1, "no JSON"],
    ["a task that the dataset is not for", ["boxes.json", "--task", "ocr"], 1, "nothing to evaluate ocr with"],
    ["a damaged dataset", ["damaged.json"], 1, "image 77"],
    ["predictions that there are not", ["scenes.json", "--predictions", "nowhere.jsonl"], 1, "nowhere.jsonl"],
    ["predictions of other questions", ["scenes.json", "--predictions", "other.jsonl"], 1, "other options"],
    ["no predictions", ["scenes.json", "--predictions", "empty.json"], 1, "say what they are to"],
    ["log-probabilities", ["scenes.json", "--logprobs"], 2, "--logprobs"],
  ])("refuses %s", async (_, args, code, message) => {
    const { annotations, ...rest } = JSON.parse(await readFile(scenes(), "utf8"))
    const boxes = annotations.filter((a: { bbox?: unknown }) => a.bbox)
    await writeFile(at("boxes.json"), JSON.stringify({ ...rest, annotations: boxes }))
    await writeFile(at("damaged.json"), JSON.stringify({ ...rest, annotations: [{ ...boxes[0], image_id: 77 }] }))
    const other = { image: "1.png", answers: [{ task: "point", about: "zebra", text: "", pixels: [] }] }
    await writeFile(at("other.jsonl"), JSON.stringify(other))
    await writeFile(at("empty.json"), "[]")
    const paths = args.map((arg) => (/\.(json|jsonl|png)$/.test(arg) ? at(arg) : arg))
    const ended = await runCommand(["eval", ...paths])
    expect(ended).toMatchObject({ code, out: "", err: expect.stringContaining(message) })
    expect(ended.err).toMatch(/^isaac: [^\n]+\n$/)
  })
})
