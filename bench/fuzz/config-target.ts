/** The config files of a checkpoint, and the tables that are made from them. */

import { isIsaacError } from "../../src/errors"
import { parameterTable, parseConfig, planMemory } from "../../src/model"
import { editText, pick, type Random } from "./random"
import { type FuzzTarget, outline, promise } from "./target"

type Json = Record<string, unknown>

const TEXT: Json = {
  hidden_size: 64,
  intermediate_size: 96,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 16,
  vocab_size: 300,
  rms_norm_eps: 1e-6,
  rope_theta: 1e6,
}
const WHOLE: Json = {
  max_sequence_length: 256,
  eos_token_id: 3,
  pixel_shuffle_scale: 2,
  vision_patch_size: 16,
  vision_max_num_patches: 48,
  vision_min_num_patches: 12,
  vision_config: {
    hidden_size: 48,
    intermediate_size: 72,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_patches: 64,
    patch_size: 16,
    pixel_shuffle_scale_factor: 2,
  },
}
const MOVES = ["rope_parameters", "_rope_parameters", "_rope_scaling", "rope_scaling"]
const ODD: readonly string[] = [
  ...["0", "-1", "1", "1.5", "1e9", "1e308", "16777216", "16777217", "9007199254740993", "2147483648", "null", "true"],
  ...[
    '"64"',
    "[]",
    "{}",
    "[64]",
    '{"rope_theta":1}',
    "[[[[[[[[[1]]]]]]]]]",
    '"__proto__"',
    '"\\u001b[2J"',
    "-0",
    "0.1",
  ],
]
const KEYS = [
  ...Object.keys(TEXT),
  ...Object.keys(WHOLE),
  ...Object.keys(WHOLE.vision_config as Json),
  ...MOVES,
  ...["text_config", "__proto__", "constructor", "hidden_act", "attention_bias", "use_sliding_window", "num_channels"],
  ...["tie_word_embeddings", "bos_token_id", "pad_token_id", "vision_token", "video_patch_size", "layer_norm_eps"],
  ...["config", "image_processor", "max_num_patches", "patch_size", "mrope_interleaved", "max_position_embeddings"],
]

/** Inputs: a JSON list of config.json, generation_config.json, processor_config.json. */
export const configTarget: FuzzTarget = {
  name: "config",

  make(random) {
    const text = { ...TEXT }
    if (random(3) === 0) {
      delete text.rope_theta
      text[pick(random, MOVES)] = { rope_theta: 1e6 }
    }
    const config = random(2) ? { ...WHOLE, ...text } : { ...WHOLE, text_config: text }
    const generation = { eos_token_id: [3, 4] }
    const processor = random(2) ? { config } : { image_processor: { patch_size: 16, max_num_patches: 48 } }
    let json = JSON.stringify([config, generation, processor].slice(0, 1 + random(3)))
    for (let lies = random(4); lies > 0; lies--) json = lie(random, json)
    return random(10) === 0 ? editText(random, json, [...ODD, "{", "}", '"'], 1) : json
  },

  check(input) {
    let files: Json[]
    try {
      files = JSON.parse(input)
    } catch {
      return "no JSON"
    }
    // What is no object is refused when the file is read.
    const isObject = (v: unknown) => v === undefined || (typeof v === "object" && v !== null && !Array.isArray(v))
    if (!Array.isArray(files) || files.length === 0 || !files.slice(0, 3).every(isObject)) return "no objects"
    const [config, generation, processor] = files
    try {
      const parsed = parseConfig(config, generation, processor)
      const { text, vision } = parsed
      for (const [section, fields] of Object.entries({ text, vision })) {
        for (const [key, value] of Object.entries(fields)) {
          promise(
            value === null || value === undefined || typeof value === "boolean" || value > 0,
            `${section}.${key} is ${value}`,
          )
        }
      }
      const rows = parameterTable(parsed).size
      promise(rows <= 2 ** 17, `${rows} parameters`)
      const { total, loading } = planMemory(parsed)
      promise(Number.isFinite(total) && total > 0 && loading > 0, `the plan is ${total} bytes`)
      return "read"
    } catch (error) {
      promise(isIsaacError(error) && error.code === "bad_config", `threw ${String(error)}`)
      promise(error.message.length < 600, `the message has ${error.message.length} characters`)
      promise(!/\p{Cc}/u.test(error.message), "the message has control characters")
      return outline(error.message)
    }
  },
}

/** A value, a key or a field of the text changed. */
function lie(random: Random, json: string): string {
  const fields = [...json.matchAll(/"(\w+)":("(?:[^"\\]|\\.)*"|[-\d.e+]+|true|null)/g)]
  if (fields.length === 0) return json
  const field = pick(random, fields)
  const [all, key, value] = field
  const put = (text: string) => json.slice(0, field.index) + text + json.slice(field.index + all.length)
  switch (random(4)) {
    case 0:
      return put(`"${pick(random, KEYS)}":${value}`)
    case 1:
      return put(`"${key}":${value},"${pick(random, KEYS)}":${pick(random, ODD)}`)
    default:
      return put(`"${key}":${pick(random, ODD)}`)
  }
}
