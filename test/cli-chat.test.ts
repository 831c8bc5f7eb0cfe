/** `isaac chat`: through a pipe, and with a person at the keyboard. */

import { existsSync } from "node:fs"
import { copyFile, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import sharp from "sharp"
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest"
import { parseChatLine } from "../src/cli/chat-commands"
import { IsaacError } from "../src/errors"
import { type FakeTerminal, fakeTerminal, runCommand } from "./cli-terminal"
import { theModel } from "./one-model"

vi.mock("../src/index", async (original) => (await import("./one-model")).oneModel(await original()))

const sample = (name: string) => fileURLToPath(new URL(`../models/isaac-tiny/samples/${name}.png`, import.meta.url))
const [first, second] = [sample("01-locate-box"), sample("02-locate-box-several")]
const where = "Where is the orange square?"

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "isaac-chat-"))
})
afterAll(() => rm(folder, { recursive: true }))
afterEach(() => vi.restoreAllMocks())

/** Lines through a pipe. */
async function chat(lines: readonly string[], args: readonly string[] = [first]) {
  const terminal = fakeTerminal()
  terminal.typed.end(lines.map((line) => `${line}\n`).join(""))
  return runCommand(["chat", ...args], terminal)
}

describe("through a pipe", () => {
  it("each line is a question and its answer a line; no prompt", async () => {
    const lines = ["What is this?", "", `/box ${where}`]
    const { code, out, err } = await chat(lines)
    expect({ code, err }).toEqual({ code: 0, err: "" })
    const alone = await (await theModel()).ask([first], "What is this?")
    expect(out.split("\n")).toEqual([alone.text, expect.stringMatching(/^orange square {2}\d+ \d+ \d+ \d+$/), ""])
  })

  it("the second question computes only what is new", async () => {
    const terminal = fakeTerminal({ tty: true })
    terminal.typed.end(`What is this?\n${where}\n`)
    const { out } = await runCommand(["chat", sample("03-locate-point"), "--json"], terminal)
    const [one, two] = out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
    expect(one.timings.vision_ms).toBeGreaterThan(0)
    expect(two.timings.vision_ms).toBe(0)
    expect(two.usage.image_tokens).toBe(one.usage.image_tokens)
    // The second prompt begins like the first (but for its last words), which was there already.
    const shares = [...terminal.written.err.matchAll(/reading the question (\d+) %/g)].map(([, percent]) =>
      Number(percent),
    )
    expect(shares[0]).toBe(0)
    const reused = Math.floor((100 * one.usage.prompt_tokens) / two.usage.prompt_tokens)
    expect(shares.slice(-2)).toEqual([reused, 100])
    expect(reused).toBeGreaterThan(50)
  })

  it("commands: pictures, how to point, draw, save, history, reset, load", async () => {
    const [drawn, saved] = [join(folder, "drawn.png"), join(folder, "kept.session")]
    const spaced = join(folder, "two squares.png")
    await copyFile(second, spaced)
    const { code, out, err } = await chat([
      "/image",
      ...["/box", where, `/draw ${drawn}`],
      ...[`/image ${spaced.replaceAll(" ", "\\ ")}`, "/text Find all squares.", "/image"],
      ...[`/save ${saved}`, "/history", "/reset", "/history", "/image", `/new '${spaced}'`, "/image"],
      ...[`/load ${saved}`, "/image", "/history", "/reset", "/image", "/quit", "never asked"],
    ])
    const lost = "(without 2 of the pictures: they came with the saved session; show them with /image)\n"
    expect({ code, err }).toEqual({ code: 0, err: lost })
    const shown = [`1: ${first}, 224×192`, `2: ${spaced}, 288×192`]
    const [listed, boxes, tags, ...rest] = out.trimEnd().split("\n")
    expect(listed).toBe(shown[0])
    expect(boxes).toMatch(/^orange square {2}\d+ \d+ \d+ \d+$/)
    expect(tags).toContain("<point_box")
    const history = rest.slice(2, rest.indexOf(shown[0], 2))
    expect(history).toEqual([
      ...[
        "user: <hint>BOX</hint>",
        "user: [picture 1]",
        `user: ${where}`,
        expect.stringMatching(/^assistant: <point_box/),
      ],
      ...["user: [picture 2]", "user: Find all squares.", `assistant: ${tags}`],
    ])
    expect(rest).toEqual([
      ...shown,
      ...history,
      ...shown,
      `1: ${spaced}, 288×192`,
      "1: picture 1",
      "2: picture 2",
      ...history,
      "no pictures",
    ])
    expect((await sharp(drawn).metadata()).width).toBe(640)
  })

  it("what goes wrong is told, and the chat goes on; code 1 at the end", async () => {
    await writeFile(join(folder, "text.png"), "no picture")
    const { code, out, err } = await chat([
      ...[
        "/draw x.png",
        "/draw",
        "/draw x.gif",
        "/fly",
        "/image no.png",
        `/image ${join(folder, "text.png")}`,
        "/image -",
      ],
      ...[
        "/load no.session",
        `/save ${join(folder, "no", "such", "folder")}`,
        "/new no.png",
        "long ".repeat(3000),
        where,
      ],
    ])
    expect(code).toBe(1)
    expect(err.trimEnd().split("\n")).toEqual(
      [
        ...["no answer to draw", "/draw needs", ".webp is needed", "no command /fly", "no.png", "is no image"],
        ...["standard input", "no.session", "folder", "no.png", "at most"],
      ].map((part) => expect.stringMatching(new RegExp(`^isaac: .*${part}`))),
    )
    expect(out).toContain("orange square")
    const json = await chat(["/fly", where], [first, "--json"])
    expect(
      json.out
        .trim()
        .split("\n")
        .map((line) => Object.keys(JSON.parse(line))[0]),
    ).toEqual(["error", "model"])
  })

  it("pictures of a saved session are asked about and not drawn on", async () => {
    const saved = join(folder, "other.session")
    await chat([where, `/image ${second}`, `/save ${saved}`]).then(({ err }) =>
      expect(err).toMatch(/^\(without 1 of the/),
    )
    const { out, err } = await chat([`/load ${saved}`, `/box ${where}`, `/draw ${join(folder, "not.png")}`], [])
    expect(out).toContain("orange square")
    expect(err).toMatch(/picture 1 came with the saved session/)
    expect(existsSync(join(folder, "not.png"))).toBe(false)
  })

  it("a lost engine ends it", async () => {
    const isaac = await theModel()
    vi.spyOn(isaac, "session").mockImplementationOnce(() => {
      const session = Object.getPrototypeOf(isaac).session.call(isaac)
      session.ask = () => {
        throw new IsaacError("worker_lost", "the engine's worker crashed")
      }
      return session
    })
    expect(await chat([where, where])).toEqual({ code: 1, out: "", err: "isaac: the engine's worker crashed\n" })
  })

  it("Ctrl-C stops the answer, the next line is asked; a second one soon after ends it all", async () => {
    const terminal = fakeTerminal()
    let interrupts = 0
    terminal.onOut = () => {
      if (interrupts++ === 0) terminal.interrupt()
    }
    terminal.typed.end(`What is this?\n/box ${where}\n/history\n`)
    const { code, out, err } = await runCommand(["chat", first], terminal)
    expect({ code, err }).toEqual({ code: 0, err: expect.stringMatching(/^\(stopped;/) })
    const [stopped, box, ...history] = out.trimEnd().split("\n")
    expect(stopped.length).toBeLessThan(20)
    expect(box).toMatch(/^orange square/)
    expect(history.join()).not.toContain("What is this?") // and the picture is still there
    expect(history[1]).toBe("user: [picture 1]")

    const hasty = fakeTerminal()
    hasty.onOut = () => hasty.interrupt()
    hasty.typed.end("What is this?\nWhat is this?\nWhat is this?\n")
    const ended = await runCommand(["chat", first], hasty)
    expect(ended.code).toBe(130)
    expect(ended.out.split("\n").length).toBeLessThan(4)
  })
})

describe("with a person at the keyboard", () => {
  /** Types when what was awaited has come. */
  class Person {
    readonly ended: Promise<{ code: number; out: string; err: string }>
    shown = ""

    constructor(
      readonly terminal: FakeTerminal,
      args: readonly string[],
    ) {
      terminal.screen.on("data", (text) => (this.shown += text))
      this.ended = runCommand(["chat", ...args], terminal)
    }

    /** Wait until the screen, or an answer or a message, has this since the last time. */
    async sees(text: string): Promise<this> {
      const all = () => `${this.shown}\n${this.terminal.written.out}\n${this.terminal.written.err}`
      await vi.waitFor(() => expect(all().split(text).length).toBeGreaterThan(this.#count(text)), {
        timeout: 20_000,
        interval: 2,
      })
      this.#counts.set(text, this.#count(text) + 1)
      return this
    }

    type(keys: string): this {
      this.terminal.typed.write(keys)
      return this
    }

    readonly #counts = new Map<string, number>()
    #count(text: string): number {
      return this.#counts.get(text) ?? 1
    }
  }

  it("there is a prompt, lines can be edited, Ctrl-D leaves", async () => {
    const person = new Person(fakeTerminal({ person: true, tty: true }), [first])
    await person.sees("1 picture. /help")
    await (await person.sees("> ")).type("/boxx\x7f\r").sees("box> ")
    await person.type(`${where}\r`).sees("orange square  ")
    person.type("\x04")
    expect((await person.ended).code).toBe(0)
  })

  it("Ctrl-C at the prompt takes back the line, then says how to leave, then leaves", async () => {
    const person = new Person(fakeTerminal({ person: true }), [])
    await person.sees("> ")
    await person.type("/nonsense").sees("/nonsense")
    person.type("\x03\x03")
    await person.sees("Ctrl-C again")
    await person.type("more\x03\x03").sees("Ctrl-C again")
    person.type("\x03")
    const { code, err } = await person.ended
    expect(code).toBe(130)
    expect(err).not.toContain("no command")
  })

  it("Ctrl-C during an answer stops it; what is typed meanwhile is not shown until then", async () => {
    const terminal = fakeTerminal({ person: true })
    const person = new Person(terminal, [first])
    let shownWhileAnswering: string | undefined
    terminal.onOut = () => {
      terminal.onOut = () => {}
      terminal.typed.write("early\x03")
    }
    const say = terminal.err.bind(terminal)
    terminal.err = (text) => {
      if (text.includes("(stopped")) shownWhileAnswering = person.shown
      say(text)
    }
    await (await person.sees("> ")).type("What is this?\r").sees("(stopped")
    await person.sees("> early")
    expect(shownWhileAnswering).toMatch(/What is this\?\s*$/)
    person.type("\x03").type("/quit\r")
    const { code, out } = await person.ended
    expect(code).toBe(0)
    expect(out.length).toBeLessThan(30)
  })

  it("lines are remembered: with the arrow keys, and in a file only where one is named", async () => {
    const history = join(folder, "lines")
    const once = new Person(fakeTerminal({ person: true }), ["--history", history])
    await (await once.sees("> ")).type("/help\r").sees("Anything else")
    await (await once.sees("> ")).type("\x1b[A\r").sees("Anything else")
    once.type("/quit\r")
    await once.ended
    expect(await readFile(history, "utf8")).toBe("/help\n/help\n/quit\n")
    expect((await stat(history)).mode & 0o077).toBe(0)
    const again = new Person(fakeTerminal({ person: true }), ["--history", history])
    await (await again.sees("> ")).type("\x1b[A\x1b[A\r").sees("Anything else")
    again.type("\x04")
    await again.ended
    const bad = await runCommand(["chat", "--history", folder], fakeTerminal({ person: true }))
    expect(bad).toMatchObject({ code: 1, err: expect.stringContaining("cannot be read") })
  })
})

describe("what a line says", () => {
  it.each([
    ["  ", { type: "nothing" }],
    [" What? ", { type: "question", question: "What?" }],
    [" /etc is what?", { type: "question", question: "/etc is what?" }],
    ["/Exit", { type: "command", command: "quit", operand: "" }],
    ["/image  a b.png ", { type: "command", command: "image", operand: "a b.png" }],
    ["/toString", { type: "unknown", name: "toString" }],
    ["/constructor x", { type: "unknown", name: "constructor" }],
    ["/", { type: "unknown", name: "" }],
  ])("%j", (line, said) => {
    expect(parseChatLine(line)).toEqual(said)
  })
})

it("what is mistyped is told before the model is loaded, and - is no picture", async () => {
  expect(await chat([], ["no.png", "--model", "./none"])).toMatchObject({
    code: 1,
    err: expect.stringContaining("no.png"),
  })
  expect(await chat([], ["--logprobs", "2"])).toMatchObject({ code: 2, err: expect.stringContaining("--json") })
  expect(await chat([], ["-"])).toMatchObject({ code: 1, err: expect.stringContaining("standard input") })
})
