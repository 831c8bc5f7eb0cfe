/** Every program of examples/, run as its first lines say, against the built package. */

import { readdir, readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
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

it("boxes-to-svg.js", async () => {
  const out = join(built.folder, "squares.svg")
  expect(await run("boxes-to-svg.js", sample("02-locate-box-several"), "Find all squares.", out)).toEqual([
    expect.stringMatching(/squares\.svg: [1-9] boxes$/),
  ])
  expect(await readFile(out, "utf8")).toContain("<polygon")
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
  for (const file of files) {
    expect(tested).toContain(`it("${file}"`)
    const lines = (await readFile(join(examples, file), "utf8")).trimEnd().split("\n")
    expect(lines.length, file).toBeLessThan(40)
  }
})
