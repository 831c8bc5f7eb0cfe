/** The lint rules in biome.json are the import table of the design: each line here is one import they must judge. */

import { execFile } from "node:child_process"
import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, it } from "vitest"

const cases: readonly [file: string, imports: string, verdict: "allowed" | "forbidden"][] = [
  ["src/errors.ts", "./stream/event", "forbidden"],
  ["src/stream/a.ts", "../errors", "allowed"],
  ["src/stream/a.ts", "./event", "allowed"],
  ["src/stream/a.ts", "../ops/backend", "forbidden"],
  ["src/stream/a.ts", "node:fs", "forbidden"],
  ["src/processor/a.ts", "../stream", "allowed"],
  ["src/processor/a.ts", "../stream/event", "allowed"],
  ["src/processor/a.ts", "../weights/source", "allowed"],
  ["src/processor/a.ts", "../weights/checkpoint", "forbidden"],
  ["src/processor/a.ts", "../model", "forbidden"],
  ["src/processor/a-node.ts", "node:fs", "allowed"],
  ["src/ops/a.ts", "./reference/matmul", "allowed"],
  ["src/ops/a.ts", "../model/config", "forbidden"],
  ["src/ops/cpu/a.ts", "../../errors", "allowed"],
  ["src/ops/cpu/a.ts", "../backend", "allowed"],
  ["src/ops/cpu/a.ts", "../../weights/source", "forbidden"],
  ["src/weights/a.ts", "../ops/backend", "allowed"],
  ["src/weights/a.ts", "../ops/select", "forbidden"],
  ["src/model/a.ts", "../ops/backend", "allowed"],
  ["src/model/a.ts", "../stream/event", "allowed"],
  ["src/model/a.ts", "../ops/reference", "forbidden"],
  ["src/model/a.ts", "../processor", "forbidden"],
  ["src/synth/a.ts", "../model", "allowed"],
  ["src/synth/a.ts", "../isaac", "forbidden"],
  ["src/generate/a.ts", "../model/config", "allowed"],
  ["src/generate/a.ts", "../perception/tags", "forbidden"],
  ["src/perception/tags.ts", "../errors", "allowed"],
  ["src/perception/tags.ts", "./geometry", "allowed"],
  ["src/perception/tags.ts", "../processor", "forbidden"],
  ["src/perception/tags.ts", "./draw-svg", "forbidden"],
  ["src/perception/draw-svg.ts", "../processor", "allowed"],
  ["src/perception/draw-svg.ts", "../model/config", "forbidden"],
  ["src/evaluate/a.ts", "../perception/parse", "allowed"],
  ["src/evaluate/a.ts", "../processor/rgb-image", "allowed"],
  ["src/evaluate/a.ts", "../perception/draw-svg", "forbidden"],
  ["src/evaluate/a.ts", "../isaac", "forbidden"],
  ["src/worker/a.ts", "../isaac", "allowed"],
  ["src/worker/a.ts", "../engine-web", "allowed"],
  ["src/worker/a.ts", "../model/config", "forbidden"],
  ["src/cli/a.ts", "../internal", "allowed"],
  ["src/cli/a.ts", "node:fs", "allowed"],
  ["src/cli/a.ts", "../ops/select", "forbidden"],
  ["src/cli/a.test.ts", "../ops/select", "allowed"],
]

let folder: string
let found: { file: string; line: number }[]

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "isaac-imports-"))
  await copyFile(fileURLToPath(new URL("../biome.json", import.meta.url)), join(folder, "biome.json"))
  const sources = new Map<string, string>()
  for (const [file, specifier] of cases) {
    sources.set(file, `${sources.get(file) ?? ""}export * from "${specifier}"\n`)
  }
  sources.set("src/model/dom.ts", "export const dom = document.title\n")
  sources.set("src/model/dom-web.ts", "export const dom = document.title\n")
  for (const [file, text] of sources) {
    await mkdir(dirname(join(folder, file)), { recursive: true })
    await writeFile(join(folder, file), text)
  }
  found = await lint(folder)
})
afterAll(() => rm(folder, { recursive: true }))

describe("the import table", () => {
  it.each(cases)("%s importing %s is %s", (file, specifier, verdict) => {
    const line = cases.filter(([f]) => f === file).findIndex(([, s]) => s === specifier) + 1
    const complaints = found.filter((at) => at.file.endsWith(`/${file}`) && at.line === line)
    expect(complaints.length > 0 ? "forbidden" : "allowed").toBe(verdict)
  })

  it("keeps browser globals in files ending -web.ts", () => {
    const dom = found.map((at) => at.file).filter((file) => file.includes("/src/model/dom"))
    expect(dom).toEqual([expect.stringMatching(/dom\.ts$/)])
  })
})

/** Run biome's linter over a folder; where it complains about an import or a global. */
async function lint(cwd: string): Promise<{ file: string; line: number }[]> {
  const biome = fileURLToPath(new URL("../node_modules/@biomejs/biome/bin/biome", import.meta.url))
  const output = await new Promise<string>((resolve) => {
    execFile(
      process.execPath,
      [biome, "lint", "--reporter=github", "--max-diagnostics=none", "."],
      { cwd },
      (_e, out) => resolve(out),
    )
  })
  const rules = /title=lint\/(?:style\/noRestrictedImports|correctness\/noNodejsModules|style\/noRestrictedGlobals)/
  return output
    .split("\n")
    .filter((line) => rules.test(line))
    .map((line) => ({ file: /file=([^,]+)/.exec(line)![1], line: Number(/[ ,]line=(\d+)/.exec(line)![1]) }))
}
