/** Many pictures: what a batch is about, the file of its lines, and what a kill leaves of it. */

import { existsSync } from "node:fs"
import { appendFile, mkdir, mkdtemp, open, readdir, readFile, rm, symlink, utimes, writeFile } from "node:fs/promises"
import { hostname, tmpdir } from "node:os"
import { join, relative } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import sharp from "sharp"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest"
import { BatchFile } from "../src/cli/batch-file"
import { drawingNames, listImages } from "../src/cli/batch-images"
import { BatchProgress } from "../src/cli/batch-progress"
import { drawSheets, isSheet } from "../src/cli/batch-sheet"
import { ProgressLine } from "../src/cli/progress"
import { OUTPUT_CLOSED } from "../src/cli/terminal"
import { IsaacError } from "../src/errors"
import { buildPackage } from "./built-package"
import { fakeTerminal, runCommand } from "./cli-terminal"
import { theModel } from "./one-model"

vi.mock("../src/index", async (original) => (await import("./one-model")).oneModel(await original()))

let root: string
/** Of each test its own. */
let folder: string
let png: Uint8Array
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "isaac-batch-"))
  png = await picture(0)
})
beforeEach(async () => {
  folder = await mkdtemp(join(root, "t-"))
})
afterEach(() => vi.restoreAllMocks())
afterAll(() => rm(root, { recursive: true }))

/** A square on a ground of another colour; no two numbers give the same. */
function picture(number: number): Promise<Uint8Array> {
  const ground = { r: (40 * number) % 256, g: 255 - ((25 * number) % 256), b: number }
  const square = { width: 24, height: 24, channels: 3, background: "red" } as const
  return sharp({ create: { width: 64, height: 64, channels: 3, background: ground } })
    .composite([{ input: { create: square }, left: number % 40, top: 10 }])
    .png()
    .toBuffer()
}

/** Files below the folder; the text of those that are no pictures. */
async function files(contents: Readonly<Record<string, string | Uint8Array>>): Promise<void> {
  for (const [name, content] of Object.entries(contents)) {
    await mkdir(join(folder, name, ".."), { recursive: true })
    await writeFile(join(folder, name), content)
  }
}

async function linesOf(file: string): Promise<{ image: string; caption?: string; error?: { code: string } }[]> {
  const text = await readFile(file, "utf8")
  expect(text === "" || text.endsWith("\n")).toBe(true)
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line))
}

