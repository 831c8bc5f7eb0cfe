/** `isaac ask` as people run it: the built command in a process of its own, with the built-in model. */

import { spawnSync } from "node:child_process"
import { closeSync, existsSync, openSync } from "node:fs"
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import sharp from "sharp"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { damaged } from "../bench/fuzz/damage-image"
import { imageSeeds } from "../bench/fuzz/image-seeds"
import { pick, randomOf } from "../bench/fuzz/random"
import { type BuiltPackage, buildPackage } from "./built-package"
import { hasAddon } from "./native-addon"

const SAMPLES = fileURLToPath(new URL("../models/isaac-tiny/samples/", import.meta.url))
const picture = join(SAMPLES, "01-locate-box.png")
const question = "Where is the orange square?"
const answer = '<point_box mention="orange square"> (805,350) (940,520) </point_box>'
const box = { type: "box", x1: 805, y1: 350, x2: 940, y2: 520, mention: "orange square", t: null }

let built: BuiltPackage
beforeAll(async () => {
  built = await buildPackage()
})
afterAll(() => built.remove())

it.runIf(existsSync("/dev/full"))("ends with one line and code 1 when standard output cannot be written", async () => {
  const full = openSync("/dev/full", "w")
  const { status, stderr } = spawnSync(
    process.execPath,
    [join(built.folder, "bin", "isaac.js"), "ask", "Hi", "--json"],
    {
      stdio: ["ignore", full, "pipe"],
      encoding: "utf8",
    },
  )
  closeSync(full)
  expect(stderr).toMatch(/^isaac: cannot write to standard output: .*ENOSPC.*\n$/)
  expect(status).toBe(1)
})

const oneLine = expect.stringMatching(/^[^\n]+\n$/)

