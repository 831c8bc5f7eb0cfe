/**
 * What a guided answer may be: words, and pointing tags that `parse` reads without a complaint.
 *
 * An answer may begin with a <think> block. In words a "<" may stand, but whatever begins with a pointing tag's name becomes
 * one: `<point mention="x"> (1,2) </point>`, with just the spaces that models were trained to write, coordinates
 * 0 … 1000 and the second corner of a box right of and below the first. So parsing finds every tag, and no issues.
 */

import { IsaacError, shown } from "../errors"
import { CustomLanguage, Grammar, type Language } from "../generate/language"
import { isLookalike, thinking } from "../generate/thinking-language"
import { utf8Character } from "../generate/utf8-language"
import { escapeHtml, unescapeHtml } from "./html-escape"
import type { LeafType } from "./pointing"

/** How an answer with pointing tags is kept to what can be read. */
export interface GuidedTags {
  /** What the answer may point with; default: point, box and polygon. Collections hold these kinds. */
  readonly kinds?: readonly LeafType[]
  /**
   * The only mentions that may come, as they are spelled here; every tag names one, those in a collection may leave it
   * to the collection. Default: any mention or none.
   */
  readonly classes?: readonly string[]
  /** Words may stand around the tags. Without them the answer is tags alone, or nothing at all. Default true. */
  readonly text?: boolean
}

/** `true` asks for well-formed tags of any kind, with words around them. */
export type GuidedOption = boolean | GuidedTags

const KINDS: readonly LeafType[] = ["point", "box", "polygon"]
const TAG_NAMES = { point: "point", box: "point_box", polygon: "polygon" } as const
const MOST_CLASSES = 10_000
const LONGEST_CLASS = 256
/** Coordinates are thousandths of the picture's sides. */
const RANGE = 1000

/** The option with its defaults, in a fixed order; undefined for an answer that is free. Throws bad_input. */
export function checkGuided(option: unknown): Required<GuidedTags> | undefined {
  if (option === undefined || option === false) return undefined
  if (option === true) return { kinds: KINDS, classes: [], text: true }
  if (typeof option !== "object" || option === null || Array.isArray(option)) {
    throw new IsaacError(
      "bad_input",
      `guided is ${shown(option, 80)}; it must be true, false or {kinds, classes, text}`,
    )
  }
  const { kinds, classes, text = true, ...others } = option as Record<string, unknown>
  const [unknown] = Object.keys(others)
  if (unknown !== undefined) {
    throw new IsaacError("bad_input", `guided has ${shown(unknown, 80)}; it takes kinds, classes and text`)
  }
  if (typeof text !== "boolean") {
    throw new IsaacError("bad_input", `guided.text is ${shown(text, 80)}; it must be true or false`)
  }
  return { kinds: checkKinds(kinds), classes: classes === undefined ? [] : checkClasses(classes), text }
}

function checkKinds(kinds: unknown): readonly LeafType[] {
  if (kinds === undefined) return KINDS
  if (!Array.isArray(kinds) || kinds.length === 0) {
    throw new IsaacError("bad_input", `guided.kinds must be an array of one or more of ${KINDS.join(", ")}`)
  }
  const other = kinds.find((kind) => !KINDS.includes(kind))
  if (other !== undefined || kinds.includes(undefined)) {
    throw new IsaacError("bad_input", `guided.kinds has ${shown(other, 80)}; it takes ${KINDS.join(", ")}`)
  }
  return KINDS.filter((kind) => kinds.includes(kind))
}

function checkClasses(classes: unknown): readonly string[] {
  if (!Array.isArray(classes) || classes.length === 0) {
    throw new IsaacError("bad_input", "guided.classes must be an array of at least one name; leave it out to allow any")
  }
  if (classes.length > MOST_CLASSES) {
    throw new IsaacError("bad_input", `guided.classes has ${classes.length} names; at most ${MOST_CLASSES} are taken`)
  }
  for (const name of classes) {
    if (typeof name !== "string" || name.trim() === "") {
      throw new IsaacError("bad_input", `guided.classes has ${shown(name, 80)}; names are strings with some text`)
    }
    if (name.length > LONGEST_CLASS) {
      throw new IsaacError(
        "bad_input",
        `guided.classes has a name of ${name.length} characters; at most ${LONGEST_CLASS} are taken`,
      )
    }
    if (/[\p{Cc}\p{Cs}\u2028\u2029]/u.test(name)) {
      throw new IsaacError(
        "bad_input",
        `guided.classes has ${shown(name, 80)}: names must not hold line breaks, control characters or half characters`,
      )
    }
    if (/^\s|\s$|[ \t]{2}/.test(name)) {
      throw new IsaacError(
        "bad_input",
        `guided.classes has ${shown(name, 80)}: blanks at the ends and several in a row would not be read back; leave them out`,
      )
    }
  }
  return [...new Set<string>(classes)]
}

/** The language of guided answers. */
export function tagLanguage({ kinds, classes, text }: Required<GuidedTags>): Language {
  const grammar = new Grammar()
  const tags = new Tags(grammar, kinds, classes)
  if (text) {
    const words = new Words(grammar, tags)
    return grammar.either(words.from(""), thinking(grammar, words.from(""), true))
  }
  const space = grammar.bytes(0x20, 0x20, 0x0a, 0x0a)
  const tag = tags.all
  const list = grammar.optional(grammar.sequence(tag, grammar.repeat(grammar.sequence(space, tag), 0)))
  return grammar.either(list, thinking(grammar, grammar.sequence(grammar.repeat(space, 0, 2), list), true))
}

