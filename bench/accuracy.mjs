// What the storage types of weights and of keys and values cost in accuracy, on the path that everybody uses: the second
// table of "Quantised weights" in docs/numerics.md. `npm run build && node bench/accuracy.mjs [--pictures 60]
// [--backend wasm] [--only tiny|goldens|layers]`. Takes some minutes.
//
// isaac-tiny answers five questions about each drawn picture, and the questions of its twelve samples. Its weights are
// stored as bfloat16, so f32 and bf16 are the same model there.
//   loss      mean negative log-likelihood of the true answer's tokens, in nats
//   right     answers that are the true one, of those that name no place
//   IoU       of the box with the true one; with the one that float32 answers
//   same      answers that are letter for letter those of float32
// The goldens and the layers of the real size say how far each stage turns away: 1 − cosine with the reference's numbers.

import { readFile } from "node:fs/promises"
import { parseArgs } from "node:util"
import { iou, questionsAbout } from "./drawn-questions.mjs"

const dist = new URL("../dist/", import.meta.url)
const load = (file) => import(new URL(file, dist).href)
const { createEvent, imageToEvent, IsaacEngine, IsaacModel, nodePlatform, openCheckpoint, openFile, openModel } =
  await load("internal.js")
const { readSafetensorsHeader, selectBackend, Stream, TensorStream } = await load("internal.js")

const { values } = parseArgs({
  options: {
    pictures: { type: "string", default: "60" },
    backend: { type: "string", default: "auto" },
    only: { type: "string" },
  },
})
const wanted = (part) => values.only === undefined || values.only === part

/** How weights, and keys and values, are kept. The first is what the others are compared with. */
const STORED = [
  { dtype: "f32", kvDtype: "f32" },
  { dtype: "f32", kvDtype: "bf16" },
  { dtype: "f32", kvDtype: "int8" },
  { dtype: "bf16", kvDtype: "f32" },
  { dtype: "q8", kvDtype: "f32" },
  { dtype: "q8", kvDtype: "bf16" },
  { dtype: "q8", kvDtype: "int8" },
  { dtype: "q4", kvDtype: "f32" },
  { dtype: "q4", kvDtype: "bf16" },
  { dtype: "q4", kvDtype: "int8" },
]

function table(title, head, rows) {
  console.log(`\n${title}\n\n| ${head.join(" | ")} |\n|${head.map(() => "---|").join("")}`)
  for (const row of rows) console.log(`| ${row.join(" | ")} |`)
}

/** 1 − cosine. */
function turn(a, b) {
  let [ab, aa, bb] = [0, 0, 0]
  for (let i = 0; i < a.length; i++) {
    ab += a[i] * b[i]
    aa += a[i] ** 2
    bb += b[i] ** 2
  }
  return Math.max(0, 1 - ab / Math.sqrt(aa * bb))
}

const power = (x) => (x === 0 ? "0" : x.toExponential(0))

// ── isaac-tiny ──────────────────────────────────────────────────────────────────────────────────────────────────────

async function questions() {
  const folder = new URL("../models/isaac-tiny/samples/", import.meta.url)
  const samples = JSON.parse(await readFile(new URL("samples.json", folder), "utf8"))
  const given = samples.map(({ image, question, hint, expected, answer }) => ({
    image: new URL(image, folder),
    question,
    expect: hint?.toLowerCase() ?? "text",
    truth: expected,
    stored: answer,
  }))
  return [...given, ...Array.from({ length: Number(values.pictures) }, (_, i) => questionsAbout(1000 + i)).flat()]
}

/** How every answer of isaac-tiny begins. */
const NO_REASONING = "<think>\n\n</think>\n\n"

