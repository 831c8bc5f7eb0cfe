/** Writes a random checkpoint of a real shape: for tests of scale where no weights may be had. */

import { readFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { IsaacError } from "../errors"
import { parseConfig } from "../model"
import { writeFolder } from "../weights/folder-writer-node"
import { layoutSafetensors, type PlannedTensor, tensorBytes, writeSafetensors } from "../weights/safetensors-writer"
import type { FolderSink } from "../weights/sink"
import { PRESETS, presetConfig } from "./presets"
import { RandomWeights, type SynthDtype } from "./random-weights"

export interface SynthesizeOptions {
  /** See presets.ts. */
  readonly preset: string
  readonly seed: number
  readonly dtype: SynthDtype
  /** Most layers of the decoder, and of the vision tower. Default: all. */
  readonly layers?: number
  /** Most bytes of tensors in a file; several files get an index. Default 5 GB, as published checkpoints have it. */
  readonly shardBytes?: number
  readonly onProgress?: (progress: { readonly written: number; readonly total: number }) => void
  readonly signal?: AbortSignal
}

/** Of isaac-tiny: its vocabulary is small, the rows of the embedding behind it are padding. */
const TOKENIZER_FILES = [
  "tokenizer.json",
  "tokenizer_config.json",
  "vocab.json",
  "merges.txt",
  "special_tokens_map.json",
  "chat_template.jinja",
] as const

const SHARD_BYTES = 5e9

/**
 * Write the folder.
 *
 * @returns its parameters and bytes
 * Throws bad_input for an unknown preset, io when the folder is not empty or the disk is full, aborted.
 */
export async function synthesize(
  folder: string,
  options: SynthesizeOptions,
): Promise<{ readonly parameters: number; readonly bytes: number }> {
  const { preset, seed, dtype, layers, shardBytes = SHARD_BYTES, onProgress, signal } = options
  if (!Object.hasOwn(PRESETS, preset)) {
    throw new IsaacError("bad_input", `"${preset}" is no preset; there are ${Object.keys(PRESETS).join(", ")}`)
  }
  const config = { ...presetConfig(preset, layers), torch_dtype: dtype === "f32" ? "float32" : "bfloat16" }
  const weights = new RandomWeights(parseConfig(config), dtype, seed)
  const files = await companionFiles(config)
  const shards = shardsOf(weights.tensors, shardBytes)
  const layouts = shards.map(({ tensors }) => layoutSafetensors(tensors, { format: "pt" }))
  const bytes =
    layouts.reduce((sum, layout) => sum + layout.bytes, 0) +
    [...files.values()].reduce((sum, file) => sum + file.byteLength, 0)

  const fill = async (sink: FolderSink) => {
    if (shards.length > 1) files.set("model.safetensors.index.json", encode(shardIndex(shards)))
    for (const [name, content] of files) await writeFile(sink, name, content)
    let written = 0
    for (const [i, { file }] of shards.entries()) {
      const out = await sink.create(file)
      await writeSafetensors(out, layouts[i], async function* (name) {
        for await (const piece of weights.pieces(name)) {
          yield piece
          written += piece.byteLength
          onProgress?.({ written, total: bytes })
        }
      })
      await out.close()
    }
  }
  await writeFolder(
    folder,
    {
      bytes,
      existing: async (taken) => {
        throw new IsaacError("io", `${taken} is not empty; name another folder, or delete it first`)
      },
      advice: { unwritable: "Name another folder.", full: "Free some, or name a folder on another disk." },
      signal,
    },
    fill,
  )
  return { parameters: weights.parameters, bytes }
}

interface Shard {
  readonly file: string
  readonly tensors: PlannedTensor[]
}

/** Tensors in order, as many to a file as fit; one that does not fit anywhere has a file of its own. */
function shardsOf(tensors: readonly PlannedTensor[], shardBytes: number): Shard[] {
  const groups: PlannedTensor[][] = []
  let room = 0
  for (const tensor of tensors) {
    const size = tensorBytes(tensor)
    if (groups.length === 0 || size > room) {
      groups.push([])
      room = shardBytes
    }
    groups[groups.length - 1].push(tensor)
    room -= size
  }
  const pad = (n: number) => String(n).padStart(5, "0")
  return groups.map((group, i) => ({
    file: groups.length === 1 ? "model.safetensors" : `model-${pad(i + 1)}-of-${pad(groups.length)}.safetensors`,
    tensors: group,
  }))
}

function shardIndex(shards: readonly Shard[]): unknown {
  const all = shards.flatMap(({ tensors }) => tensors)
  return {
    metadata: { total_size: all.reduce((sum, tensor) => sum + tensorBytes(tensor), 0) },
    weight_map: Object.fromEntries(shards.flatMap(({ file, tensors }) => tensors.map(({ name }) => [name, file]))),
  }
}

async function companionFiles(config: Readonly<Record<string, unknown>>): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>()
  files.set("config.json", encode(config))
  files.set("generation_config.json", encode({ eos_token_id: [744, 742], pad_token_id: 742, max_new_tokens: 256 }))
  // models/ lies beside src/ and dist/.
  const tiny = fileURLToPath(new URL("../../models/isaac-tiny/", import.meta.url))
  for (const name of TOKENIZER_FILES) files.set(name, await readFile(`${tiny}${name}`))
  return files
}

async function writeFile(sink: FolderSink, name: string, content: Uint8Array): Promise<void> {
  const out = await sink.create(name)
  await out.write(content)
  await out.close()
}

function encode(value: unknown): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`)
}