describe("the answer", () => {
  it("is written to standard output as the model wrote it, and nothing to standard error", async () => {
    const ended = await built.isaac(["ask", picture, question, "--expect", "box"])
    expect(ended).toEqual({ code: 0, signal: null, out: `${answer}\n`, err: "" })
  })

  it("--json: one line with exactly the promised fields", async () => {
    const { code, out, err } = await built.isaac(["ask", picture, question, "--expect", "box", "--json"])
    expect({ code, err, out }).toEqual({ code: 0, err: "", out: oneLine })
    const found = JSON.parse(out)
    expect(Object.keys(found)).toEqual([
      "model",
      "text",
      "reasoning",
      "points",
      "pixels",
      "usage",
      "finish_reason",
      "timings",
    ])
    expect(found).toMatchObject({ text: answer, reasoning: null, points: [box], finish_reason: "stop" })
    // 224×192 pixels.
    const [pixel] = found.pixels
    expect(Object.keys(pixel).sort()).toEqual([...Object.keys(box), "image"].sort())
    expect(pixel).toMatchObject({ type: "box", mention: "orange square", t: null, image: 0 })
    expect([pixel.x1, pixel.y1, pixel.x2, pixel.y2].map((v) => Math.round(v * 1000))).toEqual(
      [0.805 * 224, 0.35 * 192, 0.94 * 224, 0.52 * 192].map((v) => Math.round(v * 1000)),
    )
    const { goldens } = JSON.parse(await readFile(join(SAMPLES, "goldens.json"), "utf8"))
    const golden = goldens.find((g: { image: string }) => g.image === "01-locate-box.png")
    expect(found.usage.prompt_tokens).toBe(golden.input_ids.length)
    expect(found.usage.image_tokens).toBe(golden.input_ids.filter((id: number) => id === -1).length)
    expect(found.usage.completion_tokens).toBeGreaterThan(10)
    expect(Object.keys(found.timings)).toEqual(["load_ms", "vision_ms", "prefill_ms", "decode_ms"])
    for (const ms of Object.values(found.timings)) expect(ms).toBeGreaterThan(0)
  })

  it("is the same for a picture on standard input and in a data URI", async () => {
    const bytes = await readFile(picture)
    const piped = await built.isaac(["ask", "-", question, "--expect", "box"], bytes)
    expect(piped).toMatchObject({ code: 0, out: `${answer}\n`, err: "" })
    const uri = `data:image/png;base64,${bytes.toString("base64")}`
    expect(await built.isaac(["ask", uri, question, "--expect", "box"])).toMatchObject({ code: 0, out: `${answer}\n` })
  })

  it("needs no picture", async () => {
    const { code, out } = await built.isaac(["ask", "Where is the red circle?", "--json"])
    expect(code).toBe(0)
    expect(JSON.parse(out)).toMatchObject({ usage: { image_tokens: 0 } })
  })

  it("to too long a prompt is a refusal, or comes from its end with --truncate left", async () => {
    const long = ["ask", picture, "again and ".repeat(60), "--max-context", "100", "--max-new-tokens", "1", "--json"]
    const refused = await built.isaac(long)
    expect({ code: refused.code, err: refused.err }).toEqual({ code: 1, err: "" })
    expect(JSON.parse(refused.out).error).toEqual({
      code: "too_long",
      message: expect.stringMatching(
        /at most 100 fit: \d+ of text and 42 of 1 image\..*--truncate left.*--max-context/,
      ),
    })
    const cut = JSON.parse((await built.isaac([...long, "--truncate", "left"])).out)
    expect(cut.usage.prompt_tokens).toBe(100)
  })

  it("ends after --max-new-tokens", async () => {
    const flags = ["--expect", "box", "--max-new-tokens", "5", "--json"]
    const { out } = await built.isaac(["ask", picture, question, ...flags])
    expect(JSON.parse(out)).toMatchObject({ finish_reason: "length", usage: { completion_tokens: 5 }, points: [] })
  })

  it("is the same for the same seed, and drawn at a temperature", async () => {
    const sample = async (seed: string) => {
      const flags = ["--temperature", "2", "--top-k", "40", "--top-p", "0.99", "--seed", seed, "--max-new-tokens", "12"]
      return (await built.isaac(["ask", picture, "Describe the image.", ...flags])).out
    }
    const [a, again, b] = [await sample("1"), await sample("1"), await sample("2")]
    expect(again).toBe(a)
    expect(b).not.toBe(a)
  })

  it.each(hasAddon ? ["reference", "wasm", "native"] : ["reference", "wasm"])(
    "is the same on the %s backend",
    async (backend) => {
      const flags = ["--expect", "box", "--backend", backend, "--dtype", "f32", "--threads", "1"]
      expect(await built.isaac(["ask", picture, question, ...flags])).toMatchObject({ code: 0, out: `${answer}\n` })
    },
  )
})

describe("--draw", () => {
  it("writes a PNG and an SVG with the box", async () => {
    const png = join(built.folder, "out.png")
    const drawn = await built.isaac(["ask", picture, question, "--expect", "box", "--draw", png])
    expect(drawn).toMatchObject({ code: 0, out: `${answer}\n`, err: "" })
    const { width, height, format } = await sharp(png).metadata()
    expect({ width, height, format }).toEqual({ width: 640, height: 549, format: "png" })
    const svg = join(built.folder, "out.svg")
    await built.isaac(["ask", picture, question, "--expect", "box", "--json", "--draw", svg])
    const text = await readFile(svg, "utf8")
    expect(text).toMatch(/^<svg /)
    expect(text).toContain("data:image/png;base64,")
    expect(text).toContain("orange square")
    expect(text).toMatch(/<polygon points="[^"]+"/)
  })

  it("that cannot be written is the only line of --json", async () => {
    const file = join(built.folder, "no", "such", "folder.png")
    const { code, out, err } = await built.isaac(["ask", picture, question, "--json", "--draw", file])
    expect({ code, out, err }).toEqual({ code: 1, out: oneLine, err: "" })
    expect(JSON.parse(out)).toEqual({ error: { code: "io", message: expect.stringContaining(file) } })
  })
})