async function answersOf(asked, { dtype, kvDtype }) {
  const options = { dtype, kvDtype, backend: values.backend }
  const engine = await IsaacEngine.load(await openModel("tiny"), nodePlatform(), options)
  const { model } = engine
  const answers = []
  for (const { image, question, expect, truth } of asked) {
    // 1. The model's own answer.
    let answer
    for await (const event of engine.ask([image], question, { expect, maxNewTokens: 160 })) {
      if (event.type === "final") answer = event.answer
    }
    // 2. How likely it holds the true one to be.
    const hint = expect === "text" ? "" : `<|im_start|>user\n<hint>${expect.toUpperCase()}</hint><|im_end|>\n`
    const turns = `<|im_start|>user\n<image><|im_end|>\n<|im_start|>user\n${question}<|im_end|>\n<|im_start|>assistant\n`
    const prompt = await engine.processor({ text: hint + turns, images: [image] })
    const whole = await engine.processor({
      text: `${hint}${turns}${NO_REASONING}${truth}<|im_end|>`,
      images: [image],
    })
    const [start, end] = [prompt.inputIds.length, whole.inputIds.length]
    const labels = whole.inputIds.map((id, i) => (i < start ? -100 : id))
    const { loss } = model.forward({ tensorStream: whole.tensorStream, labels, logits: "none" })
    const [box] = answer.points.filter(({ type }) => type === "box")
    answers.push({
      text: answer.text,
      box: box && [box.x1, box.y1, box.x2, box.y2],
      loss: (await loss) * (end - start),
      tokens: end - start,
    })
  }
  await engine.dispose()
  return answers
}

async function tiny() {
  const asked = await questions()
  const all = []
  for (const stored of STORED) all.push(await answersOf(asked, stored))
  const [exact] = all
  const mean = (list) => list.reduce((a, b) => a + b, 0) / list.length
  const rows = all.map((answers, i) => {
    const places = asked.flatMap(({ box }, q) => (box ? [q] : []))
    const words = asked.flatMap(({ expect }, q) => (expect === "text" ? [q] : []))
    const samples = asked.flatMap(({ stored }, q) => (stored === undefined ? [] : [q]))
    const loss = answers.reduce((sum, a) => sum + a.loss, 0) / answers.reduce((sum, a) => sum + a.tokens, 0)
    const count = (list, same) => `${list.filter(same).length} of ${list.length}`
    return [
      STORED[i].dtype,
      STORED[i].kvDtype,
      loss.toFixed(4),
      count(words, (q) => answers[q].text === asked[q].truth),
      mean(places.map((q) => iou(answers[q].box, asked[q].box))).toFixed(4),
      mean(places.map((q) => iou(answers[q].box, exact[q].box))).toFixed(4),
      count([...asked.keys()], (q) => answers[q].text === exact[q].text),
      count(samples, (q) => answers[q].text === asked[q].stored),
    ]
  })
  const title = `isaac-tiny, ${asked.length} questions`
  table(
    title,
    [
      "weights",
      "keys, values",
      "loss",
      "right",
      "IoU with the truth",
      "IoU with f32",
      "same",
      "same as stored samples",
    ],
    rows,
  )
}

// ── Goldens ─────────────────────────────────────────────────────────────────────────────────────────────────────────

const golden = (path) => new URL(`../test/fixtures/golden/${path}`, import.meta.url)

/** Tensors of a file of goldens: name → {shape, data}, numbers as float32 and ids as int32. */
async function readGolden(path) {
  const source = await openFile(golden(path).pathname)
  const { tensors } = await readSafetensorsHeader(source)
  const out = new Map()
  for (const { name, dtype, shape, offset, bytes } of tensors.values()) {
    const { buffer } = (await source.read(offset, bytes)).slice()
    const data =
      dtype === "F32"
        ? new Float32Array(buffer)
        : dtype === "F64"
          ? Float32Array.from(new Float64Array(buffer))
          : dtype === "I64"
            ? Int32Array.from(new BigInt64Array(buffer), Number)
            : dtype === "I32"
              ? new Int32Array(buffer)
              : new Uint8Array(buffer)
    out.set(name, { shape, data })
  }
  await source.close()
  return out
}

