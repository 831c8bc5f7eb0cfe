/**
 * config.json → the sizes of the model.
 *
 * The file is flat (Isaac 0.1) or has the decoder's fields under `text_config` (0.2). A field may be given in several
 * places: what contradicts itself is refused with bad_config, naming both places and values. Nothing has a built-in
 * size; the few defaults are those of the reference's config classes, which leave a field out when it has its default.
 */

import { IsaacError, shown } from "../errors"

/** The decoder (Qwen3). */
export interface TextConfig {
  readonly hiddenSize: number
  readonly layers: number
  /** Query heads, a multiple of kvHeads. */
  readonly heads: number
  readonly kvHeads: number
  readonly headDim: number
  readonly intermediateSize: number
  readonly vocabSize: number
  readonly rmsEps: number
  readonly ropeTheta: number
  /** Whether lm_head is the embedding matrix; undefined when the config does not say. */
  readonly tied: boolean | undefined
}

/** The vision tower (SigLIP2) and what the processor must know of it. */
export interface VisionConfig {
  readonly hiddenSize: number
  readonly layers: number
  readonly heads: number
  readonly headDim: number
  readonly intermediateSize: number
  /** Side of a patch in pixels. */
  readonly patchSize: number
  readonly channels: number
  /** Side of the square position table. */
  readonly gridSide: number
  readonly layerNormEps: number
  /** r: r×r patches become one token. */
  readonly pixelShuffle: number
  /** Patches of one image; null is no lower limit. */
  readonly minPatches: number | null
  readonly maxPatches: number
}

export interface IsaacConfig {
  readonly text: TextConfig
  readonly vision: VisionConfig
  /** Longest prompt, in tokens. */
  readonly maxSequenceLength: number
  /** Ids that end an answer: config.json's and generation_config.json's together. */
  readonly stopIds: readonly number[]
  readonly bosId: number | undefined
  readonly padId: number | undefined
  /** What stands for an image in a raw prompt; no token of the vocabulary. */
  readonly visionToken: string
  /** What the config asks for; the reference's rotary embedding is not interleaved, whatever it says. */
  readonly mropeInterleaved: boolean
}

type Json = Readonly<Record<string, unknown>>

/** A value and where it was found, for messages. */
interface Found {
  readonly where: string
  readonly value: unknown
}

/** A place to look: an object, what to call it, and the key. */
type Place = readonly [where: string, object: Json | undefined, key: string]

/** Shapes of a checkpoint's tensors by canonical name: they fill in sizes that the config leaves out. */
export type TensorShapes = ReadonlyMap<string, { readonly shape: readonly number[] }>

/** The parts of a checkpoint that tell sizes. */
interface ConfigFiles {
  readonly config: Json
  readonly generationConfig?: Json
  readonly processorConfig?: Json
  readonly tensors: TensorShapes
}

/** Largest size or count that a config may name; the published ones stay below 2¹⁸. */
const MAX_COUNT = 1 << 24

/** Most layers of the decoder or the vision tower; the published ones have 28 and 27. Tables are made for each. */
const MAX_LAYERS = 1024

/**
 * Read config.json, generation_config.json and processor_config.json (parsed) into sizes. Throws bad_config naming the
 * field and its value. Sizes are compared with the tensors themselves when weights are loaded.
 */
export function parseConfig(
  config: Json,
  generationConfig?: Json,
  processorConfig?: Json,
  tensors?: TensorShapes,
): IsaacConfig {
  const textSection = section(config, "text_config")
  const visionSection = section(config, "vision_config")
  if (!visionSection) {
    throw new IsaacError("bad_config", "config.json has no vision_config: it is not the config of an Isaac model")
  }
  return {
    text: parseText(config, textSection, tensors),
    vision: parseVision(config, visionSection, processorConfig),
    maxSequenceLength: count(
      agreed([
        ["config.json", config, "max_sequence_length"],
        ["text_config", textSection, "max_sequence_length"],
        ["processor config", section(processorConfig, "config"), "max_sequence_length"],
        ["processor config", processorConfig, "max_sequence_length"],
      ]) ??
        first([
          ["config.json", config, "max_position_embeddings"],
          ["text_config", textSection, "max_position_embeddings"],
        ]),
      "max_sequence_length",
    ),
    stopIds: stopIds(config, textSection, generationConfig),
    bosId: tokenId("bos_token_id", config, textSection, generationConfig),
    padId: tokenId("pad_token_id", config, textSection, generationConfig),
    visionToken: visionToken(config),
    mropeInterleaved: ropeSections(config, textSection).some(([, object]) => object?.mrope_interleaved === true),
  }
}

/** The same of an opened checkpoint. */
export function configOf({ config, generationConfig, processorConfig, tensors }: ConfigFiles): IsaacConfig {
  return parseConfig(config, generationConfig, processorConfig, tensors)
}

