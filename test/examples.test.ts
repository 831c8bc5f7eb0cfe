/** Every program of examples/, run as its first lines say, against the built package. */

import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises"
import { join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, expect, it } from "vitest"
import { type BuiltPackage, buildPackage } from "./built-package"

const examples = fileURLToPath(new URL("../examples/", import.meta.url))
const sample = (name: string) => fileURLToPath(new URL(`../models/isaac-tiny/samples/${name}.png`, import.meta.url))

let built: BuiltPackage
beforeAll(async () => {
  built = await buildPackage()
})
afterAll(() => built.remove())

async function run(name: string, ...args: string[]): Promise<string[]> {
  const { process: child, ended } = built.start(join("examples", name), args)
  child.stdin!.end()
  const { code, out, err } = await ended
  expect({ code, err }).toEqual({ code: 0, err: "" })
  return out.trimEnd().split("\n")
}

it("ask.js", async () => {
  expect(await run("ask.js", sample("01-locate-box"), "Where is the orange square?")).toEqual([
    '<point_box mention="orange square"> (805,350) (940,520) </point_box>',
    "orange square: 30×33 pixels at (180, 67)",
  ])
})

it("stream-and-stop.js", async () => {
  const lines = await run("stream-and-stop.js", sample("09-caption"), "Describe the image.", "12")
  expect(lines.at(-1)).toMatch(/^ended by abort after \d+ tokens$/)
  const whole = await run("stream-and-stop.js", sample("09-caption"), "Describe the image.", "100000")
  expect(whole.at(-1)).toMatch(/^ended by stop after \d+ tokens$/)
  expect(whole[0].startsWith(lines[0])).toBe(true)
  expect(whole[0].length).toBeGreaterThan(lines[0].length)
})

it("candidates.js", async () => {
  const answer = '<point_box mention="orange square"> (805,350) (940,520) </point_box>'
  const lines = await run("candidates.js", sample("01-locate-box"), "Where is the orange square?", "3", answer)
  expect(lines).toHaveLength(4)
  for (const line of lines.slice(0, 3)) expect(line).toMatch(/^-\d+\.\d{3} seed \d+ <point_box .*>$/)
  expect(lines[3]).toMatch(/^perplexity 1\.\d+; the least expected token is ".+"$/)
})

it("detect-and-draw.js", async () => {
  const out = join(built.folder, "squares.webp")
  const lines = await run("detect-and-draw.js", sample("12-detect-all"), out, "black cross", "orange cross")
  expect(lines.at(-1)).toBe(`drawn on ${out}`)
  expect(lines.length).toBeGreaterThan(2)
  for (const [i, line] of lines.slice(0, -1).entries()) {
    expect(line).toMatch(new RegExp(`^${i + 1}\\. (black|orange) cross at \\d+,\\d+$`))
  }
  expect((await readFile(out)).subarray(8, 12).toString()).toBe("WEBP")
})

it("one-picture.js", async () => {
  const lines = await run("one-picture.js", sample("09-caption"), "white circles")
  expect(lines[0]).toMatch(/^It shows: A white circle/)
  expect(lines[1]).toMatch(/^white circles: [1-9]$/)
  expect(lines.at(-3)).toMatch(/ at \d+,\d+$/)
  expect(lines.at(-2)).toMatch(/^It reads: /)
  expect(lines.at(-1)).toBe("looked at again 0 times")
})

it("few-shot.js", async () => {
  const file = join(built.folder, "examples.json")
  const boxes = { "orange square": [[180, 67, 213, 101]] }
  await writeFile(file, JSON.stringify([{ image: sample("01-locate-box"), boxes }]))
  const lines = await run("few-shot.js", sample("02-locate-box-several"), file)
  // 42 are the example's.
  expect(lines[0]).toBe("1 examples, 96 tokens of pictures")
  for (const line of lines.slice(1)) expect(line).toMatch(/^.+: \d+ \d+ \d+ \d+$/)
})

it("extract-json.js", async () => {
  const [text, summary] = await run("extract-json.js", sample("09-caption"))
  const { background, shapes } = JSON.parse(text)
  expect(["white", "gray", "black", "other"]).toContain(background)
  expect(shapes.length).toBeLessThanOrEqual(3)
  expect(summary).toBe(`${shapes.length} shapes on ${background}`)
})

it("own-prompt.js", async () => {
  const lines = await run("own-prompt.js", sample("01-locate-box"), "232", "88", "502", "402")
  expect(lines[0]).not.toBe("")
  expect(lines.at(-1)).toMatch(/^\(\d+ tokens asked, (stop|length)\)$/)
})

