/** Guided answers of `isaac ask`, and over a real worker: the built package. */

import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type * as IsaacVlm from "../src/index"
import { type BuiltPackage, buildPackage } from "./built-package"

const picture = fileURLToPath(new URL("../models/isaac-tiny/samples/01-locate-box.png", import.meta.url))
const question = "Where is the orange square?"
const words = '<point_box mention="orange square"> (805,350) (940,520) </point_box>'
const schema = {
  type: "object",
  properties: { shape: { enum: ["circle", "square"] }, count: { type: "integer", minimum: 1, maximum: 9 } },
  required: ["shape", "count"],
  additionalProperties: false,
}

let built: BuiltPackage
let folder: string
beforeAll(async () => {
  built = await buildPackage()
  folder = await mkdtemp(join(tmpdir(), "isaac-guided-"))
  await writeFile(join(folder, "schema.json"), JSON.stringify(schema))
  await writeFile(join(folder, "pattern.json"), JSON.stringify({ type: "string", pattern: "^a" }))
})
afterAll(async () => {
  await built.remove()
  await rm(folder, { recursive: true })
})

describe("isaac ask", () => {
  it("--guided keeps to tags, also when the answer is cut", async () => {
    const { code, out } = await built.isaac(["ask", picture, question, "--expect", "box", "--guided"])
    expect({ code, out }).toEqual({ code: 0, out: `${words}\n` })
    const flags = ["--max-new-tokens", "12", "--guided", "--json"]
    const cut = JSON.parse((await built.isaac(["ask", picture, question, "--expect", "box", ...flags])).out)
    expect(cut.finish_reason).toBe("length")
    expect(cut.text).toBe("")
  })

  it("--schema answers with a document, which --json has as a value too", async () => {
    const flags = ["--schema", join(folder, "schema.json")]
    const { code, out } = await built.isaac(["ask", picture, question, ...flags])
    expect(code).toBe(0)
    expect(JSON.parse(out)).toEqual({ shape: expect.stringMatching(/^(circle|square)$/), count: expect.any(Number) })
    const found = JSON.parse((await built.isaac(["ask", picture, question, ...flags, "--json"])).out)
    expect(JSON.parse(found.text)).toEqual(found.json)
    expect(`${found.text}\n`).toBe(out)
  })

  it.each<[string[], number, RegExp]>([
    [["--schema", "none.json"], 1, /not_found.*none\.json/],
    [["--schema", "pattern.json"], 1, /pattern at #/],
    [["--schema", "schema.json", "--guided"], 2, /give one of them/],
  ])("%j fails and says why", async (flags, code, message) => {
    const paths = flags.map((flag) => (flag.endsWith(".json") ? join(folder, flag) : flag))
    const ended = await built.isaac(["ask", picture, question, ...paths, "--json"])
    expect(ended.code).toBe(code)
    expect(ended.out + ended.err).toMatch(message)
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

  it("carries rules over, and what documents say back", async () => {
    const answer = await isaac.ask([picture], question, { schema })
    expect(answer.json).toEqual(JSON.parse(answer.text))
    const session = isaac.session()
    const boxes = await session.ask([picture], question, { guided: { kinds: ["box"], classes: ["orange square"] } })
    expect(boxes.points).toMatchObject([{ type: "box", mention: "orange square" }])
    const [candidate] = await session.candidates([picture], question, { schema, n: 2 })
    expect(candidate.json).toEqual(JSON.parse(candidate.text))
    await session.dispose()
    const inputs = await isaac.processor({ text: `<image>${question}`, images: [picture] })
    const tokens = isaac.generate(inputs, { guided: true, maxNewTokens: 20 })
    for await (const _ of tokens);
    expect(tokens.report).toMatchObject({ whole: true, forcedTokens: expect.any(Number) })
  })

  it("refuses what no schema can be", async () => {
    const cyclic: Record<string, unknown> = { type: "array" }
    cyclic.items = cyclic
    const wrong: [IsaacVlm.AskOptions, RegExp][] = [
      [{ schema: cyclic }, /holds itself|nested/],
      [{ schema: { enum: [() => 1] } as never }, /no JSON|cannot be sent/],
      [{ schema: { type: "null", maximum: 3n } as never }, /schema/],
      [{ schema: "null" as never }, /must be an object/],
      [{ schema: null as never }, /must be an object/],
      [{ guided: { classes: [] } }, /at least one/],
      [{ guided: { kinds: [7] } as never }, /kinds has 7/],
      [{ guided: "yes" as never }, /guided is "yes"/],
      [{ guided: { text: false }, schema }, /not to both/],
    ]
    for (const [options, message] of wrong) {
      await expect(isaac.ask([picture], question, options)).rejects.toMatchObject({
        code: "bad_input",
        message: expect.stringMatching(message),
      })
    }
    expect((await isaac.ask([picture], question, { expect: "box" })).text).toBe(words)
  })
})