function parseText(config: Json, nested: Json | undefined, tensors: TensorShapes | undefined): TextConfig {
  const field = (key: string) =>
    agreed([
      ["text_config", nested, key],
      ["config.json", config, key],
    ])
  const fromTensor = (name: string): Found | undefined => {
    const size = tensors?.get(name)?.shape[0]
    return size === undefined ? undefined : { where: name, value: size }
  }

  // Forms of the decoder that the reference does not compute.
  refuseUnless(field("hidden_act"), "hidden_act", ["silu"])
  refuseUnless(field("attention_bias"), "attention_bias", [false])
  refuseUnless(field("use_sliding_window"), "use_sliding_window", [false])

  const hiddenSize = count(field("hidden_size"), "hidden_size")
  const heads = count(field("num_attention_heads"), "num_attention_heads")
  const kvHeads = count(
    field("num_key_value_heads") ?? { where: "num_attention_heads", value: heads },
    "num_key_value_heads",
  )
  if (heads % kvHeads !== 0) {
    throw bad(`num_attention_heads is ${heads}, not a multiple of num_key_value_heads, which is ${kvHeads}`)
  }
  const headDim = count(
    field("head_dim") ??
      fromTensor("model.layers.0.self_attn.q_norm.weight") ?? {
        where: "hidden_size / num_attention_heads",
        value: hiddenSize / heads,
      },
    "head_dim",
  )
  if (headDim % 8 !== 0) {
    throw bad(`head_dim is ${headDim}; MRoPE splits it into head_dim/4, /8 and /8, so it must be a multiple of 8`)
  }
  const tied = first([
    ["config.json", config, "tie_word_embeddings"],
    ["text_config", nested, "tie_word_embeddings"],
  ])
  return {
    hiddenSize,
    layers: count(field("num_hidden_layers"), "num_hidden_layers", MAX_LAYERS),
    heads,
    kvHeads,
    headDim,
    intermediateSize: count(field("intermediate_size"), "intermediate_size"),
    vocabSize: count(field("vocab_size") ?? fromTensor("model.embed_tokens.weight"), "vocab_size"),
    rmsEps: positive(field("rms_norm_eps") ?? { where: "default", value: 1e-6 }, "rms_norm_eps"),
    ropeTheta: ropeTheta(config, nested),
    tied: tied === undefined ? undefined : flag(tied, "tie_word_embeddings"),
  }
}

function parseVision(config: Json, vision: Json, processorConfig: Json | undefined): VisionConfig {
  const own = (key: string) => first([["vision_config", vision, key]])
  // The processor's settings: a copy of the whole config (0.1), or an image_processor section (0.2).
  const copied = section(processorConfig, "config")
  const image = section(processorConfig, "image_processor")

  refuseUnless(own("hidden_act"), "vision_config.hidden_act", ["gelu_pytorch_tanh"])
  refuseUnless(own("num_channels"), "vision_config.num_channels", [3])

  const hiddenSize = count(own("hidden_size"), "vision_config.hidden_size")
  const heads = count(own("num_attention_heads"), "vision_config.num_attention_heads")
  if (hiddenSize % heads !== 0) {
    throw bad(
      `vision_config.hidden_size is ${hiddenSize}, not a multiple of its num_attention_heads, which is ${heads}`,
    )
  }

  // video_patch_size is what the reference's class writes under the wrong name: it counts only when alone.
  const patch =
    agreed([
      ["config.json", config, "vision_patch_size"],
      ["vision_config", vision, "patch_size"],
    ]) ?? first([["config.json", config, "video_patch_size"]])
  const patchSize = count(patch ?? { where: "default", value: 16 }, "vision_patch_size")
  agreed([
    [patch?.where ?? "default", { patch_size: patchSize }, "patch_size"],
    ["image_processor", image, "patch_size"],
    ["processor config", processorConfig, "patch_size"],
    ["processor config", copied, "vision_patch_size"],
    ["processor config: vision_config", section(copied, "vision_config"), "patch_size"],
  ])

  const shuffle = agreed([
    ["config.json", config, "pixel_shuffle_scale"],
    ["vision_config", vision, "pixel_shuffle_scale_factor"],
    ["image_processor", image, "pixel_shuffle_scale"],
    ["processor config", copied, "pixel_shuffle_scale"],
    ["processor config", processorConfig, "pixel_shuffle_scale"],
  ])

  const table = count(own("num_patches") ?? { where: "default", value: 256 }, "vision_config.num_patches")
  const gridSide = Math.round(Math.sqrt(table))
  if (gridSide * gridSide !== table) {
    throw bad(`vision_config.num_patches is ${table}, which is not the size of a square position table`)
  }

  const limit = (end: "min" | "max") =>
    agreed([
      ["config.json", config, `vision_${end}_num_patches`],
      ["processor config", copied, `vision_${end}_num_patches`],
      ["image_processor", image, `${end}_num_patches`],
      ["processor config", processorConfig, `${end}_num_patches`],
    ])
  const most = count(limit("max") ?? { where: "default", value: 256 }, "vision_max_num_patches")
  const least = limit("min")
  const minPatches = least === undefined ? null : count(least, "vision_min_num_patches")
  if (minPatches !== null && minPatches > most) {
    throw bad(`vision_min_num_patches is ${minPatches}, more than vision_max_num_patches, which is ${most}`)
  }
  return {
    hiddenSize,
    layers: count(own("num_hidden_layers"), "vision_config.num_hidden_layers", MAX_LAYERS),
    heads,
    headDim: hiddenSize / heads,
    intermediateSize: count(own("intermediate_size"), "vision_config.intermediate_size"),
    patchSize,
    channels: 3,
    gridSide,
    layerNormEps: positive(own("layer_norm_eps") ?? { where: "default", value: 1e-6 }, "vision_config.layer_norm_eps"),
    pixelShuffle: count(shuffle ?? { where: "default", value: 1 }, "pixel_shuffle_scale"),
    minPatches,
    maxPatches: most,
  }
}

