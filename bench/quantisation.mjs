/**
 * What quantised weights and activations cost in accuracy, for any number of bits and any group: the table of
 * docs/numerics.md, from which q8 was chosen.
 *
 *   npm run build && node bench/quantisation.mjs [--bits 7,8] [--groups 32,64,128] [--ranges symmetric,full,searched]
 *     [--activation-group 64] [--pictures 40] [--only sizes|goldens|tiny] [--weights]
 *
 * Weights and activations are rounded as the scheme says and multiplied as float32, which is the scheme's result but for
 * the rounding of float32 sums; with --weights, activations are left as they are. Everything is compared with the same
 * backend's float32. Activations are rounded in groups as large as the weights', or of --activation-group.
 *
 * - Layers of the real size with the weights of the goldens (evenly spread), with normally distributed ones, and with
 *   activations of which one channel in 200 is twenty times as large as the others, as trained decoders have them.
 * - The random checkpoint of the goldens, stage by stage.
 * - isaac-tiny on drawn pictures: its answers, boxes against the true ones and against those of float32, the loss of the
 *   true answer, and how far its probabilities move (Kullback-Leibler divergence, in nats per token of the answer).
 */

import { readFile } from "node:fs/promises"
import { availableParallelism } from "node:os"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"

const dist = new URL("../dist/", import.meta.url)
const load = (file) => import(new URL(file, dist).href)
const [{ CpuBackend }, { createWasmEngine }, { enableRelaxedSimd, startWorker }] = await Promise.all([
  load("ops/cpu/cpu-backend.js"),
  load("ops/cpu/wasm-engine.js"),
  load("ops/cpu/load-wasm-node.js"),
])
const { openModel, openCheckpoint, nodePlatform, IsaacEngine, IsaacModel } = await load("internal.js")
const { readGoldenCase } = await load("cli/golden-case.js")
const { traceCase } = await load("cli/trace.js")
const { decoderLayer } = await load("model/decoder.js")
const { visionLayer } = await load("model/vision-encoder.js")
const { project } = await load("model/projector.js")
const { inverseFrequencies, ropeTables } = await load("model/mrope.js")

const { values } = parseArgs({
  options: {
    bits: { type: "string", default: "8,7" },
    groups: { type: "string", default: "32,64,128" },
    ranges: { type: "string", default: "symmetric" },
    "activation-group": { type: "string" },
    pictures: { type: "string", default: "40" },
    weights: { type: "boolean", default: false },
    only: { type: "string" },
  },
})
const numbersOf = (list) => list.split(",").map(Number)
const schemes = numbersOf(values.bits).flatMap((bits) =>
  numbersOf(values.groups).flatMap((group) => values.ranges.split(",").map((range) => ({ bits, group, range }))),
)

// ── The scheme ──────────────────────────────────────────────────────────────────────────────────────────────────────

const word = new Float32Array(1)
const wordBits = new Uint32Array(word.buffer)
function bf16(x) {
  word[0] = x
  wordBits[0] = (wordBits[0] + 0x7fff + ((wordBits[0] >>> 16) & 1)) & 0xffff0000
  return word[0]
}

/** Call `fn` with each group of the rows [rows, K] of `x`. */
function eachGroup(x, K, group, fn) {
  for (let row = 0; row < x.length; row += K) {
    for (let start = row; start < row + K; start += group) fn(x.subarray(start, Math.min(start + group, row + K)))
  }
}

/** To whole numbers least … most times a scale, in place. */
function roundGroup(x, scale, least, most) {
  if (scale === 0) return
  for (let i = 0; i < x.length; i++) {
    const steps = Math.max(least, Math.min(x[i] / scale, most))
    x[i] = Math.sign(steps) * Math.floor(Math.abs(steps) + 0.5) * scale
  }
}

/** The number that lies farthest from zero, the first of several. */
const extremeOf = (x) => x.reduce((most, v) => (Math.abs(v) > Math.abs(most) ? v : most), 0)