/** The tags that an answer may have. */
class Tags {
  /** Any of them, from its "<" on. */
  readonly all: Language
  /** By its name: what may stand behind `<name`. */
  readonly #behind = new Map<string, Language>()

  constructor(grammar: Grammar, kinds: readonly LeafType[], classes: readonly string[]) {
    const pair = (low: readonly [number, number], then: (x: number, y: number) => Language) =>
      grammar.sequence(
        grammar.text(" ("),
        grammar.digits(low[0], RANGE, (x) =>
          grammar.sequence(
            grammar.text(","),
            grammar.digits(low[1], RANGE, (y) => grammar.sequence(grammar.text(")"), then(x, y))),
          ),
        ),
      )
    const anyPair = pair([0, 0], () => grammar.empty)
    const bodies: Readonly<Record<LeafType, Language>> = {
      point: anyPair,
      box: pair([0, 0], (x, y) => pair([x, y], () => grammar.empty)),
      polygon: grammar.repeat(anyPair, 3),
    }
    const mention = mentions(grammar, classes)
    const time = grammar.optional(
      grammar.sequence(
        grammar.text(" t="),
        grammar.digits(0, 999_999),
        grammar.optional(grammar.sequence(grammar.text("."), grammar.repeat(grammar.bytes(0x30, 0x39), 1, 6))),
      ),
    )
    const named = classes.length > 0 ? mention : grammar.optional(mention)
    const behind = (name: string, attributes: Language, body: Language) =>
      grammar.sequence(attributes, time, grammar.text(">"), body, grammar.text(` </${name}>`))
    const open = (name: string, rest: Language) => grammar.sequence(grammar.text(`<${name}`), rest)

    const leaves = kinds.map((kind) => ({ name: TAG_NAMES[kind], body: bodies[kind] }))
    const member = grammar.either(
      ...leaves.map(({ name, body }) => open(name, behind(name, grammar.optional(mention), body))),
    )
    const members = grammar.repeat(grammar.sequence(grammar.text(" "), member), 1)
    for (const { name, body } of leaves) this.#behind.set(name, behind(name, named, body))
    this.#behind.set("collection", behind("collection", named, members))
    this.all = grammar.either(...[...this.#behind].map(([name, rest]) => open(name, rest)))
  }

  behind(name: string): Language | undefined {
    return this.#behind.get(name)
  }
}

/** ` mention="…"`, with any text or that of a class. */
function mentions(grammar: Grammar, classes: readonly string[]): Language {
  // Without control characters, quotes and angle brackets.
  const any = grammar.repeat(utf8Character(grammar, 0x20, 0x21, 0x23, 0x3b, 0x3d, 0x3d, 0x3f, 0x7e), 0)
  const words = classes.length > 0 ? grammar.words(classes.flatMap(spellings)) : any
  return grammar.sequence(grammar.text(' mention="'), words, grammar.text('"'))
}

/** How a name may be written into a tag: as the reference does, and with apostrophes as they are. */
function spellings(name: string): string[] {
  const escaped = escapeHtml(name)
  const plain = escaped.replaceAll("&#x27;", "'")
  return unescapeHtml(plain) === name ? [escaped, plain] : [escaped]
}

/** A tag that is never begun in words: thoughts stand before them. */
const THINK = "think"
/** Names that a reader takes for tags, in any case. */
const NAMES: readonly string[] = [...Object.values(TAG_NAMES), "collection", THINK]

/** Words around tags. */
class Words {
  readonly #grammar: Grammar
  readonly #tags: Tags

  constructor(grammar: Grammar, tags: Tags) {
    this.#grammar = grammar
    this.#tags = tags
  }

  /** Behind `seen`, which may become a tag; "" when nothing may. An answer may end anywhere in words. */
  from(seen: string): Language {
    return this.#grammar.once(
      `words ${seen}`,
      () =>
        new CustomLanguage(this.#grammar, {
          ends: true,
          exit: () => ["", this.#grammar.empty],
          next: (byte) => this.#next(seen, byte),
        }),
    )
  }

  #next(seen: string, byte: number): Language | null {
    if (seen === "") return this.from(byte === 0x3c ? "<" : "")
    const name = seen.slice(1).toLowerCase()
    const character = String.fromCharCode(byte)
    // A letter that only looks like the next one: readers would take the whole for the name.
    if (NAMES.some((whole) => whole.startsWith(name) && isLookalike(byte, whole.charCodeAt(name.length)))) return null
    if (name === THINK && character === ">") return null
    const longer = name + character.toLowerCase()
    // The name is complete: a tag follows, or nothing does.
    if (longer !== THINK && NAMES.includes(longer)) return seen + character === `<${longer}` ? this.#tag(longer) : null
    if (NAMES.some((whole) => whole.startsWith(longer))) return this.from(seen + character)
    return this.from(character === "<" ? "<" : "")
  }

  /** What may stand behind "<" and the name of a tag; null when there is no such tag. */
  #tag(name: string): Language | null {
    const grammar = this.#grammar
    const longer = NAMES.filter((other) => other.startsWith(name)).flatMap((other) => {
      const behind = this.#tags.behind(other)
      return behind ? grammar.sequence(grammar.text(other.slice(name.length)), behind) : []
    })
    return longer.length === 0 ? null : grammar.sequence(grammar.either(...longer), this.from(""))
  }
}
