/** The tokenizer's definition from a checkpoint's files: tokenizer.json, or vocab.json and merges.txt. */

import { IsaacError, shown } from "../errors"
import { type FileSet, readJson, readText } from "../weights/source"
import { BYTE_CHARACTERS } from "./byte-level"
import { patternDanger } from "./split-pattern"

/** Ids are below this; the largest vocabularies have an eighth of it. */
const MOST_IDS = 1 << 21
/** Most added tokens; they are looked for in every text, each at every place. */
const MOST_ADDED = 1 << 14
const LONGEST_ADDED = 1000

/** A token that is matched in the text itself, before any splitting or merging. */
export interface AddedToken {
  readonly id: number
  readonly content: string
  /** Control tokens, left out of a decoded answer; `<think>` and the like are added but not special. */
  readonly special: boolean
  /** The token swallows white space on this side. */
  readonly lstrip: boolean
  readonly rstrip: boolean
}

export interface TokenizerDefinition {
  /** For messages: the folder. */
  readonly name: string
  /** In the format of tokenizer.json, without added tokens. */
  readonly pipeline: Record<string, unknown>
  /** Vocabulary entry (in byte-level characters) → id. */
  readonly vocab: ReadonlyMap<string, number>
  readonly added: readonly AddedToken[]
}

/**
 * Qwen2's way to cut text into the words that BPE works on: contractions, words with one leading character, digits one
 * by one, runs of punctuation, line ends, white space. It is applied with Oniguruma's meaning of `\s`.
 */
const QWEN2_WORDS =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" +
  "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/**
 * Reads tokenizer.json where there is one, else vocab.json and merges.txt as a Qwen2 tokenizer. Added tokens come from
 * tokenizer.json, then tokenizer_config.json (`added_tokens_decoder`), then added_tokens.json.
 *
 * @throws IsaacError `bad_checkpoint` when the files are missing, malformed or contradict each other, `unsupported`
 *   for tokenizers of another kind than byte-level BPE
 */
export async function readTokenizerDefinition(files: FileSet): Promise<TokenizerDefinition> {
  const config = await readIfPresent(files, "tokenizer_config.json")
  const definition = await readIfPresent(files, "tokenizer.json")
  const pipeline = definition ?? (await qwen2Pipeline(files))
  const vocab = checkByteLevelBpe(pipeline, files.name)
  const listed = Array.isArray(definition?.added_tokens) ? definition.added_tokens : []
  const added = new Map<number, AddedToken>()
  const sources = [
    listed.map((entry) => [entry?.id, entry] as const),
    Object.entries(record(config?.added_tokens_decoder)),
    definition ? [] : await legacyAddedTokens(files, config),
  ]
  for (const [id, entry] of sources.flat()) {
    const token = parseAddedToken(Number(id), entry, files.name)
    const known = added.get(token.id)
    if (known && known.content !== token.content) {
      throw new IsaacError(
        "bad_checkpoint",
        `${files.name}: id ${token.id} is the added token ${shown(known.content)} in one tokenizer file and ` +
          `${shown(token.content)} in another.`,
      )
    }
    if (!known) added.set(token.id, token)
  }
  if (added.size > MOST_ADDED) {
    throw new IsaacError(
      "unsupported",
      `${files.name}: the tokenizer has ${added.size} added tokens; at most ${MOST_ADDED} are read.`,
    )
  }
  if (!definition) checkAllMade(pipeline, vocab, [...added.values()], files.name)
  checkPatterns([pipeline.normalizer, pipeline.pre_tokenizer], files.name)
  // What a post-processor puts around a text is not wanted: templates write such tokens themselves.
  const bare = { ...pipeline, added_tokens: [], post_processor: null }
  return { name: files.name, pipeline: bare, vocab, added: [...added.values()] }
}

/** Throws unsupported for a regular expression that may take for ever. */
function checkPatterns(steps: unknown, name: string): void {
  const pending: unknown[] = [steps]
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (next === null || typeof next !== "object") continue
    if ("Regex" in next && typeof next.Regex === "string") {
      const danger = patternDanger(next.Regex)
      if (danger) {
        throw new IsaacError(
          "unsupported",
          `${name}: the tokenizer splits text by the pattern ${shown(next.Regex)}, which is not run because ${danger}.`,
        )
      }
    }
    for (const part of Object.values(next)) pending.push(part)
  }
}

/** vocab.json and merges.txt as the tokenizer.json they would be. */
async function qwen2Pipeline(files: FileSet): Promise<Record<string, unknown>> {
  for (const file of ["vocab.json", "merges.txt"]) {
    if (await files.has(file)) continue
    throw new IsaacError(
      "bad_checkpoint",
      `${files.name} has no tokenizer: it needs tokenizer.json, or vocab.json and merges.txt (${file} is missing).`,
    )
  }
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: false }
  const words = { type: "Split", pattern: { Regex: QWEN2_WORDS }, behavior: "Isolated", invert: false }
  const merges = (await readText(files, "merges.txt"))
    .split(/\r?\n/)
    .filter((line, index) => line !== "" && !(index === 0 && line.startsWith("#version")))
  return {
    version: "1.0",
    normalizer: { type: "NFC" },
    pre_tokenizer: { type: "Sequence", pretokenizers: [words, byteLevel] },
    post_processor: byteLevel,
    decoder: byteLevel,
    model: { type: "BPE", vocab: await readJson(files, "vocab.json"), merges },
  }
}

