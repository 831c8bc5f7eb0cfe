/**
 * Which files of a repository an Isaac checkpoint needs. Names are compared with a fixed list, so code, pickles and
 * weights in other formats are never fetched, whatever the repository holds.
 */

import { IsaacError } from "../errors"

export const CONFIG = "config.json"
export const SINGLE = "model.safetensors"
export const INDEX = "model.safetensors.index.json"

/** Used where they exist. */
export const COMPANIONS: readonly string[] = [
  "generation_config.json",
  "preprocessor_config.json",
  "processor_config.json",
  "tokenizer_config.json",
  "tokenizer.json",
  "vocab.json",
  "merges.txt",
  "added_tokens.json",
  "special_tokens_map.json",
  "chat_template.jinja",
  "chat_template.json",
  "prompt_profile.json",
]

/** One file of a repository, as far as its listing tells. */
export interface HubFile {
  readonly name: string
  readonly size?: number
  /** The name of its content: sha256 of a large file, git's sha1 of a small one. */
  readonly etag?: string
}

/** What a listing offers to fetch. */
export interface HubFileChoice {
  /** config.json, what goes with it, and the index of the shards if there are any. */
  readonly small: readonly HubFile[]
  /** model.safetensors; undefined when the index names shards instead. */
  readonly single?: HubFile
}

/** @throws IsaacError `bad_checkpoint`: no config.json, no tokenizer, or no weights in safetensors */
export function chooseFiles(files: readonly HubFile[], where: string): HubFileChoice {
  const byName = new Map(files.map((file) => [file.name, file]))
  if (!byName.has(CONFIG)) {
    throw new IsaacError("bad_checkpoint", `${where} has no ${CONFIG}, so it is no Isaac checkpoint`)
  }
  const single = byName.get(SINGLE)
  if (!single && !byName.has(INDEX)) {
    const other = files.map(({ name }) => name).filter((name) => /\.(?:bin|pt|pth|ckpt|gguf|onnx)$/.test(name))
    throw new IsaacError(
      "bad_checkpoint",
      `${where} has neither ${SINGLE} nor ${INDEX}: only weights in safetensors are read` +
        (other.length > 0 ? `, not ${other.slice(0, 4).join(", ")}` : ""),
    )
  }
  if (!byName.has("tokenizer.json") && !(byName.has("vocab.json") && byName.has("merges.txt"))) {
    throw new IsaacError(
      "bad_checkpoint",
      `${where} has no tokenizer: it needs tokenizer.json, or vocab.json and merges.txt`,
    )
  }
  const wanted = [CONFIG, ...COMPANIONS, ...(single ? [] : [INDEX])]
  return { small: wanted.flatMap((name) => byName.get(name) ?? []), single }
}

/**
 * The shards that an index names, each once, in their order. Only plain names beside the index: nothing that a download
 * says may point out of its folder.
 *
 * @throws IsaacError `bad_checkpoint`
 */
export function shardNames(index: Readonly<Record<string, unknown>>, where: string): string[] {
  const map = index.weight_map
  if (map === null || typeof map !== "object" || Array.isArray(map)) {
    throw new IsaacError("bad_checkpoint", `${where}/${INDEX} has no weight_map`)
  }
  const names = new Set<string>()
  for (const name of Object.values(map)) {
    if (typeof name !== "string" || !/^\w[\w.-]*\.safetensors$/.test(name)) {
      throw new IsaacError(
        "bad_checkpoint",
        `${where}/${INDEX} names the shard ${JSON.stringify(name)}, which is no plain file name`,
      )
    }
    names.add(name)
  }
  if (names.size === 0) throw new IsaacError("bad_checkpoint", `${where}/${INDEX} names no shard`)
  return [...names]
}
