/** Text ⇄ token ids: byte-level BPE with added tokens. */

import { Tokenizer as BpeTokenizer } from "@huggingface/tokenizers"
import { IsaacError, plainText, shown } from "../errors"
import type { FileSet } from "../weights/source"
import { entryBytes } from "./byte-level"
import { type AddedToken, readTokenizerDefinition, type TokenizerDefinition } from "./tokenizer-files"

export interface EncodeOptions {
  /**
   * True: added tokens written in the text (`<|im_end|>`, `<think>`) become their ids; for rendered templates.
   * False (default): they are ordinary characters; for text that a user typed.
   */
  readonly special?: boolean
}

/** Letters of several scripts, both cases, digits, punctuation, white space, a character outside of 16 bits. */
const PROBE = "The Red fox's 12 dens:\n\t größe, ДА, 日本語 — 😀 (x, y)  done"

/** Immutable; one per checkpoint. */
export class Tokenizer {
  /** Largest id + 1. The model's embedding may have more rows; those have no text. */
  readonly size: number
  /** The added tokens, special or not. */
  readonly added: readonly AddedToken[]
  /** Normaliser, splitter and merges, ignorant of added tokens. */
  readonly #bpe: BpeTokenizer
  readonly #ids: ReadonlyMap<string, number>
  /** [size] what each id stands for; empty where there is no such token. */
  readonly #bytes: readonly Uint8Array[]
  readonly #special: ReadonlySet<number>
  readonly #addedByContent: ReadonlyMap<string, AddedToken>
  /** Finds added tokens, the leftmost first and of those the longest. */
  readonly #addedPattern: RegExp | undefined

  /**
   * The tokenizer of a checkpoint; see `readTokenizerDefinition` for the files.
   *
   * @throws IsaacError `bad_checkpoint` or `unsupported`
   */
  static async load(files: FileSet): Promise<Tokenizer> {
    const tokenizer = new Tokenizer(await readTokenizerDefinition(files))
    tokenizer.#checkRoundTrip(files.name)
    return tokenizer
  }

  constructor({ name, pipeline, vocab, added }: TokenizerDefinition) {
    try {
      this.#bpe = new BpeTokenizer(pipeline, {})
    } catch (cause) {
      throw new IsaacError(
        "bad_checkpoint",
        `${name}: the tokenizer cannot be built: ${plainText((cause as Error).message).slice(0, 300)}`,
        {
          cause,
        },
      )
    }
    const utf8 = new TextEncoder()
    const ids = new Map(vocab)
    const bytes: Uint8Array[] = []
    for (const [entry, id] of vocab) bytes[id] = entryBytes(entry) ?? utf8.encode(entry)
    for (const { id, content } of added) {
      ids.set(content, id)
      bytes[id] = utf8.encode(content)
    }
    this.#ids = ids
    this.#bytes = Array.from(bytes, (entry) => entry ?? new Uint8Array(0))
    this.size = this.#bytes.length
    this.added = added
    this.#special = new Set(added.filter(({ special }) => special).map(({ id }) => id))
    this.#addedByContent = new Map(added.map((token) => [token.content, token]))
    this.#addedPattern = addedPattern(added)
  }

  /** The ids of `text`; no ids are put around it. */
  encode(text: string, { special = false }: EncodeOptions = {}): Int32Array {
    const ids: number[] = []
    for (const piece of special ? this.split(text) : [text]) {
      if (typeof piece === "number") ids.push(piece)
      else if (piece !== "") for (const id of this.#bpe.encode(piece).ids) ids.push(id)
    }
    return Int32Array.from(ids)
  }

  /** Text must come back from its ids: a pipeline that drops or changes characters would do so without a word. */
  #checkRoundTrip(name: string): void {
    let back: string
    try {
      back = this.decode(this.encode(PROBE))
    } catch (cause) {
      const message = plainText((cause as Error).message).slice(0, 300)
      throw new IsaacError("bad_checkpoint", `${name}: the tokenizer fails on plain text: ${message}`, { cause })
    }
    if (back === PROBE) return
    throw new IsaacError(
      "unsupported",
      `${name}: the tokenizer changes text: ${shown(PROBE)} comes back as ${shown(back)}. Only tokenizers that keep ` +
        "every character are supported.",
    )
  }

  /** `text` cut at its added tokens: the ids of those, and the ordinary text between them. */
  split(text: string): (string | number)[] {
    if (!this.#addedPattern) return [text]
    const pieces: (string | number)[] = []
    let end = 0
    for (const match of text.matchAll(this.#addedPattern)) {
      const token = this.#addedByContent.get(match[0])!
      // White space that an added token swallows is looked for behind what was found, which takes linear time.
      const before = text.slice(end, match.index)
      const kept = token.lstrip ? before.trimEnd() : before
      if (kept !== "") pieces.push(kept)
      pieces.push(token.id)
      end = Math.max(end, match.index + match[0].length)
      if (token.rstrip) while (end < text.length && /\s/.test(text[end])) end++
    }
    if (end < text.length) pieces.push(text.slice(end))
    return pieces
  }

  /**
   * The text of `ids`. Bytes that are no UTF-8 become U+FFFD; ids that no token has are left out.
   *
   * @param skipSpecial leave special tokens out (default false)
   */
  decode(ids: Iterable<number>, { skipSpecial = false }: { skipSpecial?: boolean } = {}): string {
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true })
    let text = ""
    for (const id of ids) {
      if (skipSpecial && this.isSpecial(id)) continue
      text += decoder.decode(this.tokenBytes(id), { stream: true })
    }
    return text + decoder.decode()
  }

  /** The bytes of one token, often a part of a character; none where no token has this id. Do not change them. */
  tokenBytes(id: number): Uint8Array {
    return this.#bytes[id] ?? new Uint8Array(0)
  }

  /** True for control tokens such as `<|im_end|>`, which are no part of an answer's text. */
  isSpecial(id: number): boolean {
    return this.#special.has(id)
  }

  /** The id of an added token, or of a vocabulary entry in byte-level characters (`Ġthe`). */
  idOf(token: string): number | undefined {
    return this.#ids.get(token)
  }
}

function addedPattern(added: readonly AddedToken[]): RegExp | undefined {
  if (added.length === 0) return undefined
  const alternatives = [...added]
    .sort((a, b) => b.content.length - a.content.length)
    .map(({ content }) => escapeRegExp(content))
  return new RegExp(alternatives.join("|"), "g")
}

/** `text` as a pattern that matches just it. */
export function escapeRegExp(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")
}