describe("which pictures", () => {
  const names = async (operands: readonly string[], options?: Parameters<typeof listImages>[1]) =>
    (await listImages(operands, options)).map(({ image }) => relative(folder, image))

  beforeEach(() =>
    files({
      "b.png": png,
      "a.JPG": png,
      "c10.webp": png,
      "c9.tif": png,
      "notes.txt": "",
      ".hidden.png": png,
      "sub/z.png": png,
      "sub/deep/y.gif": png,
      ".git/x.png": png,
    }),
  )

  it("of a folder: those whose names end like pictures, by name; hidden ones never", async () => {
    expect(await names([folder])).toEqual(["a.JPG", "b.png", "c10.webp", "c9.tif"])
    const all = ["a.JPG", "b.png", "c10.webp", "c9.tif", "sub/deep/y.gif", "sub/z.png"]
    expect(await names([folder], { recursive: true })).toEqual(all)
  })

  it("of a pattern", async () => {
    expect(await names([join(folder, "*")])).toEqual(["a.JPG", "b.png", "c10.webp", "c9.tif"])
    expect(await names([join(folder, "{b,c?}.*")])).toEqual(["b.png", "c9.tif"])
    expect(await names([join(folder, "**/*.{png,gif}")])).toEqual(["b.png", "sub/deep/y.gif", "sub/z.png"])
    const here = relative(process.cwd(), folder)
    expect((await listImages([join(here, "s*/*.png")]))[0].image).toBe(join(here, "sub/z.png"))
  })

  it("a name with brackets is a file where there is one", async () => {
    await files({ "b[1].png": png, "b1.png": png, "[x]/b1.png": png })
    expect(await names([join(folder, "b[1].png")])).toEqual(["b[1].png"])
    expect(await names([join(folder, "[x]")])).toEqual(["[x]/b1.png"])
    expect(await names([join(folder, "\\[x\\]/*.png")])).toEqual(["[x]/b1.png"])
  })

  it("a folder with brackets or an exclamation mark is that folder where there is one", async () => {
    const odd = ["photos (1)", "[x]", "!new", "a{1,2}"]
    await files(Object.fromEntries(odd.map((name) => [`${name}/o.png`, png])))
    await files({ "photos 1/no.png": png, "x/no.png": png, "a1/no.png": png, "!o.png": png })
    for (const name of odd) expect(await names([join(folder, name, "*.png")])).toEqual([`${name}/o.png`])
    expect(await names([join(folder, "photos (1)", "lost.png")])).toEqual(["photos (1)/lost.png"])
    expect(await names([join(folder, "[xy]", "*.png")])).toEqual(["x/no.png"])
    expect(await names([join(folder, "!*.png")])).toEqual(["!o.png"])
  })

  it("each once, wherever it is named, in the order of the operands", async () => {
    const operands = [join(folder, "c9.tif"), `${folder}/sub/../b.png`, folder, join(folder, "*.png")]
    expect(await names(operands)).toEqual(["c9.tif", "b.png", "a.JPG", "c10.webp"])
    const address = "https://example.com/a/b.png?size=1"
    expect((await listImages([address, address, "no such.png"])).map(({ image }) => image)).toEqual([
      address,
      "no such.png",
    ])
  })

  it("links to pictures count, links to folders are not followed", async () => {
    await symlink(join(folder, "b.png"), join(folder, "sub", "link.png"))
    await symlink(folder, join(folder, "sub", "loop"))
    await symlink(folder, join(folder, "loop.png"))
    const all = await names([folder], { recursive: true })
    expect(all).toContain("sub/link.png")
    expect(all).not.toContain("loop.png")
    expect(all).toHaveLength(7)
    expect((await names([join(folder, "**")])).filter((name) => name.includes("loop/"))).toEqual([])
  })

  it("drawings of them get names of their own", async () => {
    const operands = [
      folder,
      join(folder, "sub/z.png"),
      join(folder, "sub"),
      "https://example.com/a/b.png?x=1",
      "data:,",
    ]
    await files({ "sub/b.webp": png, "b.jpg": png })
    const listed = await listImages(operands, { recursive: true })
    expect([...drawingNames(listed).values()]).toEqual([
      ...["a.JPG.png", "b.jpg.png", "b.png", "c10.webp.png", "c9.tif.png"],
      ...["sub/b.webp.png", "sub/deep/y.gif.png", "sub/z.png", "b-2.png", "picture.png"],
    ])
  })

  it("drawings of pictures with the longest names there are get shorter ones", async () => {
    const [accents, words] = [`${"é".repeat(125)}.webp`, `${"w".repeat(251)}.gif`]
    await files({ [accents]: png, [words]: png, [`${"w".repeat(251)}.jpg`]: png, [`${"w".repeat(251)}.png`]: png })
    const drawings = [...drawingNames(await listImages([folder])).values()].filter((name) => name.length > 100)
    expect(drawings).toEqual([
      ...[1, 2].map(() => expect.stringMatching(/^w{242}-[0-9a-f]{8}\.png$/)),
      `${"w".repeat(251)}.png`,
      expect.stringMatching(/^é{121}-[0-9a-f]{8}\.png$/),
    ])
    expect(new Set(drawings).size).toBe(4)
  })

  it("what was drawn is left out; drawings never go where pictures are", async () => {
    await files({ "sheet.png": png, "sheet-12.png": png })
    const drawDir = join(folder, "sub")
    const isOwn = (path: string) => isSheet(path, join(folder, "sheet.png"))
    const left = ["a.JPG", "b.png", "c10.webp", "c9.tif"]
    expect(await names([folder], { recursive: true, drawDir, isOwn })).toEqual(left)
    expect(await names([join(folder, "**/*.png")], { drawDir, isOwn })).toEqual(["b.png"])
    for (const operand of [folder, join(folder, "*.png"), join(folder, "b.png"), drawDir, join(drawDir, "z.png")]) {
      await expect(listImages([operand], { drawDir: folder })).rejects.toThrow(/--draw-dir is where/)
    }
    expect(await names([join(folder, "b.png")], { drawDir: join(folder, "b") })).toEqual(["b.png"])
    await expect(listImages([drawDir], { isOwn: () => true })).rejects.toMatchObject({ code: "not_found" })
  })

  it("none is an error, and says what was looked for", async () => {
    await files({ "empty/notes.txt": "" })
    await expect(listImages([join(folder, "empty")])).rejects.toMatchObject({
      code: "not_found",
      message: expect.stringMatching(/no picture in .*empty.*\.png.*--recursive/),
    })
    await expect(listImages([join(folder, "x*")])).rejects.toMatchObject({ code: "not_found" })
  })
})

