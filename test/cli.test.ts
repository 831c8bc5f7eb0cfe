/** The command line as a whole: commands, flags, exit codes and the launcher. None of this needs a model. */

import { execFile } from "node:child_process"
import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { CommanderError } from "commander"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { EXIT, Interrupted, reportFailure, UsageError } from "../src/cli/failure"
import { formatBytes, formatCount, formatTable } from "../src/cli/format"
import { featuresOfCpuinfo, featuresOfSysctl } from "../src/cli/machine"
import { ProgressLine } from "../src/cli/progress"
import { INTERRUPTED, OUTPUT_CLOSED, processTerminal } from "../src/cli/terminal"
import { IsaacError } from "../src/errors"
import { fakeTerminal, runCommand } from "./cli-terminal"

describe("usage errors end with code 2 and one line on standard error", () => {
  const ask = (...flags: string[]) => ["ask", ...flags, "What is this?"]
  const wrong: readonly [args: string[], named: string][] = [
    [["fly"], "unknown command 'fly'"],
    [["ask"], "missing required argument"],
    [ask("--threads", "0"), "--threads"],
    [ask("--threads", "two"), "'two'"],
    [ask("--threads", "1.5"), "'1.5'"],
    [ask("--temperature", "-1"), "'-1'"],
    [ask("--temperature", "warm"), "--temperature"],
    [ask("--temperature", "Infinity"), "--temperature"],
    [ask("--temperature", "101"), "--temperature"],
    [ask("--top-p", "-0.1"), "--top-p"],
    [ask("--top-p", "1.01"), "--top-p"],
    [ask("--top-k", "-1"), "--top-k"],
    [ask("--seed", "1e3"), "--seed"],
    [ask("--seed", "9007199254740993"), "--seed"],
    [ask("--max-new-tokens", "0"), "--max-new-tokens"],
    [ask("--min-p", "2"), "--min-p"],
    [ask("--repetition-penalty", "0"), "above 0"],
    [ask("--frequency-penalty", "2.5"), "--frequency-penalty"],
    [ask("--presence-penalty", "-3"), "--presence-penalty"],
    [ask("--logit-bias", "7"), "then = and a bias"],
    [ask("--logit-bias", "=7"), "then = and a bias"],
    [ask("--logit-bias", "7=101"), "to 100"],
    [ask("--logit-bias", "7="), "to 100"],
    [ask("--stop", ""), "at least one character"],
    [ask("--logprobs", "21"), "At most 20"],
    [ask("--logprobs", "2"), "--logprobs needs --json"],
    [ask("--n", "0"), "--n"],
    [ask("--n", "65"), "at most 64"],
    [ask("--n", "2", "--temperature", "0"), "the same answer 2 times"],
    [ask("--n", "2", "--top-k", "1"), "--top-k 1"],
    [["score", "What is this?"], "a question and an answer"],
    [["score", "What is this?", ""], "answer is empty"],
    [["score", "", "Yes."], "question is empty"],
    [["score", "-", "-", "Same?", "Yes."], "standard input"],
    [ask("--backend", "gpu"), "reference"],
    [ask("--dtype", "fp16"), "bf16"],
    [ask("--expect", "mask"), "polygon"],
    [ask("--draw", "out.gif"), ".png or .svg"],
    [ask("--draw", ".svg"), ".png or .svg"],
    [ask("--draw", "out.png"), "--draw needs a picture"],
    [ask("--color"), "--color"],
    [["ask", "-", "-", "Same?"], "standard input"],
    [["ask", ""], "question is empty"],
    [["ask", "package.json"], "write the question after it"],
    [["trace", "case.safetensors"], "--model"],
    [["trace", "case.safetensors", "--model", "m"], "--out"],
    [["inspect"], "missing required argument"],
    [["doctor", "me"], "too many arguments"],
    [["synth", "--preset", "isaac-tiny"], "--out"],
    [["synth", "--out", "x"], "--preset"],
    [["synth", "--preset", "isaac-9", "--out", "x"], "isaac-0.1"],
    [["synth", "--preset", "isaac-tiny", "--out", "x", "--dtype", "q8"], "bf16"],
    [["synth", "--preset", "isaac-tiny", "--out", "x", "--layers", "0"], "--layers"],
  ]
  it.each(wrong)("isaac %j", async (args, named) => {
    const { code, out, err } = await runCommand(args)
    expect({ code, out }).toEqual({ code: EXIT.usage, out: "" })
    expect(err).toMatch(/^isaac: [^\n]+ \(see "isaac help"\)\n$/)
    expect(err).toContain(named)
  })

  it("and, with --json, one line of JSON on standard output", async () => {
    const { code, out, err } = await runCommand(ask("--json", "--threads", "0"))
    expect({ code, err }).toEqual({ code: EXIT.usage, err: "" })
    expect(JSON.parse(out)).toEqual({ error: { code: "usage", message: expect.stringContaining("--threads") } })
    expect(out).toMatch(/^[^\n]+\n$/)
  })

  it("without a command, shows the help", async () => {
    const { code, out, err } = await runCommand([])
    expect({ code, out }).toEqual({ code: EXIT.usage, out: "" })
    expect(err).toContain("Usage: isaac")
  })
})

