/** What keeps answers within rules: the guides of one engine, made when first asked for and kept for the next answer. */

import type { GenerateOptions } from "./engine-options"
import { IsaacError } from "./errors"
import { GuideRules, textTokens } from "./generate/guide"
import { jsonLanguage } from "./generate/json-grammar"
import type { Language } from "./generate/language"
import type { TokenTrie } from "./generate/token-trie"
import type { Vocabulary } from "./generate/vocabulary"
import { checkGuided, tagLanguage } from "./perception/tag-grammar"
import type { Tokenizer } from "./processor"

/** Added tokens that a model writes as a part of its answer; all others steer it. */
const WRITTEN = new Set(["<think>", "</think>"])

/** Whether a token can be a part of a guided answer. */
export function textIds(tokenizer: Tokenizer): (id: number) => boolean {
  const others = new Set(tokenizer.added.filter(({ content }) => !WRITTEN.has(content)).map(({ id }) => id))
  return (id) => !others.has(id) && !tokenizer.isSpecial(id)
}

/** Rules that are kept. */
const MOST = 4
/** Rules that have grown to more languages are made anew for the next answer. */
const LARGEST = 200_000

export class Guides {
  readonly #vocabulary: Vocabulary
  #trie: TokenTrie | undefined
  /** The ones used last at the end. */
  readonly #rules = new Map<string, GuideRules>()

  constructor(vocabulary: Vocabulary) {
    this.#vocabulary = vocabulary
  }

  /** The rules that these options ask for; undefined for a free answer. Throws bad_input. */
  of({ guided, schema }: Pick<GenerateOptions, "guided" | "schema">): GuideRules | undefined {
    const tags = checkGuided(guided)
    if (schema === undefined) {
      return tags && this.#rulesOf(`tags ${JSON.stringify(tags)}`, () => tagLanguage(tags))
    }
    if (tags) throw new IsaacError("bad_input", "an answer is guided to tags or to a schema, not to both; give one")
    return this.#rulesOf(`schema ${schemaText(schema)}`, () => jsonLanguage(schema))
  }

  #rulesOf(key: string, make: () => Language): GuideRules {
    let rules = this.#rules.get(key)
    this.#rules.delete(key)
    if (rules === undefined || rules.language.grammar.count > LARGEST) {
      this.#trie ??= textTokens(this.#vocabulary)
      rules = new GuideRules(this.#vocabulary, this.#trie, make())
    }
    this.#rules.set(key, rules)
    for (const [oldest] of this.#rules) {
      if (this.#rules.size <= MOST) break
      this.#rules.delete(oldest)
    }
    return rules
  }
}

/** A schema as text, which tells it from others. */
function schemaText(schema: unknown): string {
  try {
    return JSON.stringify(schema)
  } catch (cause) {
    throw new IsaacError(
      "bad_input",
      "the schema is no JSON: it holds itself as an object, or a value that JSON lacks",
      {
        cause,
      },
    )
  }
}