describe("what goes wrong is told in one line", () => {
  const failures: readonly [string, () => Promise<string[]>, string, string][] = [
    ["a model folder that is missing", async () => ["--model", "./no-such-folder"], "not_found", "no-such-folder"],
    [
      "a folder that is no checkpoint",
      async () => {
        await mkdir(join(built.folder, "empty"), { recursive: true })
        return ["--model", join(built.folder, "empty")]
      },
      "bad_checkpoint",
      "config.json",
    ],
  ]
  it.each(failures)("%s", async (_name, flags, code, message) => {
    const args = ["ask", picture, question, ...(await flags())]
    const human = await built.isaac(args)
    expect(human).toMatchObject({ code: 1, out: "", err: expect.stringMatching(/^isaac: [^\n]+\n$/) })
    expect(human.err).toContain(message)
    const { out, ...json } = await built.isaac([...args, "--json"])
    expect(json).toEqual({ code: 1, signal: null, err: "" })
    expect(out).toEqual(oneLine)
    expect(JSON.parse(out)).toEqual({ error: { code, message: expect.stringContaining(message) } })
  })

  const pictures: readonly [string, () => Promise<string[]>, string, string][] = [
    ["a picture that is missing", async () => ["no.png"], "not_found", "no.png"],
    [
      "a file that is no picture",
      async () => {
        const file = join(built.folder, "text.png")
        await writeFile(file, "not a picture")
        return [file]
      },
      "bad_image",
      "text.png",
    ],
    ["an empty standard input", async () => ["-"], "bad_input", "standard input"],
  ]
  it.each(pictures)("%s", async (_name, names, code, message) => {
    const { out, err, ...ended } = await built.isaac(["ask", ...(await names()), question, "--json"])
    expect({ ...ended, err }).toEqual({ code: 1, signal: null, err: "" })
    expect(JSON.parse(out)).toEqual({ error: { code, message: expect.stringContaining(message) } })
  })

  it("a question with more <image> than there are pictures", async () => {
    const { code, out, err } = await built.isaac(["ask", picture, "Is <image> like <image>?"])
    expect({ code, out, err }).toEqual({
      code: 1,
      out: "",
      err: expect.stringMatching(/names 2 <image> but 1 picture/),
    })
  })
})

it("the built-in model writes nothing to disk, and runs where making code from text is forbidden", async () => {
  const home = join(built.folder, "home")
  await mkdir(home)
  for (const name of ["HOME", "XDG_CACHE_HOME", "ISAAC_CACHE", "HF_HOME", "TMPDIR"]) vi.stubEnv(name, home)
  vi.stubEnv("NODE_OPTIONS", "--disallow-code-generation-from-strings")
  try {
    const flags = ["--expect", "box", "--dtype", "q8"]
    expect(await built.isaac(["ask", picture, question, ...flags])).toMatchObject({ code: 0, err: "" })
    const probe = 'try { new Function("") } catch (error) { console.log(error.name) }'
    await writeFile(join(built.folder, "probe.js"), probe)
    expect((await built.start("probe.js", []).ended).out).toBe("EvalError\n")
  } finally {
    vi.unstubAllEnvs()
  }
  expect(await readdir(home)).toEqual([])
})

it("damaged pictures, however odd, write nothing to standard error by themselves", async () => {
  const seeds = await imageSeeds()
  const avif = Buffer.from(seeds.find(({ name }) => name === "avif")!.bytes)
  avif.writeUInt32BE(200_000_000, avif.indexOf("ispe") + 8) // libvips' own complaint goes past every handler
  const files = [
    avif,
    ...Array.from({ length: 250 }, (_, number) => {
      const random = randomOf(number)
      return Buffer.from(damaged(random, pick(random, seeds).bytes))
    }),
  ]
  await writeFile(join(built.folder, "damaged.json"), JSON.stringify(files.map((bytes) => bytes.toString("base64"))))
  const decoding = `
    import { readFileSync } from "node:fs"
    import { decodeImage } from "./dist/processor/decode-image-node.js"
    for (const file of JSON.parse(readFileSync("damaged.json", "utf8"))) {
      console.log(await decodeImage(Buffer.from(file, "base64"), "x").then(() => "pixels", ({ code }) => code))
    }`
  await writeFile(join(built.folder, "decoding.js"), decoding)
  const { code, out, err } = await built.start("decoding.js", []).ended
  expect({ code, err }).toEqual({ code: 0, err: "" })
  const outcomes = out.trimEnd().split("\n")
  expect(outcomes).toHaveLength(files.length)
  expect([...new Set(outcomes)].sort()).toEqual(["bad_image", "pixels"])
  expect(outcomes[0]).toBe("bad_image")
})