describe("what a model or a checkpoint says", () => {
  it("cannot change the terminal it is shown on; a pipe gets it as it is", () => {
    const said = "a\u001b[2J\u0007\r\u009b1m\u202eb\tc é日😀\n\nd"
    const { isTTY } = process.stdout
    const terminal = processTerminal()
    const write = vi.spyOn(process.stdout, "write").mockReturnValue(true)
    try {
      process.stdout.isTTY = true
      terminal.out(said)
      process.stdout.isTTY = false
      terminal.out(said)
      const shown = "a\\u001b[2J\\u0007\\u000d\\u009b1m\\u202eb\tc é日😀\n\nd"
      expect(write.mock.calls.map(([text]) => text)).toEqual([shown, said])
    } finally {
      write.mockRestore()
      process.stdout.isTTY = isTTY
      terminal.dispose()
    }
  })
})

describe("help and version", () => {
  it("names every command", async () => {
    const { code, out } = await runCommand(["--help"])
    expect(code).toBe(EXIT.ok)
    for (const name of "ask caption detect ocr count point chat convert score trace inspect doctor".split(" "))
      expect(out).toMatch(new RegExp(`^ {2}${name} `, "m"))
  })

  it("names every flag of ask", async () => {
    const { code, out } = await runCommand(["ask", "--help"])
    expect(code).toBe(EXIT.ok)
    const flags = ["expect", "model", "backend", "dtype", "threads", "max-new-tokens", "temperature", "top-p", "top-k"]
    const sampling = ["min-p", "repetition-penalty", "frequency-penalty", "presence-penalty", "logit-bias", "stop"]
    for (const flag of [...flags, ...sampling, "seed", "json", "draw", "logprobs", "n"])
      expect(out).toContain(`--${flag}`)
  })

  it("prints the package's version", async () => {
    expect(await runCommand(["--version"])).toEqual({
      code: 0,
      out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
      err: "",
    })
  })
})

describe("reportFailure", () => {
  it("gives an IsaacError's code and message, on one line", () => {
    const error = new IsaacError("bad_image", "not a picture:\n  9 bytes")
    const human = fakeTerminal()
    expect(reportFailure(error, human, false)).toBe(EXIT.failure)
    expect(human.written).toEqual({ out: "", err: "isaac: not a picture: 9 bytes\n" })
    const json = fakeTerminal()
    expect(reportFailure(error, json, true)).toBe(EXIT.failure)
    const line = '{"error":{"code":"bad_image","message":"not a picture: 9 bytes"}}\n'
    expect(json.written).toEqual({ out: line, err: "" })
  })

  it("calls anything else internal", () => {
    const terminal = fakeTerminal()
    expect(reportFailure(new TypeError("x is undefined"), terminal, false)).toBe(EXIT.failure)
    expect(terminal.written.err).toBe("isaac: unexpected error, please report it: x is undefined\n")
  })

  it("ends with 130 after Ctrl-C, and quietly with 0 when nobody reads the output", () => {
    const interrupted = fakeTerminal()
    interrupted.controller.abort(INTERRUPTED)
    expect(reportFailure(new IsaacError("aborted", "stopped"), interrupted, false)).toBe(EXIT.interrupted)
    expect(reportFailure(new Interrupted(), interrupted, false)).toBe(EXIT.interrupted)
    const closed = fakeTerminal()
    closed.controller.abort(OUTPUT_CLOSED)
    expect(reportFailure(new IsaacError("aborted", "stopped"), closed, false)).toBe(EXIT.ok)
    expect(closed.written).toEqual({ out: "", err: "" })
  })

  it("knows its own usage errors and commander's", () => {
    expect(reportFailure(new UsageError("no"), fakeTerminal(), false)).toBe(EXIT.usage)
    expect(reportFailure(new CommanderError(1, "commander.unknownOption", "error: no"), fakeTerminal(), false)).toBe(2)
    expect(reportFailure(new CommanderError(0, "commander.helpDisplayed", ""), fakeTerminal(), false)).toBe(EXIT.ok)
  })
})

