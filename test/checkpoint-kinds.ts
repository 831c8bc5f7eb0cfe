/** One set of random numbers, written in every way in which Isaac checkpoints are published. */

import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { encodeSafetensors, type SafetensorsType, type TensorData } from "../src/weights/safetensors"
import { randomTensors } from "./random-checkpoint"

type Json = Record<string, unknown>

/** What can be written in more than one way; the first of each list is Isaac 0.1's. */
export const KIND_AXES = {
  config: ["flat", "nested", "both"],
  text: ["model.", "model.text_model.", "model.language_model."],
  vision: ["model.vision_embedding.0.", "model.visual."],
  projector: ["model.vision_embedding.", "model.multimodal_projector.linear_"],
  head: ["lm_head.", "model.lm_head.", "model.text_model.lm_head."],
  tying: ["own", "own, flag left out", "equal, flag true", "equal, flag false", "absent, flag true", "absent, no flag"],
  positions: ["[n, h] .weight", "[n, h]", "[side, side, h]", "[side, side, h] .weight"],
  files: ["one", "two shards", "five shards"],
  dtype: ["F32", "BF16", "F16", "BF16 with F32 vectors"],
  processor: ["config", "image_processor", "fields", "preprocessor_config.json", "absent"],
  template: ["chat_template.jinja", "tokenizer_config.json", "chat_template.json", "named ones"],
  tokenizer: ["tokenizer.json", "vocab.json, merges.txt", "vocab.json, merges.txt, added_tokens.json"],
  rope: ["rope_theta", "rope_parameters", "_rope_parameters", "_rope_scaling", "rope_scaling"],
  ropeIn: ["config.json", "text_config"],
  eos: ["config", "generation_config list", "text_config", "all three"],
  patchSize: ["vision_patch_size", "vision_config", "video_patch_size"],
  frequencies: ["none", "stored"],
} as const

type Axes = typeof KIND_AXES
export type Kind = { readonly [K in keyof Axes]: Axes[K][number] }

export const ISAAC_0_1 = Object.fromEntries(
  Object.entries(KIND_AXES).map(([axis, [first]]) => [axis, first]),
) as unknown as Kind

/** Few kinds in which any two values of different axes come together somewhere. */
export function pairwiseKinds(): Kind[] {
  const axes = Object.entries(KIND_AXES) as [keyof Kind, readonly string[]][]
  const open = new Set<string>()
  const pair = (a: string, x: string, b: string, y: string) => `${a}=${x}&${b}=${y}`
  for (const [i, [a, xs]] of axes.entries()) {
    for (const [b, ys] of axes.slice(i + 1)) for (const x of xs) for (const y of ys) open.add(pair(a, x, b, y))
  }
  const newPairs = (kind: Partial<Record<keyof Kind, string>>, axis: keyof Kind, value: string): number => {
    let found = 0
    let behind = false
    for (const [other] of axes) {
      if (other === axis) behind = true
      const set = kind[other]
      if (other === axis || set === undefined) continue
      if (open.has(behind ? pair(axis, value, other, set) : pair(other, set, axis, value))) found++
    }
    return found
  }
  const kinds: Kind[] = []
  while (open.size > 0) {
    // Begin with a pair that is open, then give every axis the value that closes most.
    const [a, x, b, y] = [...open][0].split(/[=&]/)
    const kind: Partial<Record<keyof Kind, string>> = { [a]: x, [b]: y }
    for (const [axis, values] of axes) {
      if (kind[axis] !== undefined) continue
      let best = values[kinds.length % values.length]
      for (const value of values) if (newPairs(kind, axis, value) > newPairs(kind, axis, best)) best = value
      kind[axis] = best
    }
    for (const [i, [first]] of axes.entries()) {
      for (const [second] of axes.slice(i + 1)) open.delete(pair(first, kind[first]!, second, kind[second]!))
    }
    kinds.push(kind as Kind)
  }
  return kinds
}

const TINY = fileURLToPath(new URL("../models/isaac-tiny/", import.meta.url))
const tinyText = (file: string) => readFileSync(TINY + file, "utf8")
const ROPE_THETA = 777
/** Rows of the position table on a side. */
const SIDE = 4

/** The model in one form: every field once. The tokenizer is isaac-tiny's. */
const TEXT_CONFIG: Json = {
  hidden_size: 32,
  intermediate_size: 44,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 16,
  vocab_size: 770,
  rms_norm_eps: 1e-5,
}
const VISION_CONFIG: Json = {
  hidden_size: 24,
  intermediate_size: 36,
  num_hidden_layers: 2,
  num_attention_heads: 3,
  num_patches: SIDE ** 2,
  layer_norm_eps: 1e-5,
  pixel_shuffle_scale_factor: 2,
}
const PATCH_SIZE = 6
const LIMITS = { vision_min_num_patches: 8, vision_max_num_patches: 48 }

function baseConfig(): Json {
  return {
    ...TEXT_CONFIG,
    ...LIMITS,
    rope_theta: ROPE_THETA,
    max_sequence_length: 512,
    pixel_shuffle_scale: 2,
    vision_patch_size: PATCH_SIZE,
    vision_config: VISION_CONFIG,
  }
}

