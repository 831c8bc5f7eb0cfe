/** isaac-vlm in a real browser: the built bundle, in a page with and without the headers for shared memory. */

import { existsSync, readFileSync } from "node:fs"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import sharp from "sharp"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { drawImage } from "../src/draw-image-node"
import type { EngineInfo } from "../src/engine-options"
import type { PixelLeaf } from "../src/perception"
import { labelColour } from "../src/perception/label-colour"
import { decodeImage } from "../src/processor/decode-image-node"
import type { RgbImage } from "../src/processor/rgb-image"
import { buildBrowser } from "../tools/build-browser.mjs"
import { ChromiumPage, findChromium } from "./chromium"
import { FileServer } from "./file-server"
import { noise } from "./hub-server"

const chromium = findChromium()
const root = fileURLToPath(new URL("../", import.meta.url))
const POLICY =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self' blob:; " +
  "img-src 'self' blob:; style-src 'self'; frame-src 'self'; report-uri /csp"
const ISOLATION = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
  "cross-origin-resource-policy": "same-origin",
}

interface Sample {
  readonly image: string
  readonly question: string
  readonly hint: "BOX" | "POINT" | "POLYGON" | null
  readonly answer: string
}
const samples: readonly Sample[] = JSON.parse(
  readFileSync(join(root, "models/isaac-tiny/samples/samples.json"), "utf8"),
)
const asked = samples.map(({ image, question, hint }) => ({
  image,
  question,
  expect: hint?.toLowerCase() ?? "text",
}))
const boxes = asked[1]

interface Answers {
  readonly info: EngineInfo
  readonly stages: string[]
  readonly notices: string[]
  readonly ms: number
  readonly answers: { text: string; points: object[]; pixels: { image: number }[]; finishReason: string; ms: number }[]
  readonly memory: { used: number }
  readonly before: string[]
  readonly released: boolean
  readonly isolated: boolean
}

let build: string
let server: FileServer
let page: ChromiumPage
let pictures: Map<string, Uint8Array>
const decoded = new Map<string, RgbImage>()
const times: string[] = []

