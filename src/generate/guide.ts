/**
 * Keeps an answer within a language while the model writes it: which tokens may come next, and which must.
 *
 * Near the end of what may be written, tokens are left out behind which the rest could no longer be completed. So an
 * answer that is cut by `maxNewTokens` or a full context is a word of the language all the same, unless the shortest
 * word has no room from the start.
 */

import { IsaacError } from "../errors"
import type { Language } from "./language"
import { type TokenSet, TokenTrie } from "./token-trie"
import type { Vocabulary } from "./vocabulary"

/** What an answer may be while it is written. Belongs to one answer. */
export interface Guide {
  /** The answer may end here. */
  readonly mayEnd: boolean
  /** Nothing may follow. */
  readonly mustEnd: boolean
  /**
   * Tokens that may come next; end tokens are none of them.
   *
   * @param left how many may still be written, this one included; Infinity where there is room for everything
   */
  allowed(left: number): TokenSet
  /**
   * Tokens that must come next, whatever the model thinks, cut as the tokenizer would cut them. What might be the
   * beginning of a longer token is left to the model.
   */
  forced(left: number): readonly number[]
  /** A token that the answer now has. */
  accept(id: number): void
  /** Another one that stands here and goes its own way. */
  clone(): Guide
}

/** What may come, in one place of the language. */
interface Mask {
  readonly tokens: TokenSet
  /** The most bytes that any of the tokens leaves to be written. */
  readonly longestExit: number
}

/** Ids that masks keep together; beyond that they are found anew. 4 bytes each. */
const MOST_IDS = 4 << 20
/** Tokens of up to so many bytes are most of a vocabulary. */
const FEW_BYTES = 10
/** Cuts of forced text that are kept. */
const MOST_CUTS = 10_000
/** Bytes of forced text that are cut at a time. */
const MOST_FORCED = 256

/** The tokens of a vocabulary that can be text. */
export function textTokens(vocabulary: Vocabulary): TokenTrie {
  return new TokenTrie(vocabulary, (id) => vocabulary.isText?.(id) ?? !vocabulary.isSpecial(id))
}

/** The rules of answers of one kind: a language over tokens. All answers of that kind share it, and what it found. */
export class GuideRules {
  readonly vocabulary: Vocabulary
  readonly trie: TokenTrie
  readonly language: Language
  #masks = new Map<Language, Mask>()
  /** Near the end, by the tokens left. */
  #tight = new Map<Language, Map<number, TokenSet>>()
  #ids = 0
  readonly #costs = new WeakMap<Language, number>()
  readonly #cuts = new Map<string, readonly number[]>()

  constructor(vocabulary: Vocabulary, trie: TokenTrie, language: Language) {
    this.vocabulary = vocabulary
    this.trie = trie
    this.language = language
  }

  start(): Guide {
    return new LanguageGuide(this, this.language)
  }

  /** Throws bad_input when there is no token for what must come. */
  allowed(language: Language, left: number): TokenSet {
    const { tokens, longestExit } = this.#mask(language)
    if (tokens.size === 0 && !language.ends) throw wordless()
    const roomy = left === Number.POSITIVE_INFINITY || (this.trie.complete && left > longestExit)
    if (roomy || this.cost(language, left) > left) return tokens
    let byLeft = this.#tight.get(language)
    if (byLeft === undefined) {
      byLeft = new Map()
      this.#tight.set(language, byLeft)
    }
    let tight = byLeft.get(left)
    if (tight === undefined) {
      tight = this.trie.walk(language, (after) => this.cost(after, left - 1) <= left - 1)
      this.#keep(tight)
      byLeft.set(left, tight)
    }
    return tight.size > 0 || language.ends ? tight : tokens
  }

  /** The fewest tokens that make a word of what was written; Infinity where they are surely more than `most`. */
  cost(language: Language, most: number): number {
    if (language.ends) return 0
    if (language.shortest > most * this.trie.longest) return Number.POSITIVE_INFINITY
    let cost = this.#costs.get(language)
    if (cost === undefined) {
      cost = this.trie.fewest(language.exit())
      this.#costs.set(language, cost)
    }
    return cost
  }

  /** Ids of a text as the tokenizer would write it behind a token; none where it would write another text. */
  cut(text: string, last: number | undefined): readonly number[] {
    const key = `${last} ${text}`
    let ids = this.#cuts.get(key)
    if (ids === undefined) {
      ids = this.#behind(last, text) ?? this.#whole(this.vocabulary.encodeText?.(text) ?? [], text)
      if (this.#cuts.size === MOST_CUTS) this.#cuts.clear()
      this.#cuts.set(key, ids)
    }
    return ids
  }

  /** The same in one piece with the token before it, if that token stays as it is. */
  #behind(last: number | undefined, text: string): readonly number[] | undefined {
    if (last === undefined) return undefined
    const before = wholeText([...this.vocabulary.tokenBytes(last)])
    if (before === undefined || before === "") return undefined
    const [first, ...ids] = Array.from(this.vocabulary.encodeText?.(before + text) ?? [])
    return first === last ? this.#whole(ids, text) : undefined
  }