const NUMBERS: ReadonlyMap<string, TensorData> = randomTensors(baseConfig(), 11)

/** How the numbers of a kind differ from those of Isaac 0.1: rounding, and whether lm_head is the embedding. */
export function numbersOf({ dtype, tying }: Kind): Map<string, TensorData> {
  const tensors = new Map(NUMBERS)
  const embedding = tensors.get("model.embed_tokens.weight")!
  if (!tying.startsWith("own")) tensors.set("lm_head.weight", embedding)
  for (const [name, { shape, data }] of tensors) {
    const round = roundings[dtype === "BF16 with F32 vectors" ? (shape.length > 1 ? "BF16" : "F32") : dtype]
    tensors.set(name, { shape, data: (data as Float32Array).map(round) })
  }
  return tensors
}

/**
 * The files of a checkpoint folder of this kind.
 *
 * @param storage how the numbers are stored, if not as the kind says; they are rounded as it says all the same
 */
export function kindFiles(kind: Kind, storage: Kind["dtype"] = kind.dtype): Record<string, Uint8Array> {
  const files: Record<string, string | Uint8Array> = {}
  const generation: Json = {}
  const { chat_template: _, ...tokenizerConfig } = JSON.parse(tinyText("tokenizer_config.json")) as Json

  // 1. config.json: the decoder's fields, the rope base and the stop ids where they stand in this kind.
  const config: Json = { ...baseConfig() }
  const text: Json = {}
  for (const key of Object.keys(TEXT_CONFIG)) {
    if (kind.config !== "flat") text[key] = config[key]
    if (kind.config === "nested") delete config[key]
  }
  delete config.rope_theta
  const rope = kind.rope === "rope_theta" ? ROPE_THETA : { rope_type: "default", rope_theta: ROPE_THETA }
  ;(kind.ropeIn === "text_config" ? text : config)[kind.rope] = rope
  const eos = kind.eos.endsWith("list") ? [742, 744] : 744
  if (kind.eos.startsWith("config") || kind.eos === "all three") config.eos_token_id = eos
  if (kind.eos.startsWith("generation_config") || kind.eos === "all three") generation.eos_token_id = eos
  if (kind.eos === "text_config" || kind.eos === "all three") text.eos_token_id = eos
  const vision: Json = { ...VISION_CONFIG }
  if (kind.patchSize === "vision_config") vision.patch_size = PATCH_SIZE
  if (kind.patchSize === "video_patch_size") config.video_patch_size = PATCH_SIZE
  if (kind.patchSize !== "vision_patch_size") delete config.vision_patch_size
  config.vision_config = vision
  const flag = { "equal, flag true": true, "equal, flag false": false, "absent, flag true": true, own: false }
  const tied = (flag as Record<string, boolean>)[kind.tying]
  if (tied !== undefined) (kind.config === "nested" ? text : config).tie_word_embeddings = tied
  if (Object.keys(text).length > 0) config.text_config = text
  if (Object.keys(generation).length > 0) files["generation_config.json"] = JSON.stringify(generation)

  // 2. The processor's settings.
  const image = { patch_size: PATCH_SIZE, pixel_shuffle_scale: 2, min_num_patches: 8, max_num_patches: 48 }
  if (kind.processor === "config") files["processor_config.json"] = JSON.stringify({ config })
  if (kind.processor === "image_processor") files["processor_config.json"] = JSON.stringify({ image_processor: image })
  if (kind.processor === "fields") files["processor_config.json"] = JSON.stringify({ ...image, processor_class: "X" })
  if (kind.processor === "preprocessor_config.json") files["preprocessor_config.json"] = JSON.stringify(image)
  if (kind.processor !== "absent" && kind.processor !== "config") {
    // Then only the processor knows the limits.
    for (const key of Object.keys(LIMITS)) delete config[key]
  }
  files["config.json"] = JSON.stringify(config)

  // 3. Tokenizer and template.
  const template = tinyText("chat_template.jinja")
  if (kind.template === "chat_template.jinja") files["chat_template.jinja"] = template
  if (kind.template === "chat_template.json") files["chat_template.json"] = JSON.stringify({ chat_template: template })
  if (kind.template === "tokenizer_config.json") tokenizerConfig.chat_template = template
  if (kind.template === "named ones") {
    tokenizerConfig.chat_template = [
      { name: "tool_use", template: "{{ raise_exception('wrong one') }}" },
      { name: "default", template },
    ]
  }
  if (kind.tokenizer === "tokenizer.json") files["tokenizer.json"] = tinyText("tokenizer.json")
  else {
    files["vocab.json"] = tinyText("vocab.json")
    files["merges.txt"] = tinyText("merges.txt")
  }
  if (kind.tokenizer === "vocab.json, merges.txt, added_tokens.json") {
    const added = Object.entries(tokenizerConfig.added_tokens_decoder as Record<string, { content: string }>)
    files["added_tokens.json"] = JSON.stringify(
      Object.fromEntries(added.map(([id, { content }]) => [content, Number(id)])),
    )
    files["special_tokens_map.json"] = JSON.stringify({
      additional_special_tokens: added
        .filter(([, token]) => (token as unknown as { special: boolean }).special)
        .map(([, { content }]) => content),
    })
    delete tokenizerConfig.added_tokens_decoder
  }
  files["tokenizer_config.json"] = JSON.stringify(tokenizerConfig)

  // 4. Weights.
  Object.assign(files, weightFiles(kind, storage))
  const utf8 = new TextEncoder()
  return Object.fromEntries(
    Object.entries(files).map(([file, content]) => [
      file,
      typeof content === "string" ? utf8.encode(content) : content,
    ]),
  )
}