describe("the file of lines", () => {
  const settings = { task: "caption", model: "tiny", seed: undefined }
  const out = () => join(folder, "out.jsonl")
  /** Open, write lines, close. */
  const write = async (...lines: object[]) => {
    const file = await BatchFile.open(out(), settings)
    for (const line of lines) await file.append(line as Record<string, unknown>)
    await file.close()
    return file
  }

  it("has lines and nothing else; goes on where it ended", async () => {
    await write({ image: "a", caption: "1" }, { image: "b", caption: "é\n" })
    const again = await write({ image: "c" })
    expect([...again.done]).toEqual(["a", "b"])
    expect(await readFile(out(), "utf8")).toBe(
      '{"image":"a","caption":"1"}\n{"image":"b","caption":"é\\n"}\n{"image":"c"}\n',
    )
    expect((await readdir(folder)).sort()).toEqual(["out.jsonl", "out.jsonl.settings.json"])
  })

  it.each(['{"image":"b"', '{"image":"b"}', '{"im', "\0\0\0\n", '{"no":1}\n'])(
    "an end that is not whole is cut off: %j",
    async (end) => {
      await write({ image: "a" })
      await appendFile(out(), end)
      const again = await write({ image: "b" })
      expect([...again.done]).toEqual(["a"])
      expect(await readFile(out(), "utf8")).toBe('{"image":"a"}\n{"image":"b"}\n')
    },
  )

  it("a damaged line in the middle is refused, and nothing is changed", async () => {
    await write({ image: "a" })
    await appendFile(out(), 'damaged\n{"image":"b"}\n{"im')
    const before = await readFile(out(), "utf8")
    await expect(write({ image: "c" })).rejects.toMatchObject({
      code: "bad_input",
      message: expect.stringMatching(/line 2 of/),
    })
    expect(await readFile(out(), "utf8")).toBe(before)
    expect(existsSync(`${out()}.lock`)).toBe(false)
  })

  it("lines of errors are taken out", async () => {
    const error = { code: "io", message: "x" }
    await write(
      { image: "a", error },
      { image: "b" },
      { image: "c" },
      { image: "d", error },
      { image: "e" },
      { image: "f", error },
    )
    const again = await write({ image: "a" })
    expect([[...again.done], [...again.failed]]).toEqual([
      ["b", "c", "e"],
      ["a", "d", "f"],
    ])
    expect((await linesOf(out())).map(({ image }) => image)).toEqual(["b", "c", "e", "a"])
  })

  it("other settings are refused, with what is different", async () => {
    await write({ image: "a" })
    const other = { task: "detect", model: "tiny", classes: ["cat"] }
    await expect(BatchFile.open(out(), other)).rejects.toMatchObject({
      code: "bad_input",
      message: expect.stringMatching(/task "detect" instead of "caption", classes \["cat"\] instead of none/),
    })
    await rm(out())
    await (await BatchFile.open(out(), other)).close() // nothing to go on with
  })

  it("a file that is no batch's is left alone", async () => {
    await writeFile(out(), "my notes\n")
    await expect(BatchFile.open(out(), settings)).rejects.toMatchObject({
      code: "bad_input",
      message: expect.stringContaining("settings.json"),
    })
    expect(await readFile(out(), "utf8")).toBe("my notes\n")
    await expect(BatchFile.open(folder, settings)).rejects.toMatchObject({ code: "bad_input" })
  })

  it("is written by one process at a time", async () => {
    const first = await BatchFile.open(out(), settings)
    await expect(BatchFile.open(out(), settings)).rejects.toMatchObject({
      code: "io",
      message: expect.stringMatching(new RegExp(`written by process ${process.pid} on .*remove .*out.jsonl.lock`)),
    })
    await first.append({ image: "a" })
    await first.close()
    expect((await write()).done.has("a")).toBe(true)
  })

  it("a lock that a kill left behind does not stand in the way", async () => {
    await write({ image: "a" })
    const dead = 2 ** 22 + 1 // above the largest process id of Linux
    await writeFile(`${out()}.lock`, JSON.stringify({ pid: dead, host: hostname(), id: "x" }))
    expect((await write()).done.has("a")).toBe(true)
  })

  it("a lock of another machine that was renewed just now is respected", async () => {
    const lock = `${out()}.lock`
    await writeFile(lock, JSON.stringify({ pid: 1, host: "elsewhere", id: "x" }))
    await utimes(lock, new Date(), new Date())
    await expect(BatchFile.open(out(), settings)).rejects.toMatchObject({
      message: expect.stringContaining("process 1 on elsewhere"),
    })
  })

  it("a full disk leaves whole lines", async () => {
    const file = await BatchFile.open(out(), settings)
    await file.append({ image: "a" })
    const handle = await open(out())
    const prototype = Object.getPrototypeOf(handle) as { appendFile: typeof handle.appendFile }
    await handle.close()
    vi.spyOn(prototype, "appendFile").mockImplementationOnce(async () => {
      await appendFile(out(), '{"image":')
      throw Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" })
    })
    await expect(file.append({ image: "b" })).rejects.toMatchObject({
      code: "io",
      message: expect.stringMatching(/ENOSPC.*What is in it is kept/),
    })
    expect(await readFile(out(), "utf8")).toBe('{"image":"a"}\n')
    await file.append({ image: "b" })
    await file.close()
    expect(await linesOf(out())).toHaveLength(2)
  })

  it("a disk that fails at the end is told as it is, once", async () => {
    const file = await BatchFile.open(out(), settings)
    const handle = await open(out())
    const prototype = Object.getPrototypeOf(handle) as { datasync: typeof handle.datasync }
    await handle.close()
    vi.spyOn(prototype, "datasync").mockRejectedValueOnce(new Error("EIO: i/o error"))
    await expect(file.close()).rejects.toMatchObject({ code: "io", message: expect.stringContaining("EIO") })
    await file.close()
    expect(existsSync(`${out()}.lock`)).toBe(false)
  })
})