function roundActivations(x, K, group) {
  eachGroup(x, K, group, (part) => roundGroup(part, Math.abs(extremeOf(part)) / 127, -127, 127))
}

/**
 * How a group of weights finds its scale, for numbers −n … n−1.
 *   symmetric  the farthest weight is ±(n−1), and −n is not used
 *   full       the farthest weight is −n, so scales have either sign
 *   searched   like full, with the scale around it that leaves the least squared error
 */
const RANGES = {
  symmetric: (x, n) => roundGroup(x, bf16(Math.abs(extremeOf(x)) / (n - 1)), 1 - n, n - 1),
  full: (x, n) => roundGroup(x, bf16(-extremeOf(x) / n), -n, n - 1),
  searched: (x, n) => {
    const full = -extremeOf(x) / n
    let [best, least] = [x, Number.POSITIVE_INFINITY]
    for (let i = -8; i <= 4; i++) {
      const tried = x.slice()
      roundGroup(tried, bf16(full * (1 + i / 40)), -n, n - 1)
      const error = tried.reduce((sum, v, k) => sum + (v - x[k]) ** 2, 0)
      if (error < least) [best, least] = [tried, error]
    }
    x.set(best)
  },
}

function roundWeights(x, K, { bits, group, range }) {
  eachGroup(x, K, group, (part) => RANGES[range](part, 2 ** (bits - 1)))
}

/** A backend whose "bf16" weights are quantised by `scheme` (null: kept as float32), and what they are multiplied with. */
class RoundingBackend extends CpuBackend {
  constructor(engine, scheme) {
    super(engine)
    this.memoryOf = engine
    this.scheme = scheme
    this.quantised = new WeakSet()
  }
  loadWeight(bytes, source, shape, stored) {
    const w = this.createWeight(shape, stored)
    this.writeWeight(w, 0, bytes, source)
    return w
  }
  createWeight(shape, stored) {
    const w = super.createWeight(shape, stored === "bf16" ? "f32" : stored)
    if (stored === "bf16" && this.scheme) this.quantised.add(w)
    return w
  }
  writeWeight(w, firstRow, bytes, source) {
    if (!this.quantised.has(w)) {
      super.writeWeight(w, firstRow, bytes, source)
      return
    }
    const numbers = floats(bytes, source)
    roundWeights(numbers, w.shape[1], this.scheme)
    super.writeWeight(w, firstRow, new Uint8Array(numbers.buffer), "F32")
  }
  linear(x, w, options) {
    if (!this.quantised.has(w) || values.weights) return super.linear(x, w, options)
    return this.scope(() => {
      const [T, K] = x.shape
      const rows = Float32Array.from(this.memoryOf.floats(x.pointer, T * K))
      roundActivations(rows, K, Number(values["activation-group"] ?? this.scheme.group))
      return super.linear(this.upload(rows, x.shape), w, options)
    })
  }
}

function floats(bytes, source) {
  const { buffer } = bytes.slice()
  if (source === "F32") return new Float32Array(buffer)
  const halves = new Uint16Array(buffer)
  const out = new Uint32Array(halves.length)
  for (let i = 0; i < halves.length; i++) out[i] = halves[i] << 16
  return new Float32Array(out.buffer)
}

const relaxed = enableRelaxedSimd().on
const file = relaxed ? "kernels-relaxed-simd.wasm" : "kernels-simd128.wasm"
const binary = await readFile(new URL(`ops/cpu/${file}`, dist))
async function createBackend(scheme) {
  const engine = await createWasmEngine({ binary, relaxed, threads: availableParallelism(), startWorker })
  return new RoundingBackend(engine, scheme)
}

// ── Comparing ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** 1 − cosine. */
function distance(a, b) {
  let [ab, aa, bb] = [0, 0, 0]
  for (let i = 0; i < a.length; i++) {
    ab += a[i] * b[i]
    aa += a[i] ** 2
    bb += b[i] ** 2
  }
  return 1 - ab / Math.sqrt(aa * bb)
}