const STAGES = [
  "vision_layer_0",
  "vision_layer_1",
  "vision_post_layernorm",
  "vision_projector",
  "decoder_layer_0",
  "decoder_layer_1",
  "decoder_layer_2",
  "final_norm",
  "logits",
]

/** The largest turn of each stage over the cases of one batch row. */
async function stagesOf(folder, { dtype, kvDtype }) {
  const { backend } = await selectBackend({ backend: values.backend })
  const checkpoint = await openCheckpoint(await openModel(golden(folder).pathname))
  const model = await IsaacModel.load(checkpoint, backend, { stored: dtype, kvStored: kvDtype })
  await checkpoint.close()
  const { cases } = JSON.parse(await readFile(golden(`${folder}/cases/index.json`), "utf8"))
  const worst = new Map()
  for (const { name, file, streams, max_sequence_length: limit, slice } of cases) {
    if (streams.length > 1 || limit !== null || slice !== null) continue
    const want = await readGolden(`${folder}/cases/${file ?? `${name}.safetensors`}`)
    const events = streams[0].map((event, time) => {
      if (event.type !== "image") return createEvent({ type: event.type, time, data: event.tokens })
      const { data, shape } = want.get(`image_${event.image}`)
      return imageToEvent({ height: shape[0], width: shape[1], data }, model.config.vision, time)
    })
    const seen = new Map()
    const { logits } = model.forward(
      { tensorStream: new TensorStream([new Stream(events, ["text", "image"])]) },
      { onStage: (stage, tensor) => seen.set(stage, backend.read(tensor)) },
    )
    backend.free(logits)
    for (const stage of STAGES) {
      if (!want.has(stage) || !seen.has(stage)) continue
      worst.set(stage, Math.max(worst.get(stage) ?? 0, turn(await seen.get(stage), want.get(stage).data)))
    }
  }
  await backend.dispose()
  return worst
}

async function goldens() {
  for (const folder of ["random-tiny", "random-tiny-bf16"]) {
    const rows = []
    for (const stored of STORED) {
      const worst = await stagesOf(folder, stored)
      rows.push([stored.dtype, stored.kvDtype, ...STAGES.map((stage) => power(worst.get(stage) ?? Number.NaN))])
    }
    const names = STAGES.map((stage) => stage.replaceAll("_", " "))
    table(`${folder}: 1 − cosine with the reference`, ["weights", "keys, values", ...names], rows)
  }
}

// ── Layers of the real size ─────────────────────────────────────────────────────────────────────────────────────────

function hash(i, seed) {
  let x = (i + Math.imul(seed, 0x9e3779b9)) | 0
  x = Math.imul(x ^ (x >>> 16), 0x21f0aaad)
  x = Math.imul(x ^ (x >>> 15), 0x735a2d97)
  return (x ^ (x >>> 15)) >>> 0
}

function generate({ shape, seed, amplitude, offset }) {
  const out = new Float32Array(shape.reduce((a, b) => a * b))
  for (let i = 0; i < out.length; i++) out[i] = offset + ((hash(i, seed) >>> 8) / 2 ** 24 - 0.5) * 2 * amplitude
  return out
}