describe("a batch", () => {
  beforeEach(async () => {
    await files({ "a.png": await picture(1), "b.png": "no picture", "c.png": await picture(2) })
  })
  const out = () => join(folder, "out.jsonl")
  const caption = (...flags: string[]) => ["caption", folder, "--max-new-tokens", "6", ...flags]

  it("gives a line for each picture as it is done; an error is one picture's, and code 1 at the end", async () => {
    const terminal = fakeTerminal()
    const pieces: string[] = []
    terminal.onOut = (text) => pieces.push(text)
    const { code, err } = await runCommand(caption(), terminal)
    expect(code).toBe(1)
    expect(err).toMatch(/^isaac: 3 of 3 pictures, 1 of them failed; [\d.]+ a minute\n$/)
    const lines = pieces.map((line) => JSON.parse(line))
    expect(lines.map(({ image }) => image)).toEqual(["a.png", "b.png", "c.png"].map((name) => join(folder, name)))
    const contract = ["model", "text", "reasoning", "points", "pixels", "usage", "finish_reason", "timings"]
    expect(Object.keys(lines[0])).toEqual(["image", ...contract, "caption"])
    expect(lines[1]).toEqual({
      image: join(folder, "b.png"),
      error: { code: "bad_image", message: expect.any(String) },
    })
  })

  it("--out goes on where it ended: what is done is not done again, what failed is", async () => {
    const asked = vi.spyOn(await theModel(), "caption")
    expect(await runCommand(caption("--out", out()))).toMatchObject({ code: 1, out: "" })
    expect(asked).toHaveBeenCalledTimes(2)
    const [first] = await linesOf(out())
    await writeFile(join(folder, "b.png"), await picture(3))
    await files({ "d.png": await picture(4) })
    expect(await runCommand(caption("--out", out()))).toEqual({ code: 0, out: "", err: "" })
    expect(asked).toHaveBeenCalledTimes(4)
    const lines = await linesOf(out())
    // What failed before comes last.
    expect(lines.map(({ image }) => relative(folder, image))).toEqual(["a.png", "c.png", "d.png", "b.png"])
    expect(lines[0]).toEqual(first)
    // Nothing is left to do: no model is loaded for it.
    expect(await runCommand(caption("--out", out(), "--threads", "3"), fakeTerminal({ tty: true }))).toMatchObject({
      code: 0,
      err: expect.stringMatching(/isaac: 4 of 4 pictures, 4 were done before\n$/),
    })
    expect(asked).toHaveBeenCalledTimes(4)
  })

  it("--out is refused with other options, and before a model is loaded", async () => {
    await runCommand(caption("--out", out()))
    const { code, err } = await runCommand(caption("--out", out(), "--style", "detailed", "--model", "./none"))
    expect(code).toBe(1)
    expect(err).toMatch(/style "detailed" instead of "concise", model ".\/none" instead of "tiny"/)
  })

  it("Ctrl-C keeps what is done, and nothing else", async () => {
    await rm(join(folder, "b.png"))
    const isaac = await theModel()
    const caption0 = isaac.caption.bind(isaac)
    const terminal = fakeTerminal()
    let count = 0
    vi.spyOn(isaac, "caption").mockImplementation((image, options) => {
      if (++count === 2) setTimeout(() => terminal.interrupt(), 0)
      return caption0(image, options)
    })
    const { code, err } = await runCommand(["caption", folder, "--out", out()], terminal)
    expect(code).toBe(130)
    expect(err).toMatch(/^isaac: interrupted: 1 of 2 pictures; /)
    expect(await linesOf(out())).toHaveLength(1)
    expect(existsSync(`${out()}.lock`)).toBe(false)
    expect(await runCommand(["caption", folder, "--out", out()])).toMatchObject({ code: 0 })
    expect(await linesOf(out())).toHaveLength(2)
  })

  it("ends quietly when nobody reads its lines any more", async () => {
    const terminal = fakeTerminal({ tty: true })
    terminal.onOut = () => terminal.controller.abort(OUTPUT_CLOSED)
    const { code, out, err } = await runCommand(caption(), terminal)
    expect({ code, lines: out.split("\n").length - 1 }).toEqual({ code: 0, lines: 1 })
    expect(err).not.toContain("isaac:")
  })

  it("goes on with a new engine when one is lost, but not for ever", async () => {
    await files(
      Object.fromEntries(await Promise.all([5, 6, 7].map(async (n) => [`${n}.png`, await picture(n)] as const))),
    )
    const isaac = await theModel()
    const caption0 = isaac.caption.bind(isaac)
    const lost = () => {
      throw new IsaacError("worker_lost", "the engine's worker crashed")
    }
    const asked = vi.spyOn(isaac, "caption").mockImplementationOnce(lost)
    expect(await runCommand(caption("--out", out()))).toMatchObject({
      code: 1,
      err: expect.stringContaining("2 of them failed"),
    })
    expect(await linesOf(out())).toHaveLength(6)
    asked.mockImplementation(lost)
    await rm(out())
    const { code, err } = await runCommand(caption("--out", out()))
    expect({ code, err }).toEqual({ code: 1, err: "isaac: the engine's worker crashed\n" })
    expect(await linesOf(out())).toHaveLength(3)
    asked.mockImplementation(caption0)
    expect(await runCommand(caption("--out", out()))).toMatchObject({ code: 1 })
    // What may end everything again comes last.
    const order = ["a.png", "b.png", "c.png", "5.png", "6.png", "7.png"]
    expect((await linesOf(out())).map(({ image }) => relative(folder, image))).toEqual(order)
  })

  it("--draw-dir writes a drawing before its line", async () => {
    await files({
      "sub/a.webp": await sharp(await picture(9))
        .webp()
        .toBuffer(),
    })
    const drawn = join(folder, "drawn")
    const seen: boolean[] = []
    const terminal = fakeTerminal()
    terminal.onOut = (text) =>
      seen.push(
        text.includes('"error"') ||
          existsSync(join(drawn, `${relative(folder, JSON.parse(text).image).replace(/\.png$/, "")}.png`)),
      )
    const args = ["detect", folder, "--recursive", "--classes", "square", "--draw-dir", drawn]
    expect(await runCommand(args, terminal)).toMatchObject({ code: 1 })
    expect(seen).toEqual([true, true, true, true])
    expect((await readdir(drawn, { recursive: true })).sort()).toEqual(["a.png", "c.png", "sub", "sub/a.webp.png"])
    // Drawings are not asked about, and one that cannot be written ends the batch.
    expect((await runCommand(args)).out.trim().split("\n")).toHaveLength(4)
    await writeFile(join(folder, "full"), "")
    const { code, err } = await runCommand(["detect", folder, "--draw-dir", join(folder, "full")])
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining("full cannot be made") })
  })

  it("a drawing never takes the place of that of another picture that was done before", async () => {
    await files({ "1/.keep": "", "2/x.png": await picture(1) })
    const drawn = join(folder, "drawn")
    const more = ["--draw-dir", drawn, "--out", out(), "--max-new-tokens", "2"]
    const args = ["caption", join(folder, "2"), join(folder, "a.png"), ...more]
    expect(await runCommand(args)).toMatchObject({ code: 0 })
    const before = await readFile(join(drawn, "x.png"))
    await files({ "1/X.png": await picture(2) })
    expect(await runCommand(["caption", join(folder, "1"), ...args.slice(1)])).toMatchObject({ code: 0 })
    expect(await readFile(join(drawn, "x.png"))).toEqual(before)
    expect((await readdir(drawn)).sort()).toEqual(["X-2.png", "a.png", "x.png"])
    const lines = (await linesOf(out())) as unknown as { drawing: string }[]
    expect(lines.map(({ drawing }) => drawing)).toEqual(["x.png", "a.png", "X-2.png"])
  })

  it("--draw-dir of a picture with the longest name there is", async () => {
    const name = "l".repeat(251)
    await files({ [`in/${name}.jpg`]: await picture(1), [`in/${name}.png`]: await picture(1) })
    const drawn = join(folder, "drawn")
    const args = ["detect", join(folder, "in"), "--classes", "square", "--draw-dir", drawn]
    expect(await runCommand(args)).toMatchObject({ code: 0, err: "" })
    expect(await readdir(drawn)).toHaveLength(2)
  })

  it("ask puts its question to each picture of a folder", async () => {
    const asked = vi.spyOn(await theModel(), "ask")
    const { code, out } = await runCommand(["ask", folder, "What is this?", "--max-new-tokens", "6"])
    expect(code).toBe(1)
    expect(
      out
        .trim()
        .split("\n")
        .map((line) => relative(folder, JSON.parse(line).image)),
    ).toEqual(["a.png", "b.png", "c.png"])
    expect(asked.mock.calls.map(([images, question]) => [(images as unknown[]).length, question])).toEqual([
      [1, "What is this?"],
      [1, "What is this?"],
    ])
    const usage = await runCommand(["ask", folder, "What?", "--n", "2"])
    expect(usage).toMatchObject({ code: 2, err: expect.stringContaining("--n is for one question") })
  })

  it("--sheet shows the answers of this run and of those before", async () => {
    const sheet = join(folder, "sheet.png")
    const args = (...flags: string[]) => ["detect", folder, "--classes", "square", "--sheet", sheet, ...flags]
    const size = async (file = sheet) => {
      const { width, height } = await sharp(file).metadata()
      return [width, height]
    }
    expect(await runCommand(args())).toMatchObject({ code: 1 })
    const two = await size()
    expect(two[0]).toBeGreaterThan(2 * 320)
    await rm(join(folder, "b.png"))
    await runCommand(args("--out", out()))
    await files({ "d.png": await picture(4) })
    expect(await runCommand(args("--out", out()))).toMatchObject({ code: 0 })
    expect((await size())[1]).toBeGreaterThan(two[1]! + 300) // a second row; the sheet itself was not asked about
    await rm(sheet)
    await rm(join(folder, "c.png")) // its answer stays, the picture is gone
    const asked = vi.spyOn(await theModel(), "detect")
    expect(await runCommand(args("--out", out()))).toMatchObject({ code: 0 })
    expect(await size()).toEqual(two)
    expect(asked).not.toHaveBeenCalled()
  })

  it("a sheet holds a hundred; then there are more", async () => {
    const pixels = [{ type: "box", x1: 8, y1: 8, x2: 32, y2: 32, mention: "x", t: null, image: 0 }] as const
    const entries = Array.from({ length: 101 }, (_, i) => ({ image: `${i}.png`, pixels, words: "" }))
    const data = new Uint8Array(64 * 32 * 3).fill(200)
    const steps: number[] = []
    await drawSheets(join(folder, "all.png"), entries, {
      title: "all",
      read: async () => ({ width: 64, height: 32, data }),
      onProgress: (done) => steps.push(done),
      signal: new AbortController().signal,
    })
    const [first, second] = await Promise.all(
      ["all.png", "all-2.png"].map((name) => sharp(join(folder, name)).metadata()),
    )
    expect(first.width).toBe(10 * (320 + 12) + 12)
    expect(second.width).toBe(320 + 24)
    expect(steps.at(-1)).toBe(100)
  })

  it("shows a bar where there is a terminal", async () => {
    const { err } = await runCommand(caption(), fakeTerminal({ tty: true }))
    expect(err).toMatch(/░ 0\/3/)
    expect(err).toMatch(/█ 3\/3, 1 failed {2}[\d.]+\/min\r/)
    expect(err).toMatch(/isaac: 3 of 3 pictures, 1 of them failed; [\d.]+ a minute\n$/)
  })
})