const rows = []
/** Print one line for each scheme: `columns` is a list of [title, text]. */
function report(title, scheme, columns) {
  const name = scheme ? `${scheme.bits} bits, groups of ${scheme.group}, ${scheme.range}` : "float32"
  rows.push({ title, name, columns })
  if (rows.at(-2)?.title !== title) {
    console.log(`\n${title}\n\n| scheme | ${columns.map(([head]) => head).join(" | ")} |`)
    console.log(`|---|${columns.map(() => "---|").join("")}`)
  }
  console.log(`| ${name} | ${columns.map(([, text]) => text).join(" | ")} |`)
}

// ── Layers of the real size ─────────────────────────────────────────────────────────────────────────────────────────

function hash(i, seed) {
  let x = (i + Math.imul(seed, 0x9e3779b9)) | 0
  x = Math.imul(x ^ (x >>> 16), 0x21f0aaad)
  x = Math.imul(x ^ (x >>> 15), 0x735a2d97)
  return (x ^ (x >>> 15)) >>> 0
}
const uniform = (i, seed) => (hash(i, seed) + 0.5) / 2 ** 32
const spreads = {
  "evenly spread": (i, seed) => 2 * uniform(i, seed) - 1,
  // Of the same variance.
  "normally distributed": (i, seed) =>
    Math.sqrt(-2 * Math.log(uniform(i, seed))) * Math.cos(2 * Math.PI * uniform(i, seed + 5000)) * Math.sqrt(1 / 3),
}

