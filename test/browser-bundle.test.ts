/** The bundle for browsers holds nothing of Node: no module, no package, no global, no code made from text. */

import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join, resolve } from "node:path"
import { gzipSync } from "node:zlib"
import ts from "typescript"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { buildBrowser } from "../tools/build-browser.mjs"

/** What exists in Node only, or makes code from text. Minified code has short names of its own: these are the globals. */
const FORBIDDEN = new Set([
  ...["process", "Buffer", "global", "require", "__dirname", "__filename", "setImmediate", "clearImmediate"],
  ...["eval", "Function"],
])

let folder: string
let files: Map<string, string>

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "isaac-bundle-"))
  await buildBrowser(join(folder, "whole"))
  files = await scripts(join(folder, "whole"))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function scripts(out: string): Promise<Map<string, string>> {
  const names = (await readdir(out)).filter((name) => name.endsWith(".js"))
  return new Map(await Promise.all(names.map(async (name) => [name, await readFile(join(out, name), "utf8")] as const)))
}

interface Found {
  /** Specifiers of static and dynamic imports, and of `new URL("…", import.meta.url)`. */
  readonly imports: string[]
  readonly urls: string[]
  /** Forbidden globals that are used without asking first whether they exist. */
  readonly globals: string[]
}

function look(name: string, text: string): Found {
  const found: Found = { imports: [], urls: [], globals: [] }
  const visit = (node: ts.Node): void => {
    if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier) {
      found.imports.push((node.moduleSpecifier as ts.StringLiteral).text)
    }
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const [specifier] = node.arguments
      found.imports.push(ts.isStringLiteralLike(specifier) ? specifier.text : specifier.getText())
    }
    if (ts.isNewExpression(node) && node.expression.getText() === "URL" && node.arguments?.length === 2) {
      const [url, base] = node.arguments
      if (base.getText() === "import.meta.url" && ts.isStringLiteralLike(url)) found.urls.push(url.text)
    }
    if (ts.isIdentifier(node) && FORBIDDEN.has(node.text) && isReference(node) && !isGuarded(node)) {
      found.globals.push(node.text)
    }
    node.forEachChild(visit)
  }
  visit(ts.createSourceFile(name, text, ts.ScriptTarget.ESNext, true, ts.ScriptKind.JS))
  return found
}

/** Not the name of a property or method. */
function isReference(node: ts.Identifier): boolean {
  const { parent } = node
  if (ts.isPropertyAccessExpression(parent)) return parent.expression === node
  if (ts.isPropertyAssignment(parent)) return parent.initializer === node
  return !(ts.isMethodDeclaration(parent) || ts.isPropertyDeclaration(parent) || ts.isBindingElement(parent))
}

/** `typeof x`, or below a condition that asks for it. */
function isGuarded(node: ts.Identifier): boolean {
  if (ts.isTypeOfExpression(node.parent)) return true
  for (let at: ts.Node = node; at.parent; at = at.parent) {
    const { parent } = at
    const condition = ts.isConditionalExpression(parent)
      ? parent.condition
      : ts.isIfStatement(parent)
        ? parent.expression
        : ts.isBinaryExpression(parent)
          ? parent.left
          : undefined
    if (condition && condition !== at && condition.getText().includes(`typeof ${node.text}`)) return true
  }
  return false
}

describe("the browser bundle", () => {
  it("imports nothing but its own files, and names none that is not there", async () => {
    const out = join(folder, "whole")
    for (const [name, text] of files) {
      const { imports, urls } = look(name, text)
      for (const specifier of [...imports, ...urls]) {
        expect(specifier, name).toMatch(/^\.\//)
        expect((await stat(resolve(dirname(join(out, name)), specifier))).isFile(), specifier).toBe(true)
      }
    }
    expect(look("isaac.js", files.get("isaac.js")!).urls).toEqual(["./engine-worker-web.js"])
    expect(look("w", files.get("engine-worker-web.js")!).urls.sort()).toEqual([
      "./kernels-relaxed-simd.wasm",
      "./kernels-simd128.wasm",
      "./pool-thread-web.js",
    ])
  })

  it("uses no global of Node, and makes no code from text", () => {
    for (const [name, text] of files) expect(look(name, text).globals, name).toEqual([])
  })

  it("is of moderate size", async () => {
    let [whole, zipped] = [0, 0]
    for (const text of files.values()) {
      whole += text.length
      zipped += gzipSync(text).length
    }
    const kb = (bytes: number) => `${(bytes / 1000).toFixed(0)} kB`
    const parse = look("parse.js", files.get("parse.js")!).imports.map((name) => files.get(name.slice(2))!.length)
    const alone = parse.reduce((sum, size) => sum + size, files.get("parse.js")!.length)
    console.log(`browser bundle: ${kb(whole)}, gzipped ${kb(zipped)}; isaac-vlm/parse alone ${kb(alone)}`)
    expect(whole).toBeLessThan(700_000)
    // No weights, no backend, no tokenizer.
    expect(alone).toBeLessThan(80_000)
  })

  it.each([
    [
      "a module of Node",
      'import { join } from "node:path"\nexport const x = join("a")\n',
      /imports node:path, which no/,
    ],
    ["one by its old name", 'export const x = () => import("fs")\n', /imports fs, which no browser has/],
    ["sharp", 'import sharp from "sharp"\nexport const x = sharp\n', /imports sharp, which no browser has/],
    ["a file for Node", 'export { openFile } from "./weights/files-node"\n', /imports .*files-node, which is for Node/],
  ])("refuses %s", async (_what, text, message) => {
    const entry = join(folder, "entry.ts")
    await writeFile(entry, text)
    await expect(buildBrowser(join(folder, "refused"), { bad: entry })).rejects.toThrow(message)
  })

  it("knows a use from a question and from a name", () => {
    const { globals, imports } = look(
      "a.js",
      'import "fs"; typeof Buffer !== "undefined" ? Buffer.from(a) : 0; a.process.b; ({ process: 1 }); process.env; new Function("a")',
    )
    expect(globals).toEqual(["process", "Function"])
    expect(imports).toEqual(["fs"])
  })
})