function checkByteLevelBpe(pipeline: Record<string, unknown>, name: string): Map<string, number> {
  const model = record(pipeline.model)
  if (!isRecord(model.vocab) || !Array.isArray(model.merges)) {
    throw new IsaacError("bad_checkpoint", `${name}: the tokenizer has no BPE vocabulary and merges.`)
  }
  // Old files of tokenizer.json leave the model's type out.
  const kinds = [model.type ?? "BPE", record(pipeline.decoder).type]
  if (kinds[0] !== "BPE" || kinds[1] !== "ByteLevel") {
    throw new IsaacError(
      "unsupported",
      `${name}: the tokenizer is ${kinds.map((kind) => shown(kind)).join(" with decoder ")}; only BPE with decoder ByteLevel is supported.`,
    )
  }
  const vocab = new Map<string, number>()
  const entries = new Map<number, string>()
  for (const [entry, value] of Object.entries(model.vocab)) {
    const id = checkId(value, entry, name)
    const other = entries.get(id)
    if (other !== undefined) {
      throw new IsaacError(
        "bad_checkpoint",
        `${name}: ${shown(other)} and ${shown(entry)} both have the token id ${id}.`,
      )
    }
    vocab.set(entry, id)
    entries.set(id, entry)
  }
  const missing = BYTE_CHARACTERS.filter((character) => !vocab.has(character))
  if (missing.length > 0) {
    throw new IsaacError(
      "bad_checkpoint",
      `${name}: the tokenizer's vocabulary lacks ${missing.length} of the 256 bytes, so some text has no ids.`,
    )
  }
  checkMerges(model.merges, vocab, name)
  return vocab
}

/** Every merge makes a token of two tokens: text that came out as anything else would be lost without a word. */
function checkMerges(merges: readonly unknown[], vocab: ReadonlyMap<string, number>, name: string): void {
  for (const merge of merges) {
    const pair: readonly unknown[] = typeof merge === "string" ? merge.split(" ") : Array.isArray(merge) ? merge : []
    const [left, right] = pair
    if (pair.length !== 2 || typeof left !== "string" || typeof right !== "string") {
      throw new IsaacError("bad_checkpoint", `${name}: the tokenizer has the merge ${shown(merge)}, which is no pair.`)
    }
    const unknown = [left, right, left + right].find((entry) => !vocab.has(entry))
    if (unknown !== undefined) {
      throw new IsaacError(
        "bad_checkpoint",
        `${name}: the tokenizer merges ${shown(left)} and ${shown(right)}, but its vocabulary lacks ${shown(unknown)}. ` +
          "Vocabulary and merges belong to different tokenizers.",
      )
    }
  }
}

/** Every longer token of Qwen2's vocabulary is made by a merge: nothing else would tell that merges.txt was cut off. */
function checkAllMade(
  pipeline: Record<string, unknown>,
  vocab: ReadonlyMap<string, number>,
  added: readonly AddedToken[],
  name: string,
): void {
  const made = new Set((record(pipeline.model).merges as readonly string[]).map((merge) => merge.replace(" ", "")))
  for (const { content } of added) made.add(content)
  const never = [...vocab.keys()].filter((entry) => entry.length > 1 && !made.has(entry))
  if (never.length > 0) {
    throw new IsaacError(
      "bad_checkpoint",
      `${name}: no line of merges.txt makes ${never.length} of the tokens in vocab.json, such as ${shown(never[0])}. ` +
        "One of the files is cut off, or of another tokenizer: download both again.",
    )
  }
}

/** added_tokens.json maps content to id; what is special is told by the names of roles elsewhere. */
async function legacyAddedTokens(
  files: FileSet,
  config: Record<string, unknown> | undefined,
): Promise<[string, Record<string, unknown>][]> {
  const ids = await readIfPresent(files, "added_tokens.json")
  const roles = await readIfPresent(files, "special_tokens_map.json")
  const special = new Set([...specialContents(config), ...specialContents(roles)])
  return Object.entries(ids ?? {}).map(([content, id]) => [String(id), { content, special: special.has(content) }])
}

/** The contents under `eos_token`, `pad_token`, …, `additional_special_tokens`: each a string or {content}. */
function specialContents(config: Record<string, unknown> | undefined): string[] {
  return Object.entries(config ?? {})
    .filter(([key]) => /^(bos|eos|pad|unk|sep|cls|mask)_token$|^additional_special_tokens$/.test(key))
    .flatMap(([, value]) => (Array.isArray(value) ? value : [value]))
    .map((value) => (isRecord(value) ? value.content : value))
    .filter((value) => typeof value === "string")
}

function parseAddedToken(id: number, entry: unknown, name: string): AddedToken {
  const { content, special, lstrip, rstrip, single_word } = record(entry)
  if (typeof content !== "string" || content === "" || content.length > LONGEST_ADDED) {
    throw new IsaacError(
      "bad_checkpoint",
      `${name}: the added token ${id} has ${typeof content === "string" && content !== "" ? `${content.length} characters; at most ${LONGEST_ADDED} are read` : "no content"}.`,
    )
  }
  if (single_word === true) {
    throw new IsaacError("unsupported", `${name}: the added token ${shown(content)} is a single_word token.`)
  }
  return {
    id: checkId(id, content, name),
    content,
    special: special === true,
    lstrip: lstrip === true,
    rstrip: rstrip === true,
  }
}

function checkId(id: unknown, entry: string, name: string): number {
  if (typeof id === "number" && Number.isInteger(id) && id >= 0 && id < MOST_IDS) return id
  throw new IsaacError(
    "bad_checkpoint",
    `${name}: the token ${shown(entry)} has the id ${shown(id)}; whole numbers from 0 to ${MOST_IDS - 1} are ids.`,
  )
}

async function readIfPresent(files: FileSet, file: string): Promise<Record<string, unknown> | undefined> {
  return (await files.has(file)) ? readJson(files, file) : undefined
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

function record(value: unknown): Record<string, unknown> {
  return isRecord(value) ? value : {}
}