function weightFiles(kind: Kind, storage: Kind["dtype"]): Record<string, string | Uint8Array> {
  const stored = new Map<string, TensorData>()
  for (const [name, tensor] of numbersOf(kind)) {
    if (name === "lm_head.weight" && kind.tying.startsWith("absent")) continue
    stored.set(storedName(name, kind), storedTensor(name, tensor, { ...kind, dtype: storage }))
  }
  if (kind.frequencies === "stored") {
    stored.set(`${kind.text}rotary_emb.inv_freq`, { shape: [8], data: new Float32Array(8).fill(Number.NaN) })
  }
  const shards = { one: 1, "two shards": 2, "five shards": 5 }[kind.files]
  if (shards === 1) return { "model.safetensors": encodeSafetensors(Object.fromEntries(stored), { format: "pt" }) }
  const files: Record<string, string | Uint8Array> = {}
  const map: Record<string, string> = {}
  for (let shard = 0; shard < shards; shard++) {
    const file = `model-${String(shard + 1).padStart(5, "0")}-of-${String(shards).padStart(5, "0")}.safetensors`
    const own = [...stored].filter((_, i) => Math.floor((i * shards) / stored.size) === shard)
    files[file] = encodeSafetensors(Object.fromEntries(own), { format: "pt" })
    for (const [name] of own) map[name] = file
  }
  files["model.safetensors.index.json"] = JSON.stringify({ metadata: { total_size: 1 }, weight_map: map })
  return files
}

function storedName(name: string, kind: Kind): string {
  if (name === "lm_head.weight") return `${kind.head}weight`
  if (name.includes("position_embedding") && !kind.positions.endsWith(".weight")) {
    return `${kind.vision}embeddings.position_embedding`
  }
  if (name.startsWith("model.vision_embedding.0.")) return name.replace("model.vision_embedding.0.", kind.vision)
  const projector = /^model\.vision_embedding\.([13])\.weight$/.exec(name)
  if (projector) {
    const [, layer] = projector
    return kind.projector === "model.vision_embedding." ? name : `${kind.projector}${layer === "1" ? 1 : 2}.weight`
  }
  return name.replace("model.", kind.text)
}

function storedTensor(name: string, { shape, data }: TensorData, { dtype, positions }: Kind): TensorData {
  const table = name.includes("position_embedding") && positions.startsWith("[side")
  const type = dtype === "BF16 with F32 vectors" ? (shape.length > 1 ? "BF16" : "F32") : dtype
  return {
    shape: table ? [SIDE, SIDE, shape[1]] : shape,
    data: type === "F32" ? data : Uint16Array.from(data as Float32Array, type === "BF16" ? bfloatBits : halfBits),
    dtype: type,
  }
}

// ── Rounding, apart from the library's own ──

const roundings: Readonly<Record<Extract<SafetensorsType, "F32" | "BF16" | "F16">, (x: number) => number>> = {
  F32: (x) => x,
  BF16: (x) => bitsToFloat(bfloatBits(x) << 16),
  F16: (x) => {
    const bits = halfBits(x)
    const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023]
    const size = exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25)
    return bits & 0x8000 ? -size : size
  },
}

function bitsToFloat(bits: number): number {
  return new Float32Array(Uint32Array.of(bits).buffer)[0]
}

/** The nearest bfloat16, ties to even. */
function bfloatBits(x: number): number {
  const bits = new Uint32Array(Float32Array.of(x).buffer)[0]
  const low = bits & 0xffff
  const up = low > 0x8000 || (low === 0x8000 && (bits & 0x10000) !== 0)
  return ((bits >>> 16) + (up ? 1 : 0)) & 0xffff
}

/** The nearest half, ties to even; numbers here are far from its limits. */
function halfBits(x: number): number {
  const sign = x < 0 ? 0x8000 : 0
  const size = Math.abs(x)
  if (size === 0) return sign
  const exponent = Math.max(-14, Math.floor(Math.log2(size)))
  const unit = 2 ** (exponent - 10)
  const steps = size / unit
  let whole = Math.floor(steps)
  const rest = steps - whole
  if (rest > 0.5 || (rest === 0.5 && whole % 2 === 1)) whole++
  // A carry into the exponent is right as it is: the fraction then is zero.
  return sign | (whole < 1024 ? whole : ((exponent + 15) << 10) + (whole - 1024))
}
