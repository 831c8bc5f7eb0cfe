/**
 * Which category a name that a model wrote stands for.
 *
 * Names are compared without case, articles, punctuation and plurals. First, every name that equals a category is that
 * category. The others of an answer are given out greedily, the most alike first, each category to at most one of them
 * and none that was named exactly: by the share of words in common (|a ∩ b| / |a ∪ b|, at least a half), then by
 * containment (all words of a category in the name, or all of the name in a category). A name that is as much like two
 * categories stands for neither.
 */

export interface NameMatch {
  /** Index of the category; null when the name stands for none. */
  readonly category: number | null
  readonly how: "exact" | "words" | "contained" | "ambiguous" | "none"
}

const LEAST_SHARE = 0.5

export class ClassNames {
  readonly #words: readonly (readonly string[])[]
  readonly #exact: ReadonlyMap<string, number>

  constructor(categories: readonly string[]) {
    this.#words = categories.map(wordsOf)
    // The first of several that are the same.
    this.#exact = new Map(this.#words.map((words, i) => [words.join(""), i] as const).reverse())
  }

  /** What each of the names of one answer stands for. */
  match(names: readonly string[]): Map<string, NameMatch> {
    const matches = new Map<string, NameMatch>()
    const taken = new Set<number>()
    const open: { name: string; scores: number[] }[] = []
    for (const name of new Set(names)) {
      const words = wordsOf(name)
      const category = this.#exact.get(words.join(""))
      if (category !== undefined && words.length > 0) {
        matches.set(name, { category, how: "exact" })
        taken.add(category)
      } else {
        open.push({ name, scores: this.#words.map((other) => likeness(words, other)) })
      }
    }
    const claims = open.flatMap(({ name, scores }) => scores.map((score, category) => ({ name, category, score })))
    for (const { name, category, score } of claims.filter(({ score }) => score > 0).sort((a, b) => b.score - a.score)) {
      if (matches.has(name) || taken.has(category)) continue
      const rivals = claims.filter((c) => c.name === name && c.score === score && !taken.has(c.category))
      if (rivals.length > 1) {
        matches.set(name, { category: null, how: "ambiguous" })
        continue
      }
      matches.set(name, { category, how: score >= LEAST_SHARE ? "words" : "contained" })
      taken.add(category)
    }
    for (const { name } of open) if (!matches.has(name)) matches.set(name, { category: null, how: "none" })
    return matches
  }
}

/** The words of a name that tell it from others, in the singular. */
export function wordsOf(name: string): string[] {
  const words = name
    .normalize("NFKC")
    .toLowerCase()
    .replace(/['’]s\b/g, "")
    .split(/[^\p{L}\p{N}]+/u)
    .filter((word) => word !== "" && !ARTICLES.has(word))
  return words.map(singular)
}

const ARTICLES: ReadonlySet<string> = new Set(["a", "an", "the"])
const IRREGULAR: ReadonlyMap<string, string> = new Map(
  Object.entries({
    ...{ people: "person", men: "man", women: "woman", children: "child", mice: "mouse", geese: "goose" },
    ...{ feet: "foot", teeth: "tooth", knives: "knife", wives: "wife", lives: "life", leaves: "leaf" },
    ...{ shelves: "shelf", wolves: "wolf", loaves: "loaf", halves: "half", scarves: "scarf", calves: "calf" },
    ...{ buses: "bus", shoes: "shoe", movies: "movie", cookies: "cookie", ties: "tie", pies: "pie" },
  }),
)

/** The singular of an English noun by its ending; of what is no plural, the same for both forms at least. */
function singular(word: string): string {
  const irregular = IRREGULAR.get(word)
  if (irregular !== undefined) return irregular
  if (/(ss|us|is)$/.test(word) || !word.endsWith("s")) return word
  if (word.endsWith("ies")) return `${word.slice(0, -3)}y`
  return /(ss|x|zz|ch|sh|o)es$/.test(word) ? word.slice(0, -2) : word.slice(0, -1)
}

/** The plural of an English noun, or of the last word of a name. */
export function plural(name: string): string {
  const [, before, last] = /^(.*?)(\S*)$/s.exec(name) as unknown as [string, string, string]
  const irregular = [...IRREGULAR].find(([, one]) => one === last.toLowerCase())?.[0]
  if (irregular !== undefined) return before + irregular
  if (/(s|x|zz|ch|sh)$/i.test(last)) return `${name}es`
  return /[^aeiou]y$/i.test(last) ? `${name.slice(0, -1)}ies` : `${name}s`
}

/** 0: nothing alike. From a half to 1: the share of words in common. Less: one is contained in the other. */
function likeness(a: readonly string[], b: readonly string[]): number {
  if (a.length === 0 || b.length === 0) return 0
  const [left, right] = [new Set(a), new Set(b)]
  const both = [...left].filter((word) => right.has(word)).length
  const share = both / (left.size + right.size - both)
  if (share >= LEAST_SHARE) return share
  return both === Math.min(left.size, right.size) ? share : 0
}
