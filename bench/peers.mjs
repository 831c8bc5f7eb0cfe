/**
 * Isaac beside what else runs such a model on this machine: llama.cpp, ONNX Runtime and, where Python has it, PyTorch, each
 * on random weights of the decoder's shape. Prints tables and writes them into docs/performance.md.
 *
 *   npm run bench -- [--only isaac,llama,ort,torch] [--backends native,wasm] [--dtypes q4,q8]
 *                    [--measure text,vision,large,long] [--rounds 2] [--threads 2] [--quick] [--no-write]
 *                    [--keep DIR] [--cli FILE] [--patience 30] [--clock wall|processor]
 *
 * Each subject is measured in a process of its own, in turn, round after round, so that what else the machine does hits
 * all alike; the best round counts. The models take 14 GB of disk in --keep (default: node_modules/.cache/isaac-bench),
 * written once. --quick computes 4 of the 28 layers and multiplies: good for a look, not written into the page.
 *
 * A machine that is busy with other work makes any number wrong, and two threads that wait for each other most of all. Each
 * measurement waits for a calm moment (--patience, seconds). Where none comes, `--threads 1 --clock processor` counts
 * processor time of one thread: slower than the machine is, but the ratios hold.
 */

import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, readdirSync, readFileSync, statfsSync, writeFileSync } from "node:fs"
import { availableParallelism, cpus, totalmem } from "node:os"
import { dirname, join, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { answerOf, busy, calm, keepBest } from "./peers/children.mjs"
import { ggufHeader, writeGguf } from "./peers/gguf.mjs"
import { goals } from "./peers/goals.mjs"
import { onnxDecoder, writeOnnx } from "./peers/onnx.mjs"
import { measuredSection, replaceSection } from "./peers/report.mjs"
import { decoder, decoderNumbers, vision, visionWork } from "./peers/shape.mjs"

const root = fileURLToPath(new URL("..", import.meta.url))
const peers = join(root, "bench/peers")
const page = join(root, "docs/performance.md")
const PROMPT = 512
const STEPS = 64
const BATCH = 8
const QUICK_LAYERS = 4

const { values } = parseArgs({
  allowNegative: true,
  options: {
    only: { type: "string", default: "isaac,llama,ort,torch" },
    backends: { type: "string", default: "native,wasm" },
    dtypes: { type: "string", default: "q4,q8" },
    measure: { type: "string", default: "text,vision,large,long" },
    rounds: { type: "string", default: "2" },
    threads: { type: "string", default: String(Math.min(2, availableParallelism())) },
    quick: { type: "boolean", default: false },
    write: { type: "boolean", default: true },
    keep: { type: "string", default: join(root, "node_modules/.cache/isaac-bench") },
    cli: { type: "string", default: join(root, "bin/isaac.js") },
    patience: { type: "string", default: "30" },
    clock: { type: "string", default: "wall" },
  },
})
const list = (text) => text.split(",").filter((word) => word !== "")
const [only, backends, dtypes, measures] = [values.only, values.backends, values.dtypes, values.measure].map(list)
const threads = Number(values.threads)
const layers = values.quick ? QUICK_LAYERS : decoder.layers
const shape = { ...decoder, layers }
const folder = resolve(values.keep)
const dist = join(dirname(resolve(values.cli)), "../dist")
const say = (text) => process.stderr.write(`${text}\n`)
const gigabytes = (bytes) => `${(bytes / 1e9).toFixed(1)} GB`

// ---- The peers' packages.

/** Installs what bench/peers/package.json names, and llama.cpp's binary for this platform; nothing is built or run. */
function installPeers() {
  const { dependencies } = JSON.parse(readFileSync(join(peers, "package.json"), "utf8"))
  const system = { linux: "linux", darwin: "mac", win32: "win" }[process.platform]
  const metal = process.platform === "darwin" && process.arch === "arm64" ? "-metal" : ""
  const binary = `@node-llama-cpp/${system}-${process.arch}${metal}`
  const wanted = { ...dependencies, [binary]: dependencies["node-llama-cpp"] }
  const has = ([name, version]) => {
    const manifest = join(peers, "node_modules", name, "package.json")
    return existsSync(manifest) && JSON.parse(readFileSync(manifest, "utf8")).version === version
  }
  if (Object.entries(wanted).every(has)) return
  say("Installing llama.cpp and ONNX Runtime into bench/peers/node_modules …")
  const flags = "--ignore-scripts --no-audit --no-fund --no-package-lock --no-save --omit=optional --loglevel=error"
  const packages = [...flags.split(" "), `${binary}@${wanted[binary]}`]
  execFileSync("npm", ["install", ...packages], { cwd: peers, stdio: "inherit", shell: process.platform === "win32" })
}

// ---- Models on disk.

/** Bytes that the models still to be written will take. */
function checkDisk(models) {
  const missing = models.filter(({ path, stamp }) => !existsSync(path) || (stamp && stampOf(path) !== stamp))
  const needed = missing.reduce((sum, { bytes }) => sum + bytes, 0)
  mkdirSync(folder, { recursive: true })
  const { bavail, bsize } = statfsSync(folder)
  if (needed + 1e9 > bavail * bsize) {
    const free = gigabytes(bavail * bsize)
    throw new Error(
      `The models take ${gigabytes(needed)} and ${folder} has ${free} left. Name another folder with --keep.`,
    )
  }
  if (needed > 0) say(`Models of ${gigabytes(needed)} go to ${folder}.`)
  return missing
}

const stampOf = (path) => (existsSync(`${path}.stamp`) ? readFileSync(`${path}.stamp`, "utf8") : undefined)

/** What decides how converted weights look: another program converts again. */
function converterStamp() {
  const hash = createHash("sha256")
  for (const part of ["weights", "ops", "model"]) {
    const code = readdirSync(join(dist, part)).filter((file) => file.endsWith(".js"))
    for (const file of code.sort()) hash.update(readFileSync(join(dist, part, file)))
  }
  return hash.digest("hex").slice(0, 16)
}

const isaac = (...args) => execFileSync(process.execPath, [values.cli, ...args], { stdio: ["ignore", 2, 2] })
/** Node's arguments before the program's. */
const clock =
  values.clock === "processor" ? ["--import", new URL("peers/processor-clock.mjs", import.meta.url).href] : []
if (clock.length > 0 && threads !== 1)
  throw new Error("--clock processor needs --threads 1: it would add up the threads' time.")
const suffix = values.quick ? `-${QUICK_LAYERS}-layers` : ""
const place = (name) => join(folder, name)

/** What a subject needs before it runs; `path` is there when `write` has been called. */
const ggufModel = (stored) => {
  const path = place(`decoder${suffix}-${stored}.gguf`)
  return { path, bytes: ggufHeader(stored, shape).bytes, write: () => writeGguf(path, stored, shape) }
}
function onnxModel() {
  const path = place(`decoder${suffix}.onnx`)
  return { path, bytes: onnxDecoder("", shape).bytes, write: () => writeOnnx(path, shape) }
}
function isaacModels() {
  const source = place(`isaac${suffix}-bf16`)
  const cut = values.quick ? ["--layers", String(QUICK_LAYERS)] : []
  const size = layers / decoder.layers
  const stamp = converterStamp()
  return [
    {
      path: source,
      bytes: 5.2e9 * (0.3 + 0.7 * size),
      write: () => isaac("synth", "--preset", "isaac-0.1", "--dtype", "bf16", ...cut, "--out", source),
    },
    ...dtypes.map((dtype) => {
      const path = place(`isaac${suffix}-${dtype}`)
      return {
        path,
        stamp,
        bytes: (dtype === "q4" ? 1.8e9 : 2.9e9) * (0.3 + 0.7 * size),
        write: () => {
          isaac("convert", source, "--dtype", dtype, "--out", path)
          writeFileSync(`${path}.stamp`, stamp)
        },
      }
    }),
  ]
}

// ---- Subjects: what runs, how it is asked, what of its answer counts.

/** `runs`: [measure it belongs to, command, answer → numbers, rounds]. */
function isaacSubject(backend, dtype) {
  const model = place(`isaac${suffix}-${dtype}`)
  const bench = (...flags) => [
    values.cli,
    ...["bench", "--model", model, "--backend", backend, "--dtype", dtype, "--threads", String(threads)],
    ...flags,
    "--json",
  ]
  const picture = (size) => bench("--image", size, "--prompt-tokens", "16", "--new-tokens", "1", "--runs", "1")
  // A picture of so many patches takes minutes in WebAssembly: once is enough.
  const once = backend === "wasm" ? 1 : undefined
  return {
    key: `isaac-${backend}-${dtype}`,
    label: `isaac, ${backend === "wasm" ? "WebAssembly" : backend}, ${dtype === "q4" ? "int4" : "int8"}`,
    ours: true,
    backend,
    bytesPerNumber: dtype === "q4" ? 0.5 + 2 / 64 : 1 + 2 / 64,
    runs: [
      {
        measure: "text",
        command: bench(
          "--prompt-tokens",
          `${PROMPT}`,
          "--new-tokens",
          `${STEPS + 1}`,
          "--batch",
          `${BATCH}`,
          "--runs",
          "2",
        ),
        take: ({ prefill_tok_s, decode_tok_s, batch_decode_tok_s, load_s, peak_rss_bytes, isa }) => {
          return { prefill_tok_s, decode_tok_s, batch_decode_tok_s, load_s, peak_rss_bytes, isa }
        },
      },
      { measure: "vision", command: picture("480x640"), take: ({ vision_ms }) => ({ vision_ms }) },
      {
        measure: "large",
        command: picture("1024x1536"),
        rounds: once,
        take: ({ vision_ms }) => ({ large_vision_ms: vision_ms }),
      },
      {
        measure: "long",
        command: bench("--prompt-tokens", "2048", "--new-tokens", "2", "--runs", "1"),
        rounds: 1,
        take: ({ peak_rss_bytes }) => ({ long_peak_rss_bytes: peak_rss_bytes }),
      },
    ],
  }
}

function llamaSubject(stored, key, label) {
  const model = ggufModel(stored)
  const settings = { threads, prompt: PROMPT, steps: STEPS, batch: BATCH, repeat: 2 }
  const command = [join(peers, "llama-run.mjs"), model.path, JSON.stringify(settings)]
  return { key, label, models: [model], runs: [{ measure: "text", command, take: (answer) => answer }] }
}

function ortSubject() {
  const model = onnxModel()
  const settings = { threads, prompt: PROMPT, steps: STEPS, repeat: 2, shape }
  const command = [join(peers, "onnx-run.mjs"), model.path, JSON.stringify(settings)]
  const take = (answer) => answer
  return { key: "ort", label: "ONNX Runtime, int4", models: [model], runs: [{ measure: "text", command, take }] }
}

function torchSubject() {
  const python = process.platform === "win32" ? "python" : "python3"
  try {
    execFileSync(python, ["-c", "import torch"], { stdio: "ignore" })
  } catch {
    return undefined
  }
  const run = (measure, take) => {
    const settings = {
      measure,
      threads,
      clock: values.clock,
      prompt: PROMPT,
      steps: 16,
      decoder: shape,
      vision: { ...vision, layers: visionLayers },
    }
    return { measure, program: python, command: [join(peers, "torch-decoder.py"), JSON.stringify(settings)], take }
  }
  return {
    key: "torch",
    label: "PyTorch, bf16",
    models: [],
    runs: [
      run("text", (answer) => answer),
      run("vision", ({ vision_ms, version }) => ({ vision_ms, version })),
      { ...run("large", ({ vision_ms, version }) => ({ large_vision_ms: vision_ms, version })), rounds: 1 },
    ],
  }
}

const visionLayers = values.quick ? QUICK_LAYERS : vision.layers

/** With --quick, what the whole model would take by what it has to read (decode) or to multiply (all else). */
function scaled(answer) {
  if (!values.quick) return answer
  const whole = { ...answer }
  const read = decoderNumbers(shape) / decoderNumbers(decoder)
  for (const name of ["decode_tok_s", "batch_decode_tok_s"]) if (whole[name]) whole[name] *= read
  if (whole.prefill_tok_s) whole.prefill_tok_s *= layers / decoder.layers
  const pictures = [
    ["vision_ms", 1200],
    ["large_vision_ms", 6144],
  ]
  for (const [name, patches] of pictures) {
    if (whole[name]) whole[name] *= visionWork(vision.layers, patches) / visionWork(visionLayers, patches)
  }
  for (const name of ["load_s", "peak_rss_bytes", "long_peak_rss_bytes"]) delete whole[name]
  return whole
}

// ---- Running.

const skipped = []
const subjects = []
if (only.includes("isaac")) {
  for (const backend of backends) for (const dtype of dtypes) subjects.push(isaacSubject(backend, dtype))
}
if (only.includes("llama")) {
  subjects.push(llamaSubject("Q4_0", "llama-q4", "llama.cpp Q4_0"), llamaSubject("Q8_0", "llama-q8", "llama.cpp Q8_0"))
}
if (only.includes("ort")) subjects.push(ortSubject())
if (only.includes("torch")) {
  const torch = torchSubject()
  if (torch) subjects.push(torch)
  else skipped.push("PyTorch: this machine's python3 does not have it")
}

if (!existsSync(join(dist, "cli/bench.js"))) throw new Error(`${dist} has no isaac bench: run "npm run build" first.`)

// 1. What is needed.
if (only.includes("llama") || only.includes("ort")) installPeers()
const models = [...(only.includes("isaac") ? isaacModels() : []), ...subjects.flatMap(({ models }) => models ?? [])]
for (const { path, write } of checkDisk(models)) {
  say(`Writing ${path} …`)
  write()
}

// 2. What the machine can do.
const limits = {}
for (const backend of only.includes("isaac") ? backends : []) {
  try {
    const command = [...clock, join(peers, "limits-run.mjs"), dist, backend, String(threads)]
    limits[backend] = await answerOf(process.execPath, command, root)
  } catch (error) {
    skipped.push(`limits of ${backend}: ${error.message}`)
  }
}

// 3. Rounds: every subject in turn.
const disturbance = []
for (const measure of measures) {
  for (let round = 1; round <= Number(values.rounds); round++) {
    for (const subject of subjects) {
      const run = subject.runs.find((run) => run.measure === measure)
      if (!run || subject.failed || run.failed || round > (run.rounds ?? Number.POSITIVE_INFINITY)) continue
      disturbance.push(clock.length > 0 ? await busy() : await calm(Number(values.patience)))
      try {
        const [program, before] = run.program ? [run.program, []] : [process.execPath, clock]
        const answer = scaled(run.take(await answerOf(program, [...before, ...run.command], root)))
        subject.best ??= {}
        keepBest(subject.best, answer)
        say(`${measure} ${round}, ${subject.label}: ${JSON.stringify(answer)}`)
      } catch (error) {
        // What fails at once can do nothing else either.
        if (subject.best) run.failed = true
        else subject.failed = true
        skipped.push(`${subject.label} (${measure}): ${error.message}`)
        say(`${subject.label}: ${error.message}`)
      }
    }
  }
}

// 4. Tables.
const measured = subjects.filter(({ best }) => best)
const section = measuredSection({
  measured,
  limits,
  goals: goals.filter(({ unit }) => clock.length === 0 || unit === "×"),
  skipped,
  facts: {
    date: new Date().toISOString().slice(0, 10),
    machine: `${cpus()[0].model.trim()}, ${cpus().length} cores, ${gigabytes(totalmem())} of memory`,
    node: process.versions.node,
    threads,
    clock: values.clock,
    prompt: PROMPT,
    steps: STEPS,
    rounds: Number(values.rounds),
    busy: disturbance.reduce((a, b) => a + b, 0) / Math.max(1, disturbance.length),
    layers: values.quick ? QUICK_LAYERS : undefined,
  },
})
console.log(section)
const [ours, others] = [measured.some((subject) => subject.ours), measured.some((subject) => !subject.ours)]
if (values.write && !values.quick && ours && others) {
  writeFileSync(page, replaceSection(readFileSync(page, "utf8"), section))
  say(`Written into ${page}.`)
}