describe.skipIf(!chromium)(
  chromium ? "in Chromium" : "in Chromium, which is not here: install it, or name it in CHROME_PATH",
  () => {
    beforeAll(async () => {
      build = await mkdtemp(join(tmpdir(), "isaac-browser-"))
      await buildBrowser(build, { "decode-image": "src/processor/decode-image-web.ts" })
      pictures = await makePictures()
      server = await FileServer.start((path) => {
        const local = path.replace(/^\/(?:plain|isolated)\//, "/")
        const file = local.startsWith("/dist/browser/") ? join(build, local.slice(14)) : join(root, local)
        return pictures.get(local.replace("/pictures/", "")) ?? (existsSync(file) ? readFileSync(file) : undefined)
      })
      server.handle = ({ path }, response, request) => {
        response.setHeader("content-security-policy", POLICY)
        if (path.startsWith("/isolated/")) {
          for (const [name, value] of Object.entries(ISOLATION)) response.setHeader(name, value)
        }
        if (path.startsWith("/pixels/")) {
          keepPixels(new URL(request.url!, server.origin), request).then(() => response.end())
          return true
        }
        return page?.handle(path, request, response) ?? false
      }
      page = await ChromiumPage.open(chromium!, server, "/plain/test/browser/page.html")
    })
    afterAll(async () => {
      for (const line of times) console.log(line)
      await page?.close()
      await server?.stop()
      await rm(build, { recursive: true, force: true })
    })

    /** Data of the model that the last load asked for: no questions about versions, no pictures. */
    function fetched(): string[] {
      const paths = server.paths("GET").filter((path) => path.startsWith("/models/") && !path.includes("/samples/"))
      return paths.map((path) => path.replace("/models/isaac-tiny/", ""))
    }

    async function answers(what: string, count = 3): Promise<Answers> {
      server.seen.length = 0
      const result = await page.run<Answers>("answers", { samples: asked.slice(0, count) })
      const { info, ms } = result
      const [first, ...rest] = result.answers.map((answer) => answer.ms)
      const mean = rest.reduce((sum, time) => sum + time, 0) / rest.length
      times.push(
        `${what}: load ${ms.toFixed(0)} ms, first answer ${first.toFixed(0)} ms, then ${mean.toFixed(0)} ms on average ` +
          `(${info.isa}, ${info.threads} threads)`,
      )
      expect(result.answers.map(({ text }) => text)).toEqual(samples.slice(0, count).map(({ answer }) => answer))
      expect(result.answers.every(({ finishReason }) => finishReason === "stop")).toBe(true)
      // One for this worker; a page that was left may not have given up its own yet.
      expect(result.before.length).toBeGreaterThanOrEqual(1)
      expect(result.released, "the worker is gone after dispose").toBe(true)
      return result
    }

    describe("without shared memory", () => {
      test("answers every sample as Node does, with one thread", async () => {
        const {
          info,
          stages,
          notices,
          isolated,
          answers: given,
        } = await answers("not isolated, first load", samples.length)
        expect(isolated).toBe(false)
        expect(info).toMatchObject({ backend: "wasm", isa: "simd128 + relaxed-simd", threads: 1 })
        expect(info.refused.some(({ why }) => /not cross-origin isolated/.test(why))).toBe(true)
        expect(stages).toContain("download")
        expect(notices).toEqual([])
        expect(given[0].points).toEqual([
          { type: "box", x1: 805, y1: 350, x2: 940, y2: 520, mention: "orange square", t: null },
        ])
        expect(given[0].pixels).toEqual([
          { type: "box", x1: 180.32, y1: 67.2, x2: 210.56, y2: 99.84, mention: "orange square", t: null, image: 0 },
        ])
        expect(fetched()).toContain("model.safetensors")
      })

      test("loads the second time from the browser's storage", async () => {
        const { stages } = await answers("not isolated, second load")
        expect(fetched()).toEqual([])
        expect(stages).not.toContain("download")
      })

      test("gives events as the answer is written, and ends at once when told", checkStreaming)
      test("takes pictures and models in every form that a page has", checkInputs)
      test("decodes pictures as Node does", checkPixels)
      test("draws on pictures as Node does", checkDrawings)
      test("tells everybody when its worker is lost", checkLost)
      test("runs the page of the examples", checkExample)
    })

    describe("with shared memory", () => {
      test("answers every sample as Node does, with threads", async () => {
        await page.go("/isolated/test/browser/page.html")
        const { info, isolated } = await answers("isolated, kept by the other page", 6)
        expect(isolated).toBe(true)
        expect(info.isa).toBe("simd128 + relaxed-simd")
        expect(info.threads === 1 || info.refused.every(({ name }) => name === "native")).toBe(true)
        expect(fetched()).toEqual([])
      })

      test("fetches a changed model anew", async () => {
        server.edition = "b"
        await answers("isolated, first load")
        expect(fetched()).toEqual(expect.arrayContaining(["config.json", "tokenizer.json", "model.safetensors"]))
        await answers("isolated, second load")
        expect(fetched()).toEqual([])
      })

      test("loads from a server without ranges", async () => {
        server.edition = "c"
        server.ranges = false
        await answers("isolated, first load without ranges")
        server.ranges = true
      })

      test("gives events as the answer is written, and ends at once when told", checkStreaming)
      test("tells everybody when its worker is lost", checkLost)
      test("runs the page of the examples", checkExample)
    })

    test("breaks no rule of a strict content security policy, and leaves no error unhandled", () => {
      expect(page.complaints).toEqual([])
    })
  },
)

async function checkStreaming(): Promise<void> {
  const result = await page.run<{
    types: string[]
    text: string
    points: number
    end: { finishReason: string; text: string }
    afterwards: { text: string }
    late: string
    used: { code: string }
  }>("streaming", boxes)
  const { answer } = samples[1]
  expect(result.text).toBe(answer)
  expect(result.points).toBe(3)
  expect(result.types.filter((type) => type === "text.delta").length).toBeGreaterThan(5)
  expect(result.types.indexOf("points.delta")).toBeLessThan(result.types.lastIndexOf("text.delta"))
  expect(result.types.at(-1)).toBe("final")
  expect(result.end.finishReason).toBe("abort")
  expect(result.end.text.length).toBeGreaterThan(0)
  expect(result.end.text.length).toBeLessThan(answer.length)
  expect(answer.startsWith(result.end.text)).toBe(true)
  expect(result.afterwards.text).toBe(answer)
  expect(result.late).toBe("abort")
  expect(result.used.code).toBe("bad_input")
}

async function checkInputs(): Promise<void> {
  const { texts, examples, failures } = await page.run<{
    texts: Record<string, string>
    examples: string[]
    failures: Record<string, { code: string; message: string }>
  }>("inputs", asked[6])
  expect(Object.keys(texts)).toHaveLength(13)
  for (const [form, text] of Object.entries(texts)) expect(text, form).toBe(samples[6].answer)
  expect(examples).toEqual(Array(4).fill(examples[0]))
  expect(failures).toMatchObject({
    "not there": { code: "not_found" },
    "not loaded": { code: "bad_image", message: expect.stringMatching(/is it loaded/) },
    "no image": { code: "bad_image" },
    nothing: { code: "bad_input" },
    tiny: { code: "bad_input", message: expect.stringMatching(/copy models\/isaac-tiny/) },
    "no model there": { code: "bad_checkpoint", message: expect.stringMatching(/no config.json/) },
    "no config": { code: "bad_checkpoint", message: expect.stringMatching(/config.json/) },
    "this thread": { code: "unsupported" },
  })
}

async function checkPixels(): Promise<void> {
  const names = [...pictures.keys()].filter((name) => name !== "cut.png")
  const { cut } = await page.run<{ cut: { code: string } }>("pixels", { pictures: names })
  expect(cut.code).toBe("bad_image")
  for (const name of names) {
    const want = await decodeImage(pictures.get(name)!, name)
    const got = decoded.get(name)!
    expect([got.width, got.height], name).toEqual([want.width, want.height])
    const differences = want.data.map((value, i) => Math.abs(value - got.data[i]))
    const worst = differences.reduce((a, b) => Math.max(a, b), 0)
    const mean = differences.reduce((a, b) => a + b, 0) / differences.length
    // Lossless files hold exact pixels; decoders of lossy ones round each in their own way.
    const [mostWorst, mostMean] = /\.(?:jpg|avif)$|lossy/.test(name) ? [12, 1] : [0, 0]
    expect(worst, `${name}: worst ${worst}, mean ${mean}`).toBeLessThanOrEqual(mostWorst)
    expect(mean, `${name}: worst ${worst}, mean ${mean}`).toBeLessThanOrEqual(mostMean)
  }
}

async function checkDrawings(): Promise<void> {
  const file = join(root, "models/isaac-tiny/samples", samples[0].image)
  const leaves: readonly PixelLeaf[] = [
    { type: "point", x: 100, y: 90, mention: "a dot", t: null, image: 0 },
    { type: "box", x1: 20, y1: 30, x2: 80, y2: 70, mention: "a box", t: null, image: 0 },
  ]
  const { files, centre, format } = await page.run<{
    files: Record<string, string>
    centre: number[]
    format: { code: string }
  }>("drawings", { image: samples[0].image, leaves })
  const bytes = (name: string) => Buffer.from(files[name], "base64")
  const want = await decodeImage(await drawImage(file, leaves), "drawn in Node")
  for (const name of ["png", "canvas"]) {
    const got = await decodeImage(bytes(name), name)
    expect([got.width, got.height], name).toEqual([want.width, want.height])
    expect(Buffer.compare(Buffer.from(got.data), Buffer.from(want.data)), name).toBe(0)
  }
  for (const name of ["jpeg", "webp"]) expect((await sharp(bytes(name)).metadata()).format).toBe(name)
  expect(bytes("svg").toString()).toMatch(/^<svg .*\n<image .*href="data:image\/png;base64,/)
  const { r, g, b } = labelColour("a dot")
  expect(centre).toEqual([r, g, b, 255])
  expect(format.code).toBe("bad_input")
}

async function checkLost(): Promise<void> {
  const result = await page.run<{
    pending: { code: string }
    later: { code: string }
    stopped: { code: string; message: string }
  }>("lost", boxes)
  expect(result).toMatchObject({
    pending: { code: "worker_lost" },
    later: { code: "worker_lost" },
    stopped: { code: "worker_lost", message: expect.stringMatching(/terminated/) },
  })
}

async function checkExample(): Promise<void> {
  const { ready, text, magenta } = await page.run<{ ready: string; text: string; magenta: number }>("example", asked[0])
  expect(ready).toMatch(/^ready: simd128 \+ relaxed-simd, \d+ threads$/)
  expect(text).toBe(samples[0].answer)
  expect(magenta).toBeGreaterThan(50)
}

async function keepPixels(url: URL, request: AsyncIterable<Buffer>): Promise<void> {
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part)
  const [width, height] = ["width", "height"].map((name) => Number(url.searchParams.get(name)))
  decoded.set(url.pathname.replace("/pixels/", ""), { width, height, data: new Uint8Array(Buffer.concat(parts)) })
}

/** Pictures of each kind whose pixels are known. */
async function makePictures(): Promise<Map<string, Uint8Array>> {
  const [width, height] = [61, 47]
  // A photograph has no noise: smooth colours with some edges.
  const smooth = (channels: 1 | 2 | 3 | 4) =>
    sharp(noise(8 * 6 * channels), { raw: { width: 8, height: 6, channels } })
      .resize(width, height, { kernel: "cubic", fit: "fill" })
      .toColourspace(channels < 3 ? "b-w" : "srgb")
  const photo = await readFile(join(root, "models/isaac-tiny/samples/01-locate-box.png"))
  const made: Record<string, Promise<Uint8Array>> = {
    "rgb.png": smooth(3).png().toBuffer(),
    "gray.png": smooth(1).png().toBuffer(),
    "alpha.png": smooth(4).png().toBuffer(),
    // Invisible pixels have colours too.
    "invisible.png": sharp(
      noise(width * height * 4).map((value, i) => (i % 4 === 3 ? (i % 3) * 100 : value)),
      { raw: { width, height, channels: 4 } },
    )
      .png()
      .toBuffer(),
    "gray-alpha.png": smooth(2).png().toBuffer(),
    "palette.png": smooth(3).png({ palette: true, colours: 16 }).toBuffer(),
    "deep.png": smooth(3).toColourspace("rgb16").png().toBuffer(),
    "interlaced.png": smooth(3).png({ progressive: true }).toBuffer(),
    "lossless.webp": smooth(4).webp({ lossless: true, exact: true }).toBuffer(),
    "lossy.webp": smooth(3).webp({ quality: 90 }).toBuffer(),
    "still.gif": smooth(3).gif().toBuffer(),
    "plain.jpg": smooth(3).jpeg({ quality: 90, chromaSubsampling: "4:4:4" }).toBuffer(),
    "subsampled.jpg": smooth(3).jpeg({ quality: 90, chromaSubsampling: "4:2:0" }).toBuffer(),
    "gray.jpg": smooth(1).jpeg({ quality: 90 }).toBuffer(),
    "still.avif": smooth(3).avif({ quality: 90 }).toBuffer(),
  }
  for (let orientation = 2; orientation <= 8; orientation++) {
    made[`turned-${orientation}.jpg`] = smooth(3).jpeg({ quality: 90 }).withMetadata({ orientation }).toBuffer()
  }
  const entries = await Promise.all(Object.entries(made).map(async ([name, bytes]) => [name, await bytes] as const))
  return new Map([...entries, ["cut.png", photo.subarray(0, 30)]])
}