/** Sections that may carry the rope base, in the order in which they count. */
function ropeSections(config: Json, nested: Json | undefined): (readonly [string, Json | undefined])[] {
  const places: [string, Json | undefined][] = [
    ["config.json", config],
    ["text_config", nested],
  ]
  for (const key of ["rope_parameters", "_rope_parameters", "_rope_scaling", "rope_scaling"]) {
    places.push([key, section(config, key)], [`text_config.${key}`, section(nested, key)])
  }
  return places
}

/** The base of the rotary frequencies. A missing one is an error: any default would give fluent nonsense. */
function ropeTheta(config: Json, nested: Json | undefined): number {
  const found = agreed(ropeSections(config, nested).map(([where, object]) => [where, object, "rope_theta"] as const))
  if (!found) {
    throw bad(
      "there is no rope_theta, neither as a field nor in rope_parameters or rope_scaling, also not in text_config",
    )
  }
  return positive(found, "rope_theta")
}

function stopIds(config: Json, nested: Json | undefined, generationConfig: Json | undefined): number[] {
  const ids = new Set<number>()
  for (const [where, object] of [
    ["config.json", config],
    ["text_config", nested],
    ["generation_config.json", generationConfig],
  ] as const) {
    const value = object?.eos_token_id
    if (value === undefined || value === null) continue
    for (const id of Array.isArray(value) ? value : [value]) {
      if (!Number.isSafeInteger(id) || id < 0) {
        throw bad(`${where}: eos_token_id is ${shown(value)}; a token id or a list of them is needed`)
      }
      ids.add(id)
    }
  }
  return [...ids]
}

function tokenId(key: string, ...objects: readonly (Json | undefined)[]): number | undefined {
  for (const object of objects) {
    const value = object?.[key]
    if (value === undefined || value === null) continue
    if (!Number.isSafeInteger(value) || (value as number) < 0) throw bad(`${key} is ${shown(value)}, no token id`)
    return value as number
  }
  return undefined
}

function visionToken(config: Json): string {
  const value = config.vision_token ?? "<image>"
  if (typeof value !== "string" || value === "") throw bad(`vision_token is ${shown(value)}, not a text`)
  return value
}

// ── Looking up ────────────────────────────────────────────────────────────────────────────────────────────────────

function section(parent: Json | undefined, key: string): Json | undefined {
  const value = parent?.[key]
  if (value === undefined || value === null) return undefined
  if (typeof value !== "object" || Array.isArray(value)) throw bad(`${key} is ${shown(value)}, not an object`)
  return value as Json
}

/** The first of the places that holds something; null counts as nothing. */
function first(places: readonly Place[]): Found | undefined {
  for (const [where, object, key] of places) {
    const value = object?.[key]
    if (value !== undefined && value !== null) return { where: `${where}: ${key}`, value }
  }
  return undefined
}

/** The same, but all places that hold something must hold the same. */
function agreed(places: readonly Place[]): Found | undefined {
  let chosen: Found | undefined
  for (const place of places) {
    const found = first([place])
    if (!found) continue
    if (chosen && chosen.value !== found.value) {
      throw bad(`${chosen.where} is ${shown(chosen.value)}, but ${found.where} is ${shown(found.value)}`)
    }
    chosen ??= found
  }
  return chosen
}

function count(found: Found | undefined, name: string, most = MAX_COUNT): number {
  if (!found) throw bad(`${name} is missing`)
  const { value, where } = found
  if (!Number.isSafeInteger(value) || (value as number) < 1 || (value as number) > most) {
    throw bad(`${name} is ${shown(value)} (${where}); a whole number from 1 to ${most} is needed`)
  }
  return value as number
}

function positive(found: Found | undefined, name: string): number {
  if (!found) throw bad(`${name} is missing`)
  const { value, where } = found
  if (typeof value !== "number" || !Number.isFinite(value) || value <= 0) {
    throw bad(`${name} is ${shown(value)} (${where}); a positive number is needed`)
  }
  return value
}

function flag(found: Found, name: string): boolean {
  if (typeof found.value !== "boolean") throw bad(`${name} is ${shown(found.value)}; true or false is needed`)
  return found.value
}

function refuseUnless(found: Found | undefined, name: string, allowed: readonly unknown[]): void {
  if (found && !allowed.includes(found.value)) {
    throw bad(`${name} is ${shown(found.value)}; this model computes ${shown(allowed[0])} only`)
  }
}

function bad(what: string): IsaacError {
  return new IsaacError("bad_config", what.startsWith("config.json") ? what : `config.json: ${what}`)
}