async function realSizes() {
  const spec = JSON.parse(await readFile(new URL("../test/fixtures/golden/real-dims/spec.json", import.meta.url)))
  const cases = [
    ["evenly spread", 0],
    ["normally distributed", 0],
    ["normally distributed", 20],
  ]
  for (const [spread, outliers] of cases) {
    const made = new Map()
    const make = (entry, isInput) => {
      if (!made.has(entry)) made.set(entry, generate(entry, isInput))
      return made.get(entry)
    }
    const generate = ({ shape, seed, amplitude, offset }, isInput) => {
      const out = new Float32Array(shape.reduce((a, b) => a * b))
      for (let i = 0; i < out.length; i++) {
        const large = isInput && outliers > 0 && uniform(i % shape.at(-1), seed + 9000) < 1 / 200
        out[i] = offset + amplitude * spreads[spread](i, seed) * (large ? outliers : 1)
      }
      return out
    }
    const run = async (scheme) => {
      const b = await createBackend(scheme)
      const matrix = (name) =>
        b.loadWeight(new Uint8Array(make(spec.weights[name]).buffer), "F32", spec.weights[name].shape, "bf16")
      const tensor = (made, isInput = false) => b.upload(make(made, isInput), made.shape)
      const vector = (name) => tensor(spec.weights[name])
      const linear = (name) => ({ weight: matrix(`${name}.weight`), bias: vector(`${name}.bias`) })
      const norm = (name) => ({ weight: vector(`${name}.weight`), bias: vector(`${name}.bias`) })
      const results = {}

      const v = spec.vision
      const vision = { heads: v.num_attention_heads, layerNormEps: v.layer_norm_eps }
      const name = "vision.layer."
      const weights = {
        norm1: norm(`${name}layer_norm1`),
        query: linear(`${name}self_attn.q_proj`),
        key: linear(`${name}self_attn.k_proj`),
        value: linear(`${name}self_attn.v_proj`),
        out: linear(`${name}self_attn.out_proj`),
        norm2: norm(`${name}layer_norm2`),
        fc1: linear(`${name}mlp.fc1`),
        fc2: linear(`${name}mlp.fc2`),
      }
      vision.headDim = v.hidden_size / vision.heads
      vision.hiddenSize = v.hidden_size
      const patches = tensor(spec.inputs["vision_layer.input"], true)
      results["vision layer"] = await b.read(
        visionLayer(b, b.rows(patches, 768, 908), Int32Array.of(0, 140), weights, vision),
      )

      const input = tensor(spec.inputs["projector.input"], true)
      const up = matrix("projector.1.weight")
      const down = matrix("projector.3.weight")
      results.projector = await b.read(project(b, b.rows(input, 0, 32), { up, down }))
      b.free(up, down)

      const t = spec.text
      const text = {
        hiddenSize: t.hidden_size,
        heads: t.num_attention_heads,
        kvHeads: t.num_key_value_heads,
        headDim: t.head_dim,
        rmsEps: t.rms_norm_eps,
      }
      const layer = "decoder.layer."
      const tokens = t.seq_len
      const positions = Int32Array.from({ length: tokens * 3 }, (_, i) => Math.floor(i / 3))
      const tables = ropeTables(positions, new Int32Array(tokens).fill(1), inverseFrequencies(t.head_dim, t.rope_theta))
      const kv = b.createKv({ layers: 1, kvHeads: text.kvHeads, headDim: text.headDim, maxTokens: tokens })
      const decoder = {
        inputNorm: vector(`${layer}input_layernorm.weight`),
        query: matrix(`${layer}self_attn.q_proj.weight`),
        key: matrix(`${layer}self_attn.k_proj.weight`),
        value: matrix(`${layer}self_attn.v_proj.weight`),
        out: matrix(`${layer}self_attn.o_proj.weight`),
        queryNorm: vector(`${layer}self_attn.q_norm.weight`),
        keyNorm: vector(`${layer}self_attn.k_norm.weight`),
        postNorm: vector(`${layer}post_attention_layernorm.weight`),
        gate: matrix(`${layer}mlp.gate_proj.weight`),
        up: matrix(`${layer}mlp.up_proj.weight`),
        down: matrix(`${layer}mlp.down_proj.weight`),
      }
      const x = tensor(spec.inputs["decoder_layer.input"], true)
      const out = decoderLayer(b, x, 0, decoder, text, {
        cos: b.upload(tables.cos, [tokens, text.headDim]),
        sin: b.upload(tables.sin, [tokens, text.headDim]),
        kv,
        sequences: [{ slot: 0, start: 0, length: tokens }],
      })
      // What the layer adds: the input alone would make any layer look exact.
      const [after, before] = await Promise.all([b.read(out), b.read(x)])
      results["decoder layer"] = after.map((y, i) => y - before[i])
      await b.dispose()
      return results
    }
    const exact = await run(null)
    const title = `Layers of the real size, weights ${spread}${outliers ? `, outliers in the activations` : ""}: 1 − cosine`
    for (const scheme of schemes) {
      const got = await run(scheme)
      report(
        title,
        scheme,
        Object.keys(exact).map((key) => [key, distance(got[key], exact[key]).toExponential(1)]),
      )
    }
  }
}

// ── The random checkpoint of the goldens ────────────────────────────────────────────────────────────────────────────

const STAGES = ["vision_layer_1", "vision_projector", "decoder_layer_2", "final_norm", "logits"]

async function goldens() {
  const folder = new URL("../test/fixtures/golden/random-tiny/", import.meta.url)
  const { cases } = JSON.parse(await readFile(new URL("cases/index.json", folder)))
  const run = async (scheme) => {
    const backend = await createBackend(scheme)
    const checkpoint = await openCheckpoint(await openModel(fileURLToPath(folder)))
    const model = await IsaacModel.load(checkpoint, backend, { stored: "bf16", maxContext: 1024 })
    const results = Object.fromEntries(STAGES.map((stage) => [stage, []]))
    for (const { file } of cases) {
      const golden = await readGoldenCase(fileURLToPath(new URL(`cases/${file}`, folder)), model.config.vision)
      const trace = await traceCase(model, golden)
      for (const stage of STAGES) results[stage].push(...(trace[stage]?.data ?? []))
    }
    await checkpoint.close()
    await backend.dispose()
    return results
  }
  const exact = await run(null)
  for (const scheme of schemes) {
    const got = await run(scheme)
    const title = `random-tiny, all cases of the goldens together, widths of 24 to 96: 1 − cosine`
    report(
      title,
      scheme,
      STAGES.map((stage) => [stage, distance(got[stage], exact[stage]).toExponential(1)]),
    )
  }
}