describe("the launcher bin/isaac.js", () => {
  const source = fileURLToPath(new URL("../bin/isaac.js", import.meta.url))
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "isaac-bin-"))
    await mkdir(join(folder, "bin"))
    await copyFile(source, join(folder, "bin", "isaac.js"))
    await writeFile(join(folder, "package.json"), '{"type":"module"}')
  })
  afterAll(() => rm(folder, { recursive: true }))

  const launch = (args: string[], ...node: string[]) =>
    new Promise<{ code: unknown; out: string; err: string }>((resolve) => {
      execFile(process.execPath, [...node, join(folder, "bin", "isaac.js"), ...args], (error, out, err) =>
        resolve({ code: error?.code ?? 0, out, err }),
      )
    })

  it("says what to do when dist/ is missing", async () => {
    expect(await launch(["doctor"])).toEqual({ code: 1, out: "", err: expect.stringMatching(/npm run build.*\n$/) })
    const { code, out } = await launch(["doctor", "--json"])
    expect(code).toBe(1)
    expect(JSON.parse(out)).toEqual({ error: { code: "not_found", message: expect.stringContaining("npm run build") } })
  })

  it("refuses an old Node by name", async () => {
    const old = `data:text/javascript,Object.defineProperty(process.versions,"node",{value:"20.18.1"})`
    const { code, err } = await launch(["doctor"], "--import", old)
    expect({ code, err }).toEqual({ code: 1, err: "isaac: Node 20.19 or newer is needed, this is Node 20.18.1\n" })
  })

  it("hands its arguments to the built program", async () => {
    await mkdir(join(folder, "dist", "cli"), { recursive: true })
    const stub = "export async function main(args) { console.log(JSON.stringify(args)); process.exitCode = 7 }"
    await writeFile(join(folder, "dist", "cli", "main.js"), stub)
    expect(await launch(["ask", "a b.png", "?"])).toEqual({ code: 7, out: '["ask","a b.png","?"]\n', err: "" })
  })
})

describe("what people read", () => {
  it("bytes in powers of ten", () => {
    expect([0, 999, 1000, 11_384_712, 10_268_292_032].map(formatBytes)).toEqual([
      "0 B",
      "999 B",
      "1.00 kB",
      "11.4 MB",
      "10.3 GB",
    ])
    expect(formatBytes(999_700)).toBe("1.00 MB")
    expect(formatCount(2_567_073_008)).toBe("2,567,073,008")
  })

  it("tables with aligned columns", () => {
    expect(
      formatTable(
        [
          ["a", "1"],
          ["long", "234"],
        ],
        [1],
      ),
    ).toBe("a       1\nlong  234")
  })

  it("progress only where a terminal can overwrite it", () => {
    const pipe = fakeTerminal()
    new ProgressLine(pipe).show("loading")
    expect(pipe.written.err).toBe("")
    const tty = fakeTerminal({ tty: true })
    const line = new ProgressLine(tty)
    line.show("one")
    line.show("one")
    line.show("two")
    line.clear()
    line.clear()
    expect(tty.written.err).toBe("one\r\x1b[Ktwo\r\x1b[K")
  })

  it("processor features as Linux and macOS tell them", () => {
    expect(featuresOfCpuinfo("processor : 0\nflags\t\t: fpu avx2 fma avx512_vnni\n")).toEqual([
      "fma",
      "avx2",
      "avx512_vnni",
    ])
    expect(featuresOfCpuinfo("Features\t: fp asimd asimddp i8mm\n")).toEqual(["asimd", "asimddp", "i8mm"])
    expect(featuresOfCpuinfo("nothing")).toBeNull()
    expect(
      featuresOfSysctl("hw.optional.neon: 1\nhw.optional.arm.FEAT_DotProd: 1\nhw.optional.arm.FEAT_BF16: 0\n"),
    ).toEqual(["asimd", "asimddp"])
  })
})

describe("isaac build-native", () => {
  it("says what is missing where there is no compiler", async () => {
    vi.stubEnv("CXX", "/nowhere/c++")
    const { code, err } = await runCommand(["build-native"])
    vi.unstubAllEnvs()
    expect(code).toBe(EXIT.failure)
    expect(err).toMatch(/native kernels could not be built: no C\+\+ compiler \(\/nowhere\/c\+\+\)/)
  })
})

describe("isaac synth", () => {
  it("writes a checkpoint that inspect takes, and refuses to write over one", async () => {
    const parent = await mkdtemp(join(tmpdir(), "isaac-synth-"))
    try {
      const args = ["synth", "--preset", "isaac-tiny", "--layers", "1", "--out", join(parent, "model")]
      const first = await runCommand(args)
      expect(first).toMatchObject({ code: EXIT.ok, err: "" })
      expect(first.out).toMatch(/model: [\d,]+ parameters, [\d.]+ MB\n$/)
      const { out } = await runCommand(["inspect", join(parent, "model"), "--json"])
      expect(JSON.parse(out)).toMatchObject({ warnings: [], config: { text: { layers: 1 }, vision: { layers: 1 } } })
      const again = await runCommand(args)
      expect(again).toMatchObject({ code: EXIT.failure, err: expect.stringContaining("is not empty") })
    } finally {
      await rm(parent, { recursive: true })
    }
  })
})
