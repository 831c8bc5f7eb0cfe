/** A model that knows nothing: it writes whatever a guide lets it, by chance. */

import { fileURLToPath } from "node:url"
import { Continuation } from "../src/generate/continuation"
import { GuideRules, textTokens } from "../src/generate/guide"
import type { Language } from "../src/generate/language"
import { Random } from "../src/generate/random"
import type { TokenTrie } from "../src/generate/token-trie"
import type { Vocabulary } from "../src/generate/vocabulary"
import { textIds } from "../src/guides"
import { Tokenizer } from "../src/processor"
import { openFolder } from "../src/weights/files-node"
import { promptOf, textEvent } from "./tiny-sessions"

const END = "<|im_end|>"

export interface Written {
  readonly text: string
  readonly ids: readonly number[]
  readonly finishReason: string | undefined
  readonly whole: boolean
  readonly forced: number
}

export class GuidedWriter {
  readonly vocabulary: Vocabulary
  readonly trie: TokenTrie
  readonly end: number
  /** Tokens that are likelier than others, so that tags are begun and ended. */
  readonly #liked: readonly number[]
  readonly #openers: readonly number[]
  readonly #closers: readonly number[]

  private constructor(tokenizer: Tokenizer) {
    this.vocabulary = {
      size: tokenizer.size,
      tokenBytes: (id) => tokenizer.tokenBytes(id),
      isSpecial: (id) => tokenizer.isSpecial(id),
      isText: textIds(tokenizer),
      encode: (text) => tokenizer.encode(text, { special: true }),
      encodeText: (text) => tokenizer.encode(text),
    }
    this.trie = textTokens(this.vocabulary)
    this.end = tokenizer.idOf(END)!
    const text = (id: number) => new TextDecoder().decode(tokenizer.tokenBytes(id))
    this.#liked = Array.from({ length: tokenizer.size }, (_, id) => id).filter((id) =>
      /^[ "<>(),=/_0-9]*$|point|box|polygon|collection|mention|think/.test(text(id)),
    )
    this.#openers = this.#liked.filter((id) => /^ ?<(?:point|polygon|collection)$/.test(text(id)))
    this.#closers = this.#liked.filter((id) => /^"?>$|^_box$|^ mention$|^="$/.test(text(id)))
  }

  /** With the vocabulary of the tiny model. */
  static async open(): Promise<GuidedWriter> {
    const folder = fileURLToPath(new URL("../models/isaac-tiny", import.meta.url))
    return new GuidedWriter(await Tokenizer.load(await openFolder(folder)))
  }

  rules(language: Language): GuideRules {
    return new GuideRules(this.vocabulary, this.trie, language)
  }

  /** @param room what the context takes yet; `like` is how much likelier the liked tokens are */
  write(
    guide: GuideRules,
    seed: number,
    { maxNewTokens = 200, room = 10_000, temperature = 1, like = 3, endLike = 2 } = {},
  ): Written {
    const random = new Random(seed)
    const setup = { maxNewTokens, stopIds: [this.end], vocabulary: this.vocabulary, guide, temperature, seed }
    const continuation = new Continuation(promptOf(textEvent(1)), setup)
    const ids: number[] = []
    let text = ""
    while (continuation.finishReason === undefined) {
      const logits = new Float32Array(this.vocabulary.size)
      for (let id = 0; id < logits.length; id++) logits[id] = 4 * random.next()
      for (const id of this.#liked) logits[id] += like
      const inside = text.lastIndexOf("<") > text.lastIndexOf(">")
      for (const id of inside ? this.#closers : this.#openers) logits[id] += 1.5 * like
      logits[this.end] += endLike
      const token = continuation.next(logits, room - ids.length)
      ids.push(token.id)
      text += token.text
    }
    const { finishReason, whole, forcedTokens: forced } = continuation
    return { text, ids, finishReason, whole, forced }
  }
}