// ── isaac-tiny ──────────────────────────────────────────────────────────────────────────────────────────────────────

const COLOURS = {
  red: [220, 40, 40],
  green: [40, 160, 60],
  blue: [40, 80, 220],
  yellow: [240, 210, 50],
  purple: [140, 60, 170],
  black: [20, 20, 20],
}
/** Whether a point, −1 … 1 from the centre, is inside. */
const SHAPES = {
  circle: (x, y) => x * x + y * y <= 1,
  square: () => true,
  diamond: (x, y) => Math.abs(x) + Math.abs(y) <= 1,
  triangle: (x, y) => y >= 2 * Math.abs(x) - 1,
}

/** A picture of three shapes that do not touch, no two of one name, from a seed. */
function drawPicture(seed) {
  let n = 0
  const choose = (limit) => hash(n++, seed) % limit
  const [width, height] = [192 + 32 * choose(3), 192 + 32 * choose(3)]
  const data = new Uint8Array(width * height * 3).fill(255)
  const objects = []
  while (objects.length < 3) {
    const half = 18 + choose(18)
    const [x, y] = [half + choose(width - 2 * half), half + choose(height - 2 * half)]
    const colour = Object.keys(COLOURS)[choose(6)]
    const shape = Object.keys(SHAPES)[choose(4)]
    const name = `${colour} ${shape}`
    const touches = (o) => Math.abs(o.x - x) < o.half + half + 4 && Math.abs(o.y - y) < o.half + half + 4
    if (objects.some((o) => o.name === name || touches(o))) continue
    objects.push({ name, colour, shape, x, y, half })
    for (let py = y - half; py < y + half; py++) {
      for (let px = x - half; px < x + half; px++) {
        if (!SHAPES[shape]((px + 0.5 - x) / half, (py + 0.5 - y) / half)) continue
        data.set(COLOURS[colour], (py * width + px) * 3)
      }
    }
  }
  const thousand = (at, side) => Math.round((at / side) * 200) * 5
  for (const o of objects) {
    o.box = [o.x - o.half, o.y - o.half, o.x + o.half, o.y + o.half].map((at, i) =>
      thousand(at, i % 2 ? height : width),
    )
  }
  return { image: { width, height, data }, objects }
}

/** How every answer of isaac-tiny begins. */
const NO_REASONING = "<think>\n\n</think>\n\n"
const tags = ([x1, y1, x2, y2], name) => `<point_box mention="${name}"> (${x1},${y1}) (${x2},${y2}) </point_box>`

/** Questions about a picture, each with the true answer. */
function questionsAbout(seed) {
  const { image, objects } = drawPicture(seed)
  const shape = objects[2].shape
  const count = objects.filter((o) => o.shape === shape).length
  return [
    ...objects.slice(0, 2).map((o) => ({
      image,
      expect: "box",
      question: `Where is the ${o.name}?`,
      truth: tags(o.box, o.name),
      box: o.box,
    })),
    { image, expect: "text", question: `How many ${shape}s are there?`, truth: String(count) },
  ]
}

function iou(a, b) {
  if (!a) return 0
  const side = (i) => Math.max(0, Math.min(a[i + 2], b[i + 2]) - Math.max(a[i], b[i]))
  const area = (c) => (c[2] - c[0]) * (c[3] - c[1])
  const both = side(0) * side(1)
  return both / (area(a) + area(b) - both)
}

