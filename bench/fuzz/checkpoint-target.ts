/** Whole checkpoint folders: shards, their index, what conversions say about themselves, and names of tensors. */

import { isIsaacError } from "../../src/errors"
import { openCheckpoint } from "../../src/weights/checkpoint"
import { arithmeticOf } from "../../src/weights/conversion"
import { bytesFiles } from "../../src/weights/source"
import { editText, pick, type Random } from "./random"
import { fileOf } from "./safetensors-target"
import { type FuzzTarget, outline, promise } from "./target"

const NAMES = [
  ...["model.norm.weight", "lm_head.weight", "model.lm_head.weight", "model.text_model.lm_head.weight"],
  ...["model.text_model.norm.weight", "model.language_model.norm.weight", "model.rotary_emb.inv_freq", "a", "b"],
  ...["model.visual.embeddings.position_embedding", "model.multimodal_projector.linear_1.weight", "__proto__", ""],
  ...[
    "model.model.norm.weight",
    "model.text_model.language_model.norm.weight",
    "\u001b[2J",
    "toString",
    "x".repeat(500),
  ],
]
const FILES = [
  "a.safetensors",
  "b.safetensors",
  "c.safetensors",
  "../a.safetensors",
  "/etc/passwd",
  "A.safetensors",
  "",
]
const PIECES = [
  ...[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    '"',
    "\\",
    "null",
    "0",
    '"weight_map"',
    '"metadata"',
    '{"__proto__":"a.safetensors"}',
  ],
  ...FILES.map((file) => JSON.stringify(file)),
  ...NAMES.map((name) => JSON.stringify(name)),
]
const CONVERSION: readonly [string, readonly string[]][] = [
  ["isaac.stored", ["q8", "bf16", "q4", ""]],
  ["isaac.layout", ["1", "2", "0"]],
  ["isaac.arithmetic", ["x", "q8: 7 bits, groups of 32 along K", arithmeticOf("q8"), arithmeticOf("q4")]],
  ["isaac.types", ["{", "[]", '{"lm_head.weight":"q8"}', '{"lm_head.weight":4}']],
  [
    "isaac.shapes",
    ['{"a":[2,3]}', "{}", "[]", "{", '{"a":[1e9,1e9]}', '{"a":[0,1]}', '{"__proto__":[1,1]}', '{"b":null}'],
  ],
  ["isaac.same", ['{"a":"b"}', '{"b":"a"}', '{"a":"a"}', "{}", '{"a":1}', '{"__proto__":"a"}', "null"]],
  ["isaac.source", ["f"]],
]

/** Inputs: JSON of {file: text}; weight files as in the target "safetensors". */
export const checkpointTarget: FuzzTarget = {
  name: "checkpoint",

  make(random) {
    const files: Record<string, string> = { "config.json": "{}" }
    const shards = random(4) === 0 ? ["model.safetensors"] : ["a.safetensors", "b.safetensors"]
    const map: [string, string][] = []
    const free = [...NAMES]
    for (const shard of shards) {
      const names = Array.from({ length: random(4) }, () =>
        random(12) === 0 ? pick(random, NAMES) : free.splice(random(free.length), 1)[0],
      )
      files[shard] = shardText(random, names)
      for (const name of names) map.push([name, random(12) === 0 ? pick(random, FILES) : shard])
    }
    if (shards.length > 1) {
      // Written by hand, so that a name may stand twice or be __proto__.
      let index = `{"weight_map":{${map.map(([name, file]) => `${JSON.stringify(name)}:${JSON.stringify(file)}`)}}}`
      if (random(3) === 0) index = editText(random, index, PIECES, 1 + random(3))
      files["model.safetensors.index.json"] = index
    }
    if (random(8) === 0)
      files["processor_config.json"] = pick(random, ["{}", "[]", '{"__proto__":{"a":1}}', "", "\ufeff{}"])
    if (random(30) === 0) delete files[pick(random, Object.keys(files))]
    return JSON.stringify(files)
  },

  async check(input) {
    const texts = JSON.parse(input) as Record<string, string>
    const utf8 = new TextEncoder()
    const files = bytesFiles(
      "folder",
      Object.fromEntries(
        Object.entries(texts).map(([file, text]) => [
          file,
          file.endsWith(".safetensors") ? fileOf(text) : utf8.encode(text),
        ]),
      ),
    )
    try {
      const checkpoint = await openCheckpoint(files)
      for (const [name, { bytes }] of checkpoint.tensors) {
        const read = await checkpoint.read(name)
        promise(read.bytes.byteLength === bytes, `${name} has ${read.bytes.byteLength} bytes, not ${bytes}`)
        promise(await checkpoint.sameTensor(name, name), `${name} is not itself`)
      }
      await checkpoint.close()
      return `opened with ${checkpoint.tensors.size}`
    } catch (error) {
      const known = isIsaacError(error) && ["bad_checkpoint", "unsupported"].includes(error.code)
      promise(known, `threw ${String(error)}`)
      promise(error.message.length < 2500, `the message has ${error.message.length} characters`)
      promise(!/\p{Cc}/u.test(error.message), "the message has control characters")
      return outline(error.message.replace(/ \(.*\)/s, "").replace(/(holds|lacks|tensor,|that|of) \S+/g, "$1"))
    }
  },
}

function shardText(random: Random, names: readonly string[]): string {
  let end = 0
  const entries = names.map((name) => {
    const [dtype, width] = pick(random, [
      ["F32", 4],
      ["U8", 1],
      ["BF16", 2],
    ] as const)
    const shape = Array.from({ length: 1 + random(3) }, () => 1 + random(3))
    const start = end
    end += shape.reduce((a, b) => a * b, width)
    return `${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape}],"data_offsets":[${start},${end}]}`
  })
  if (random(3) === 0) {
    const said = CONVERSION.filter(() => random(4) > 0).map(([key, values]) => [key, pick(random, values)])
    entries.unshift(`"__metadata__":${JSON.stringify(Object.fromEntries(said))}`)
  }
  if (random(20) === 0) end += random(5) - 2
  return `|${Math.max(0, end)}|{${entries}}`
}