it("batch-folder.js", async () => {
  const folder = join(built.folder, "pictures")
  await mkdir(folder)
  for (const name of ["01-locate-box", "02-locate-box-several"])
    await copyFile(sample(name), join(folder, `${name}.png`))
  await writeFile(join(folder, "03-broken.jpg"), "no picture")
  const sheet = join(built.folder, "sheet.png")
  const lines = (await run("batch-folder.js", folder, sheet)).map((line) => JSON.parse(line))
  expect(lines.map(({ name }) => name)).toEqual(["01-locate-box.png", "02-locate-box-several.png", "03-broken.jpg"])
  expect(lines[0].found).toContain("orange square")
  expect(lines[2]).toMatchObject({ error: "bad_image" })
  expect((await readFile(sheet)).subarray(1, 4).toString()).toBe("PNG")
})

it("evaluate.js", async () => {
  const file = join(built.folder, "samples.json")
  const image = sample("01-locate-box")
  const samples = [
    { image, question: "Where is the orange square?", box: [800, 350, 950, 525] },
    { image, question: "Where is the orange square?", box: [0, 0, 100, 100] },
  ].map((each) => ({ ...each, image: relative(built.folder, image) }))
  await writeFile(file, JSON.stringify(samples))
  const lines = await run("evaluate.js", file)
  expect(lines[0]).toMatch(/^0\.8\d {2}/)
  expect(lines[1]).toMatch(/^0\.00 {2}/)
  expect(lines[2]).toBe("1 of 2 right (overlap of at least one half)")
})

it("mcp-client.js", async () => {
  const lines = await run("mcp-client.js", sample("01-locate-box"), "Where is the orange square?")
  expect(lines[0]).toBe("tools: question, caption, ocr, detect, list_models")
  expect(lines.slice(-4)).toEqual([
    '<point_box mention="orange square"> (805,350) (940,520) </point_box>',
    "In pixels of the picture, 224×192:",
    "box orange square: (180,67) (211,100)",
    "model: tiny",
  ])
})

it("many-questions.js", async () => {
  const file = join(built.folder, "kept.session")
  const questions = ["Describe the image.", "How many circles are there?", "Is there a red circle?"]
  const lines = await run("many-questions.js", sample("09-caption"), file, ...questions)
  expect(lines).toHaveLength(5)
  for (const [i, question] of questions.entries())
    expect(lines[i]).toMatch(new RegExp(`^${question.replace("?", "\\?")} → .+`))
  expect(Number(/restored with (\d+) tokens computed/.exec(lines[3])![1])).toBeGreaterThan(40)
  expect(lines[4]).toMatch(/^Is there a star\? → .+/)
})

it("parse-tags.js", async () => {
  const file = join(built.folder, "answer.txt")
  const points = "<point> (500,250) </point> <point> (1000,1000) </point>"
  await writeFile(file, `Two cats: <collection mention="cat"> ${points} </collection>`)
  expect(await run("parse-tags.js", file, "640x480")).toEqual([
    '{"type":"point","x":320,"y":120,"mention":"cat","t":null,"image":0}',
    '{"type":"point","x":640,"y":480,"mention":"cat","t":null,"image":0}',
    "without tags: Two cats:",
    "streamed: 2 of 2",
  ])
})

it("stages.js", async () => {
  const lines = await run("stages.js", sample("01-locate-box"), "What color is the circle on the left?")
  // 192×224 pixels are 12×14 patches, of which four make a token.
  const tokens = Number(/^tokens (\d+)/.exec(lines[0])![1])
  expect(tokens).toBeGreaterThan((12 * 14) / 4)
  expect(lines.slice(1, 3)).toEqual([`embeddings [ 1, ${tokens}, 192 ]`, `logits [ 1, ${tokens}, 768 ]`])
  expect(lines[0]).toContain("[ 'image', 'text' ]")
  expect(lines[3]).toMatch(/^continues with ".+"$/)
})

it("stay short, and none is left out here", async () => {
  const files = (await readdir(examples)).filter((file) => file.endsWith(".js"))
  const tested = await readFile(fileURLToPath(import.meta.url), "utf8")
  const listed = await readFile(join(examples, "README.md"), "utf8")
  for (const file of files) {
    expect(tested).toContain(`it("${file}"`)
    expect(listed).toContain(`(${file})`)
    const lines = (await readFile(join(examples, file), "utf8")).trimEnd().split("\n")
    expect(lines.length, file).toBeLessThan(40)
  }
})