async function tiny() {
  const stored = JSON.parse(await readFile(new URL("../models/isaac-tiny/samples/samples.json", import.meta.url)))
  const folder = new URL("../models/isaac-tiny/samples/", import.meta.url)
  const samples = await Promise.all(
    stored.map(async (s) => ({
      sample: true,
      image: { name: s.image, data: await readFile(new URL(s.image, folder)) },
      file: new URL(s.image, folder),
      prompt: s.prompt,
      truth: s.expected,
      stored: s.answer,
    })),
  )
  const drawn = Array.from({ length: Number(values.pictures) }, (_, i) => questionsAbout(1000 + i)).flat()

  const run = async (scheme) => {
    const platform = {
      ...nodePlatform(),
      selectBackend: async () => ({ backend: await createBackend(scheme), refused: [] }),
    }
    const engine = await IsaacEngine.load(await openModel("tiny"), platform, { dtype: "bf16" })
    const b = engine.model.backend
    const answers = []
    for (const q of [...samples, ...drawn]) {
      // 1. The model's own answer.
      const image = q.file ?? q.image
      const hint = q.expect === "box" ? "<|im_start|>user\n<hint>BOX</hint><|im_end|>\n" : ""
      const prompt =
        q.prompt ??
        `${hint}<|im_start|>user\n<image><|im_end|>\n<|im_start|>user\n${q.question}<|im_end|>\n<|im_start|>assistant\n`
      const inputs = await engine.processor({ text: prompt, images: [image] })
      let text = ""
      for await (const token of engine.generate(inputs, { maxNewTokens: 160, temperature: 0 })) text += token.text
      const found = /\((\d+),(\d+)\) \((\d+),(\d+)\)/.exec(text)
      // 2. How likely the true answer is.
      const whole = await engine.processor({ text: `${prompt}${NO_REASONING}${q.truth}<|im_end|>`, images: [image] })
      const start = inputs.inputIds.length
      const answer = text.replace(NO_REASONING, "")
      const { logits } = engine.model.forward({ tensorStream: whole.tensorStream, logits: "all" })
      const V = logits.shape.at(-1)
      const flat = b.reshape(logits, [whole.inputIds.length, V])
      const normal = b.logSoftmax(b.rows(flat, start - 1, whole.inputIds.length - 1))
      const logProbabilities = await b.read(normal)
      b.free(normal, logits)
      answers.push({
        text: answer,
        box: found?.slice(1).map(Number),
        logProbabilities,
        ids: whole.inputIds.slice(start),
        V,
      })
    }
    await engine.dispose()
    return answers
  }

  const exact = await run(null)
  const describe = (got) => {
    let [tokens, loss, divergence, sameTop, equal, equalStored, boxes, overlap, agreement] = Array(9).fill(0)
    const questions = [...samples, ...drawn]
    for (const [i, { text, box, logProbabilities: p, ids, V }] of got.entries()) {
      const { logProbabilities: p0, text: text0, box: box0 } = exact[i]
      const { box: truth, stored } = questions[i]
      if (text === text0) equal++
      if (text === stored) equalStored++
      if (truth) {
        boxes++
        overlap += iou(box, truth)
        agreement += box0 ? iou(box, box0) : 0
      }
      for (const [t, id] of ids.entries()) {
        const [row, row0] = [p, p0].map((x) => x.subarray(t * V, (t + 1) * V))
        tokens++
        loss -= row[id]
        for (let v = 0; v < V; v++) divergence += Math.exp(row0[v]) * (row0[v] - row[v])
        if (row.indexOf(Math.max(...row)) === row0.indexOf(Math.max(...row0))) sameTop++
      }
    }
    return [
      ["loss of the true answers", (loss / tokens).toFixed(5)],
      ["divergence", (divergence / tokens).toExponential(1)],
      ["same best token", `${((100 * sameTop) / tokens).toFixed(2)} %`],
      ["same answers", `${equal} of ${got.length}`],
      ["12 stored answers", String(equalStored)],
      ["IoU with the truth", (overlap / boxes).toFixed(4)],
      ["with float32's boxes", (agreement / boxes).toFixed(4)],
    ]
  }
  const title = `isaac-tiny, ${samples.length} samples and ${drawn.length} questions about ${values.pictures} pictures`
  report(title, null, describe(exact))
  for (const scheme of schemes) report(title, scheme, describe(await run(scheme)))
}

const parts = { sizes: realSizes, goldens, tiny }
for (const [name, part] of Object.entries(parts)) if (!values.only || values.only === name) await part()
