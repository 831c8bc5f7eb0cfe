/** `isaac convert`: what it writes is a model like any other. */

import { mkdtemp, readdir, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { EXIT } from "../src/cli/failure"
import { type Inspection, inspect } from "../src/cli/inspect"
import { loadEngine } from "../src/engine-node"
import { fakeTerminal, runCommand } from "./cli-terminal"

const SAMPLE = fileURLToPath(new URL("../models/isaac-tiny/samples/06-count.png", import.meta.url))
let folder: string
let q8: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "isaac-cli-convert-"))
  q8 = join(folder, "q8")
})
afterAll(() => rm(folder, { recursive: true }))

describe("isaac convert", () => {
  it("writes a folder, shows progress on a terminal, and says what came out", async () => {
    const terminal = fakeTerminal({ tty: true })
    const { code, out } = await runCommand(["convert", "tiny", "--dtype", "q8", "--out", q8], terminal)
    expect({ code, out }).toEqual({
      code: 0,
      out: expect.stringMatching(/^\S+q8: 6\.\d\d MB of weights as q8, from 11\.4 MB\n$/),
    })
    expect(terminal.written.err).toContain("converting to q8 100 %")
    expect(await readdir(q8)).toEqual(expect.arrayContaining(["config.json", "prompt_profile.json", "tokenizer.json"]))
  })

  it("which loads like any other, and is inspected like any other", async () => {
    const found: Inspection = await inspect(q8)
    expect(found.parameters).toBe((await inspect("tiny")).parameters)
    expect(found.warnings).toEqual([expect.stringContaining("converted to q8")])
    const engine = await loadEngine(q8)
    expect(engine.info).toMatchObject({ model: q8, dtype: "q8" })
    for await (const event of engine.ask([SAMPLE], "How many yellow crosses are there?")) {
      if (event.type === "final") expect(event.answer.text).toBe("1")
    }
    await engine.dispose()
    await expect(loadEngine(q8, { dtype: "f32" })).rejects.toMatchObject({ code: "unsupported" })
  })

  it("tells scripts in JSON", async () => {
    const out = join(folder, "bf16")
    const result = await runCommand(["convert", "tiny", "--dtype", "bf16", "--out", out, "--json"])
    expect(JSON.parse(result.out)).toEqual({
      model: "tiny",
      dtype: "bf16",
      out,
      bytes: 11_437_056,
      source_bytes: expect.any(Number),
    })
    const again = await runCommand(["convert", "tiny", "--dtype", "q8", "--out", folder, "--json"])
    expect(JSON.parse(again.out).error).toEqual({ code: "io", message: expect.stringContaining("is not empty") })
  })

  it.each([
    [["--out", "x"], "--dtype"],
    [["--dtype", "q8"], "--out"],
    [["--dtype", "f32", "--out", "x"], "q8, q4, bf16"],
  ])("%j is a usage error", async (flags, named) => {
    const { code, err } = await runCommand(["convert", "tiny", ...flags])
    expect(code).toBe(EXIT.usage)
    expect(err).toContain(named)
  })

  it("to q4 as well, most of whose bytes are isaac-tiny's vision tower in q8", async () => {
    const q4 = join(folder, "q4")
    const { code, out } = await runCommand(["convert", "tiny", "--dtype", "q4", "--out", q4])
    expect({ code, out }).toEqual({
      code: 0,
      out: expect.stringMatching(/^\S+q4: 5\.\d\d MB of weights as q4, from 11\.4 MB\n$/),
    })
    const { warnings, memory } = await inspect(q4)
    expect(warnings).toEqual([expect.stringContaining("converted to q4")])
    expect(memory.q4.weights).toBeLessThan(0.9 * memory.q8.weights)
    const engine = await loadEngine(q4)
    expect(engine.info).toMatchObject({ model: q4, dtype: "q4" })
    for await (const event of engine.ask([SAMPLE], "How many yellow crosses are there?")) {
      if (event.type === "final") expect(event.answer.text).toBe("1")
    }
    await engine.dispose()
  })
})