it("the bar knows how many a minute this run does, and how long the rest will take", () => {
  const terminal = fakeTerminal({ tty: true })
  const last = () => terminal.written.err.split("\x1b[K").at(-1)
  const progress = new BatchProgress(new ProgressLine(terminal), 100, 40)
  progress.start(5_000)
  expect(last()).toBe(`${"█".repeat(9)}${"░".repeat(15)} 40/100`)
  progress.advance(false, 6_000)
  progress.advance(true, 8_000)
  expect(last()).toBe(`${"█".repeat(10)}${"░".repeat(14)} 42/100, 1 failed  40.0/min  1:27 left`)
  expect(progress.summary()).toBe("42 of 100 pictures, 1 of them failed, 40 were done before; 40.0 a minute")
})

it("kill -9: every picture is in the file exactly once", async () => {
  const built = await buildPackage()
  try {
    const names = Array.from({ length: 12 }, (_, i) => `${String(i).padStart(2, "0")}.png`)
    for (const [i, name] of names.entries()) await files({ [`in/${name}`]: await picture(i) })
    const out = join(folder, "out.jsonl")
    const args = ["caption", join(folder, "in"), "--out", out]
    const { process: child, ended } = built.start(join("bin", "isaac.js"), args)
    while ((await readFile(out, "utf8").catch(() => "")).split("\n").length <= names.length / 2) {
      expect(child.exitCode).toBe(null)
      await sleep(1)
    }
    child.kill("SIGKILL")
    expect((await ended).signal).toBe("SIGKILL")
    const before = await readFile(out, "utf8")
    const whole = before.slice(0, before.lastIndexOf("\n") + 1)
    expect(whole.split("\n").length - 1).toBeLessThan(names.length)
    if (whole === before) await appendFile(out, '{"image":"half a li') // as a kill may leave it

    expect(await built.isaac(args)).toEqual({ code: 0, signal: null, out: "", err: "" })
    expect((await linesOf(out)).map(({ image }) => relative(join(folder, "in"), image))).toEqual(names)
    expect((await readFile(out, "utf8")).startsWith(whole)).toBe(true)
  } finally {
    await built.remove()
  }
})