  #whole(cut: ArrayLike<number>, text: string): readonly number[] {
    const ids = Array.from(cut)
    const same = wholeText(ids.flatMap((id) => [...this.vocabulary.tokenBytes(id)])) === text
    return same && ids.every((id) => this.trie.has(id)) ? ids : []
  }

  #mask(language: Language): Mask {
    let mask = this.#masks.get(language)
    const { alike } = language
    if (mask === undefined && alike !== null && alike.bytes >= FEW_BYTES) {
      // Nearly all tokens are too short to tell the two apart.
      const { tokens, longestExit } = this.#mask(alike.language)
      const others = this.trie.longTokens(alike.bytes).filter((id) => tokens.has(id) && !this.#takes(language, id))
      mask = { tokens: tokens.without(others.sort((a, b) => a - b)), longestExit }
      if (others.length > 0) this.#keep(mask.tokens)
      this.#masks.set(language, mask)
    }
    if (mask === undefined) {
      let longestExit = 0
      const tokens = this.trie.walk(language, (after) => {
        const exit = after.ends ? 0 : after.shortest
        if (exit > longestExit) longestExit = exit
        return exit < Number.POSITIVE_INFINITY
      })
      mask = { tokens, longestExit }
      this.#keep(tokens)
      this.#masks.set(language, mask)
    }
    return mask
  }

  #takes(language: Language, id: number): boolean {
    let state: Language | null = language
    for (const byte of this.vocabulary.tokenBytes(id)) state = state?.next(byte) ?? null
    return state !== null
  }

  #keep({ size }: TokenSet): void {
    this.#ids += size
    if (this.#ids <= MOST_IDS) return
    this.#masks = new Map()
    this.#tight = new Map()
    this.#ids = size
  }
}

class LanguageGuide implements Guide {
  readonly #rules: GuideRules
  #language: Language
  /** The last token of the answer. */
  #last: number | undefined

  constructor(rules: GuideRules, language: Language, last?: number) {
    this.#rules = rules
    this.#language = language
    this.#last = last
  }

  get mayEnd(): boolean {
    return this.#language.ends
  }

  get mustEnd(): boolean {
    return this.#language === this.#language.grammar.empty
  }

  allowed(left: number): TokenSet {
    return this.#rules.allowed(this.#language, left)
  }

  accept(id: number): void {
    let language: Language | null = this.#language
    for (const byte of this.#rules.vocabulary.tokenBytes(id)) language = language?.next(byte) ?? null
    if (language === null) throw new IsaacError("internal", `token ${id} came where the guide does not allow it`)
    this.#language = language
    this.#last = id
  }

  clone(): Guide {
    return new LanguageGuide(this.#rules, this.#language, this.#last)
  }

  forced(left: number): readonly number[] {
    // 1. The bytes that must come, as far as they are whole characters.
    const bytes: number[] = []
    let language = this.#language
    for (let byte = language.only; byte >= 0 && !language.ends && bytes.length < MOST_FORCED; byte = language.only) {
      const after = language.next(byte)
      if (after === null) break
      bytes.push(byte)
      language = after
    }
    const text = wholeText(bytes)
    if (text === undefined || text === "") return []

    // 2. As the tokenizer would cut them behind what is there.
    const ids = this.#rules.cut(text, this.#last)

    // 3. What the model may want to write in one piece with what follows is its own.
    const { trie, vocabulary } = this.#rules
    const forced: number[] = []
    language = this.#language
    for (const [i, id] of ids.entries()) {
      const token = vocabulary.tokenBytes(id)
      if (i === ids.length - 1 && trie.longerThan(token, language)) break
      for (const byte of token) language = language.next(byte)!
      forced.push(id)
    }
    // 4. Where room is short, every token counts: they may be cut into fewer.
    const room = left - forced.length
    if (this.#rules.cost(this.#language, left) <= left && this.#rules.cost(language, room) > room) return []
    return forced
  }
}

/** Bytes as text, without a character at their end that is not complete; undefined where they are none. */
function wholeText(bytes: readonly number[]): string | undefined {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
  try {
    return decoder.decode(Uint8Array.from(bytes), { stream: true })
  } catch {
    return undefined
  }
}

function wordless(): IsaacError {
  return new IsaacError(
    "bad_input",
    "the model has no token for what must come next in a guided answer; its vocabulary lacks single bytes",
  )
}