async function layers() {
  const { decoderLayer } = await load("model/decoder.js")
  const { visionLayer } = await load("model/vision-encoder.js")
  const { project } = await load("model/projector.js")
  const { inverseFrequencies, ropeTables } = await load("model/mrope.js")
  const spec = JSON.parse(await readFile(golden("real-dims/spec.json"), "utf8"))
  const samples = await readGolden("real-dims/samples.safetensors")

  const run = async ({ dtype, kvDtype }) => {
    const { backend: b } = await selectBackend({ backend: values.backend })
    const tensor = (made) => b.upload(generate(made), made.shape)
    const vector = (name) => tensor(spec.weights[name])
    const matrix = (name) => {
      const bytes = new Uint8Array(generate(spec.weights[name]).buffer)
      // As loading does: see keptAs in src/model/memory-plan.ts.
      const kept = dtype === "q4" && !name.startsWith("decoder.") ? "q8" : dtype
      return b.loadWeight(bytes, "F32", spec.weights[name].shape, kept)
    }
    const linear = (name) => ({ weight: matrix(`${name}.weight`), bias: vector(`${name}.bias`) })
    const norm = (name) => ({ weight: vector(`${name}.weight`), bias: vector(`${name}.bias`) })
    /** Against the samples of an output; `residual` [rows, width] is taken off both, or any layer would look exact. */
    const turnOf = async (output, out, residual) => {
      const got = await b.read(out)
      const before = residual && (await b.read(residual))
      const index = samples.get(`${output}.index`).data
      const want = samples.get(`${output}.value_f64`).data
      const kept = [...index.keys()].filter((i) => index[i] < got.length)
      return power(
        turn(
          kept.map((i) => got[index[i]] - (before?.[index[i]] ?? 0)),
          kept.map((i) => want[i] - (before?.[index[i]] ?? 0)),
        ),
      )
    }

    const v = spec.vision
    const heads = v.num_attention_heads
    const vision = { heads, headDim: v.hidden_size / heads, hiddenSize: v.hidden_size, layerNormEps: v.layer_norm_eps }
    const at = "vision.layer."
    const visionWeights = {
      norm1: norm(`${at}layer_norm1`),
      query: linear(`${at}self_attn.q_proj`),
      key: linear(`${at}self_attn.k_proj`),
      value: linear(`${at}self_attn.v_proj`),
      out: linear(`${at}self_attn.out_proj`),
      norm2: norm(`${at}layer_norm2`),
      fc1: linear(`${at}mlp.fc1`),
      fc2: linear(`${at}mlp.fc2`),
    }
    const patches = tensor(spec.inputs["vision_layer.input"])
    const visionOut = visionLayer(b, patches, Int32Array.from(spec.cu_seqlens), visionWeights, vision)
    const row = [await turnOf("vision_layer.output", visionOut, patches)]

    const weights = { up: matrix("projector.1.weight"), down: matrix("projector.3.weight") }
    row.push(await turnOf("projector.output", project(b, tensor(spec.inputs["projector.input"]), weights)))
    b.free(weights.up, weights.down)

    const t = spec.text
    const text = {
      hiddenSize: t.hidden_size,
      heads: t.num_attention_heads,
      kvHeads: t.num_key_value_heads,
      headDim: t.head_dim,
      rmsEps: t.rms_norm_eps,
    }
    const layer = "decoder.layer."
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
    const tokens = t.seq_len
    const tables = ropeTables(
      samples.get("decoder_layer.position_ids").data,
      samples.get("decoder_layer.modality").data,
      inverseFrequencies(t.head_dim, t.rope_theta),
    )
    const { kvHeads, headDim } = text
    const kv = b.createKv({ layers: 1, kvHeads, headDim, maxTokens: tokens, stored: kvDtype })
    const x = tensor(spec.inputs["decoder_layer.input"])
    const out = decoderLayer(b, x, 0, decoder, text, {
      cos: b.upload(tables.cos, [tokens, headDim]),
      sin: b.upload(tables.sin, [tokens, headDim]),
      kv,
      sequences: [{ slot: 0, start: 0, length: tokens }],
    })
    row.push(await turnOf("decoder_layer.output", out, x))
    await b.dispose()
    return row
  }
  const rows = []
  for (const stored of STORED) rows.push([stored.dtype, stored.kvDtype, ...(await run(stored))])
  const head = [
    "weights",
    "keys, values",
    "vision layer, without its input",
    "projector",
    "decoder layer, without its input",
  ]
  table("Layers of the real size, weights of the goldens: 1 − cosine with float64", head, rows)
}

if (wanted("layers")) await layers()
if (wanted("goldens")) await goldens()
if (wanted("tiny")) await tiny()