describe("stopping", () => {
  it("Ctrl-C ends the answer with code 130, what was written stays", async () => {
    const flags = ["--expect", "box", "--backend", "reference"]
    const { process: child, ended } = built.start(join("bin", "isaac.js"), ["ask", picture, question, ...flags])
    child.stdin!.end()
    child.stdout!.once("data", () => child.kill("SIGINT"))
    const { code, signal, out, err } = await ended
    expect({ code, signal, err }).toEqual({ code: 130, signal: null, err: "" })
    expect(out.length).toBeGreaterThan(1)
    expect(out.length).toBeLessThan(answer.length)
    expect(answer.startsWith(out.trimEnd())).toBe(true)
  })

  it("Ctrl-C with --json still gives the line, with finish_reason abort", async () => {
    // The same program, interrupted at a known moment: when the first words have come.
    const interrupted = `
      import { run } from "./dist/cli/program.js"
      const controller = new AbortController()
      process.exitCode = await run(process.argv.slice(2), {
        out: (text) => process.stdout.write(text),
        err: (text) => text.includes("answering") && controller.abort("interrupted"),
        errIsTty: true,
        signal: controller.signal,
      })`
    await writeFile(join(built.folder, "interrupted.js"), interrupted)
    const args = ["ask", picture, question, "--expect", "box", "--json"]
    const { code, out, err } = await built.start("interrupted.js", args).ended
    expect({ code, err, out }).toEqual({ code: 130, err: "", out: oneLine })
    const found = JSON.parse(out)
    expect(found.finish_reason).toBe("abort")
    expect(answer.startsWith(found.text)).toBe(true)
    expect(found.text.length).toBeLessThan(answer.length)
  })

  it("Ctrl-C while a picture is read from standard input", async () => {
    const { process: child, ended } = built.start(join("bin", "isaac.js"), ["ask", "-", question, "--json"])
    // More than a pipe holds: when it is gone, the command is reading, and waits for the end.
    child.stdin!.write(new Uint8Array(1 << 20), () => child.kill("SIGINT"))
    const { code, signal, out, err } = await ended
    expect({ code, signal, err }).toEqual({ code: 130, signal: null, err: "" })
    expect(JSON.parse(out)).toEqual({ error: { code: "aborted", message: "interrupted" } })
  })

  it("the second Ctrl-C waits for nothing", async () => {
    const stuck = `
      import { processTerminal } from "./dist/cli/terminal.js"
      const { signal } = processTerminal()
      signal.addEventListener("abort", () => console.log(signal.reason))
      setInterval(() => {}, 1000)
      console.log("ready")`
    await writeFile(join(built.folder, "stuck.js"), stuck)
    const { process: child, ended } = built.start("stuck.js", [])
    child.stdout!.on("data", () => child.kill("SIGINT"))
    expect(await ended).toEqual({ code: 130, signal: null, out: "ready\ninterrupted\n", err: "" })
  })

  it("a reader of standard output that goes away is no error", async () => {
    const { process: child, ended } = built.start(join("bin", "isaac.js"), ["ask", picture, "Describe the image."])
    child.stdin!.end()
    child.stdout!.once("data", () => child.stdout!.destroy())
    expect(await ended).toMatchObject({ code: 0, signal: null, err: "" })
    const closed = built.start(join("bin", "isaac.js"), ["inspect", "tiny"])
    closed.process.stdout!.destroy()
    expect(await closed.ended).toMatchObject({ code: 0, signal: null, err: "" })
  })
})
