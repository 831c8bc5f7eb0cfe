/**
 * What an answer may be, as a set of byte strings that is taken apart one byte at a time.
 *
 * A `Language` answers three questions: what may follow a byte (`next`, again a language), may the answer end here
 * (`ends`), and what is the shortest way to an end (`shortest`, `exit`). Each language remembers what follows its bytes,
 * so that an automaton grows of itself, just where answers go. A `Grammar` makes languages, and makes equal ones once.
 */

const UTF8 = new TextEncoder()

export abstract class Language {
  readonly grammar: Grammar
  /** Its number within the grammar. */
  readonly id: number
  #after: Map<number, Language | null> | undefined
  /** The same for languages in which many bytes may come. */
  #table: (Language | null | undefined)[] | undefined
  #shortest = 0
  #shortestAt = -1

  constructor(grammar: Grammar) {
    this.grammar = grammar
    this.id = grammar.count++
  }

  /** The empty string belongs to it: an answer may end here. */
  abstract readonly ends: boolean

  /** The byte that must come next; -1 when several may, or when the answer may end. */
  abstract readonly only: number

  /** One that takes the same strings of up to so many bytes, where there is one that more languages are alike to. */
  get alike(): { readonly language: Language; readonly bytes: number } | null {
    return null
  }

  /** What may stand behind `byte`; null when nothing begins with it. */
  next(byte: number): Language | null {
    const known = this.#table === undefined ? this.#after?.get(byte) : this.#table[byte]
    if (known !== undefined) return known
    const after = this.derive(byte)
    if (this.#table !== undefined) {
      this.#table[byte] = after
    } else {
      this.#after ??= new Map()
      this.#after.set(byte, after)
      if (this.#after.size > 24) {
        this.#table = new Array(256)
        for (const [known, language] of this.#after) this.#table[known] = language
        this.#after = undefined
      }
    }
    return after
  }

  /** Bytes of `exit`; Infinity when there is no way to an end. */
  get shortest(): number {
    if (this.#shortestAt !== this.grammar.epoch) {
      this.#shortest = this.measure()
      this.#shortestAt = this.grammar.epoch
    }
    return this.#shortest
  }

  /**
   * The shortest string of the language, of several the first in byte order. So behind its first byte the rest of it is
   * the shortest string of what follows.
   */
  exit(): Uint8Array {
    const bytes: number[] = []
    const pending: Language[] = [this]
    for (let language = pending.pop(); language !== undefined; language = pending.pop()) {
      language.leave(bytes, pending)
    }
    return Uint8Array.from(bytes)
  }

  protected abstract derive(byte: number): Language | null
  protected abstract measure(): number
  /** The next bytes of `exit`; languages that follow go on top of `pending`, the first one last. */
  abstract leave(bytes: number[], pending: Language[]): void
}

/** Makes languages. What it made lives as long as the grammar itself. */
export class Grammar {
  /** Languages so far. */
  count = 0
  /** Lengths are found anew for each epoch; there is no further one when all references are known. */
  epoch = 0
  /** Just the empty string. */
  readonly empty: Language
  readonly #made = new Map<string, Language>()
  readonly #references: Reference[] = []

  constructor() {
    this.empty = new Bytes(this, new Uint8Array(0), 0)
  }

  /** One string. */
  text(text: string): Language {
    return text === "" ? this.empty : this.once(`text ${text}`, () => new Bytes(this, UTF8.encode(text), 0))
  }

  /** One byte out of ranges [from, to, from, to, …], both ends included. */
  bytes(...ranges: readonly number[]): Language {
    return this.once(`bytes ${ranges}`, () => new ByteSet(this, ranges))
  }

  /** One after the other. */
  sequence(...parts: readonly Language[]): Language {
    return parts.reduceRight((rest, part) => this.#pair(part, rest), this.empty)
  }

  #pair(first: Language, rest: Language): Language {
    if (first === this.empty) return rest
    if (rest === this.empty) return first
    if (first instanceof Pair) return this.#pair(first.first, this.#pair(first.rest, rest))
    return this.once(`pair ${first.id} ${rest.id}`, () => new Pair(this, first, rest))
  }

  /** Any of them. There must be one at least. */
  either(...options: readonly Language[]): Language {
    const all = new Set<Language>()
    for (const option of options) {
      if (option instanceof Either) for (const inner of option.options) all.add(inner)
      else all.add(option)
    }
    if (all.size === 1) return options[0] instanceof Either ? options[0].options[0] : options[0]
    const list = [...all].sort((a, b) => a.id - b.id)
    return this.once(`either ${list.map(({ id }) => id)}`, () => new Either(this, list))
  }

  optional(language: Language): Language {
    return this.either(language, this.empty)
  }

  /** `min` to `max` of them, one after the other; `each` must not hold the empty string. */
  repeat(each: Language, min: number, max = Number.POSITIVE_INFINITY): Language {
    if (max === 0) return this.empty
    return this.once(`repeat ${each.id} ${min} ${max}`, () => new Repeat(this, each, min, max))
  }

  /** Any of these strings. There must be one at least. */
  words(words: readonly string[]): Language {
    const sorted = [...new Set(words)].map((word) => UTF8.encode(word)).sort(compareBytes)
    return new Words(this, sorted, 0, sorted.length, 0)
  }

  /**
   * A whole number low … high without sign and leading zeros, 0 ≤ low ≤ high < 2⁵³, and what follows it.
   *
   * @param then what may follow a number; it must not begin with a digit, nor become shorter with a longer number
   */
  digits(low: number, high: number, then?: (value: number) => Language): Language {
    return new Digits(this, { low, high, then }, 0, 0)
  }

  /** A language that is known later: `define` it before anything is asked of what was made of it, then `settle`. */
  reference(): Reference {
    const reference = new Reference(this)
    this.#references.push(reference)
    return reference
  }

  /** All references are defined: find the shortest way through each. */
  settle(): void {
    for (let changed = true; changed; ) {
      changed = false
      this.epoch++
      for (const reference of this.#references) changed = reference.improve() || changed
    }
    this.epoch++
  }

  /** A language of its own kind, made once for each key. */
  once(key: string, make: () => Language): Language {
    let language = this.#made.get(key)
    if (language === undefined) {
      language = make()
      this.#made.set(key, language)
    }
    return language
  }
}

/** What is left of one string. */
class Bytes extends Language {
  readonly #bytes: Uint8Array
  readonly #at: number

  constructor(grammar: Grammar, bytes: Uint8Array, at: number) {
    super(grammar)
    this.#bytes = bytes
    this.#at = at
  }

  get ends(): boolean {
    return this.#at === this.#bytes.length
  }

  get only(): number {
    return this.ends ? -1 : this.#bytes[this.#at]
  }

  protected derive(byte: number): Language | null {
    if (this.ends || byte !== this.#bytes[this.#at]) return null
    const after = this.#at + 1
    return after === this.#bytes.length ? this.grammar.empty : new Bytes(this.grammar, this.#bytes, after)
  }

  protected measure(): number {
    return this.#bytes.length - this.#at
  }

  leave(bytes: number[]): void {
    for (let at = this.#at; at < this.#bytes.length; at++) bytes.push(this.#bytes[at])
  }
}

class ByteSet extends Language {
  readonly ends = false
  readonly #ranges: readonly number[]

  constructor(grammar: Grammar, ranges: readonly number[]) {
    super(grammar)
    this.#ranges = ranges
  }

  get only(): number {
    const [from, to] = this.#ranges
    return this.#ranges.length === 2 && from === to ? from : -1
  }

  protected derive(byte: number): Language | null {
    for (let i = 0; i < this.#ranges.length; i += 2) {
      if (byte >= this.#ranges[i] && byte <= this.#ranges[i + 1]) return this.grammar.empty
    }
    return null
  }

  protected measure(): number {
    return 1
  }

  leave(bytes: number[]): void {
    bytes.push(Math.min(...this.#ranges))
  }
}

class Pair extends Language {
  readonly first: Language
  readonly rest: Language

  constructor(grammar: Grammar, first: Language, rest: Language) {
    super(grammar)
    this.first = first
    this.rest = rest
  }

  get ends(): boolean {
    return this.first.ends && this.rest.ends
  }

  get only(): number {
    return this.first.ends ? -1 : this.first.only
  }

  override get alike() {
    const first = this.first.alike
    return first && { language: this.grammar.sequence(first.language, this.rest), bytes: first.bytes }
  }

  protected derive(byte: number): Language | null {
    const inside = this.first.next(byte)
    const within = inside && this.grammar.sequence(inside, this.rest)
    const behind = this.first.ends ? this.rest.next(byte) : null
    return within && behind ? this.grammar.either(within, behind) : (within ?? behind)
  }

  protected measure(): number {
    return this.first.shortest + this.rest.shortest
  }

  leave(_: number[], pending: Language[]): void {
    pending.push(this.rest, this.first)
  }
}

class Either extends Language {
  readonly options: readonly Language[]

  constructor(grammar: Grammar, options: readonly Language[]) {
    super(grammar)
    this.options = options
  }

  get ends(): boolean {
    return this.options.some(({ ends }) => ends)
  }

  get only(): number {
    const { only } = this.options[0]
    return this.options.every((option) => option.only === only) ? only : -1
  }

  protected derive(byte: number): Language | null {
    const after = this.options.flatMap((option) => option.next(byte) ?? [])
    return after.length === 0 ? null : this.grammar.either(...after)
  }

  protected measure(): number {
    return this.options.reduce((least, { shortest }) => Math.min(least, shortest), Number.POSITIVE_INFINITY)
  }

  leave(_: number[], pending: Language[]): void {
    const short = this.options.filter(({ shortest }) => shortest === this.shortest)
    pending.push(
      short.length === 1 ? short[0] : short.reduce((a, b) => (compareBytes(a.exit(), b.exit()) <= 0 ? a : b)),
    )
  }
}

class Repeat extends Language {
  readonly #each: Language
  readonly #min: number
  readonly #max: number

  constructor(grammar: Grammar, each: Language, min: number, max: number) {
    super(grammar)
    this.#each = each
    this.#min = min
    this.#max = max
  }

  get ends(): boolean {
    return this.#min === 0
  }

  get only(): number {
    return this.ends ? -1 : this.#each.only
  }

  /** How many may come yet does not matter to a string that is too short for all of them. */
  override get alike() {
    if (this.#min > 0 || this.#max === Number.POSITIVE_INFINITY) return null
    return { language: this.grammar.repeat(this.#each, 0), bytes: this.#max }
  }

  protected derive(byte: number): Language | null {
    const inside = this.#each.next(byte)
    if (inside === null) return null
    return this.grammar.sequence(inside, this.grammar.repeat(this.#each, Math.max(this.#min - 1, 0), this.#max - 1))
  }

  protected measure(): number {
    return this.#min === 0 ? 0 : this.#min * this.#each.shortest
  }

  leave(_: number[], pending: Language[]): void {
    for (let i = 0; i < this.#min; i++) pending.push(this.#each)
  }
}

/** Strings that begin alike: those from `low` up to `high` of a sorted list, behind their first `depth` bytes. */
class Words extends Language {
  readonly #words: readonly Uint8Array[]
  readonly #low: number
  readonly #high: number
  readonly #depth: number

  constructor(grammar: Grammar, words: readonly Uint8Array[], low: number, high: number, depth: number) {
    super(grammar)
    this.#words = words
    this.#low = low
    this.#high = high
    this.#depth = depth
  }

  get ends(): boolean {
    return this.#words[this.#low].length === this.#depth
  }

  get only(): number {
    const first = this.#words[this.#low][this.#depth]
    return !this.ends && first === this.#words[this.#high - 1][this.#depth] ? first : -1
  }

  protected derive(byte: number): Language | null {
    const low = this.#firstFrom(byte)
    const high = this.#firstFrom(byte + 1)
    if (low === high) return null
    if (high - low === 1 && this.#words[low].length === this.#depth + 1) return this.grammar.empty
    return new Words(this.grammar, this.#words, low, high, this.#depth + 1)
  }

  /** The first word with at least this byte at its depth. */
  #firstFrom(byte: number): number {
    let low = this.ends ? this.#low + 1 : this.#low
    let high = this.#high
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#words[middle][this.#depth] < byte) low = middle + 1
      else high = middle
    }
    return low
  }

  protected measure(): number {
    return this.#best().length - this.#depth
  }

  leave(bytes: number[]): void {
    for (const byte of this.#best().subarray(this.#depth)) bytes.push(byte)
  }

  #best(): Uint8Array {
    let best = this.#words[this.#low]
    for (let i = this.#low + 1; i < this.#high; i++) {
      if (this.#words[i].length < best.length) best = this.#words[i]
    }
    return best
  }
}

interface Counted {
  readonly low: number
  readonly high: number
  readonly then: ((value: number) => Language) | undefined
}

const ZERO = 0x30

/** A number of which `written` digits are there: they make `value`. */
class Digits extends Language {
  readonly #number: Counted
  readonly #value: number
  readonly #written: number
  #follows: Language | undefined

  constructor(grammar: Grammar, number: Counted, value: number, written: number) {
    super(grammar)
    this.#number = number
    this.#value = value
    this.#written = written
  }

  /** What may stand behind the number if it is complete. */
  get #then(): Language | null {
    const { low, high, then } = this.#number
    if (this.#written === 0 || this.#value < low || this.#value > high) return null
    this.#follows ??= then?.(this.#value) ?? this.grammar.empty
    return this.#follows
  }

  get ends(): boolean {
    return this.#then?.ends ?? false
  }

  get only(): number {
    const then = this.#then
    if (then?.ends) return -1
    let only = then?.only ?? -1
    if (then && only < 0) return -1
    for (let digit = 0; digit < 10; digit++) {
      if (!this.#takes(digit)) continue
      if (only >= 0) return -1
      only = ZERO + digit
    }
    return only
  }

  #takes(digit: number): boolean {
    if (this.#written > 0 && this.#value === 0) return false
    const value = this.#value * 10 + digit
    return value === 0 ? this.#number.low === 0 : this.#more(value) < Number.POSITIVE_INFINITY
  }

  /** How many digits must stand behind those of `value` for a number in range. */
  #more(value: number): number {
    const { low, high } = this.#number
    let first = value
    let last = value
    for (let more = 0; first <= high; more++) {
      if (last >= low) return more
      first *= 10
      last = last * 10 + 9
    }
    return Number.POSITIVE_INFINITY
  }

  protected derive(byte: number): Language | null {
    const digit = byte - ZERO
    if (digit >= 0 && digit <= 9) {
      if (!this.#takes(digit)) return null
      return new Digits(this.grammar, this.#number, this.#value * 10 + digit, this.#written + 1)
    }
    return this.#then?.next(byte) ?? null
  }

  protected measure(): number {
    const then = this.#then
    if (then) return then.shortest
    return this.#quickest().shortest + 1
  }

  leave(bytes: number[], pending: Language[]): void {
    const then = this.#then
    if (then) {
      pending.push(then)
      return
    }
    const after = this.#quickest()
    bytes.push(ZERO + (after.#value % 10))
    pending.push(after)
  }

  /** Behind the digit that leads to the fewest digits, the lowest of several. */
  #quickest(): Digits {
    let best = -1
    let fewest = Number.POSITIVE_INFINITY
    for (let digit = 0; digit < 10; digit++) {
      if (!this.#takes(digit)) continue
      const more = this.#more(this.#value * 10 + digit)
      if (more < fewest) {
        fewest = more
        best = digit
      }
    }
    return this.next(ZERO + best) as Digits
  }
}

export interface CustomRules {
  readonly ends: boolean
  /** Where the answer does not end here: what is written first, and what follows it, the shortest way. */
  exit(): readonly [text: string, then: Language]
  next(byte: number): Language | null
}

/** A language by its own rules; see that the same one is made once. */
export class CustomLanguage extends Language {
  readonly only = -1
  readonly #rules: CustomRules

  constructor(grammar: Grammar, rules: CustomRules) {
    super(grammar)
    this.#rules = rules
  }

  get ends(): boolean {
    return this.#rules.ends
  }

  protected derive(byte: number): Language | null {
    return this.#rules.next(byte)
  }

  protected measure(): number {
    if (this.ends) return 0
    const [text, then] = this.#rules.exit()
    return text.length + then.shortest
  }

  leave(bytes: number[], pending: Language[]): void {
    if (this.ends) return
    const [text, then] = this.#rules.exit()
    for (const character of text) bytes.push(character.charCodeAt(0))
    pending.push(then)
  }
}

/** Another language by its name: how one may hold itself. Nothing that refers to itself may begin with itself. */
export class Reference extends Language {
  #target: Language | undefined
  #found = Number.POSITIVE_INFINITY

  define(target: Language): void {
    this.#target = target
  }

  /** Whether a shorter way through it was found. */
  improve(): boolean {
    const { shortest } = this.#defined
    const better = shortest < this.#found
    this.#found = shortest
    return better
  }

  get #defined(): Language {
    if (this.#target === undefined) throw new RangeError("a reference is used before it is defined")
    return this.#target
  }

  get ends(): boolean {
    return this.#defined.ends
  }

  get only(): number {
    return this.#defined.only
  }

  protected derive(byte: number): Language | null {
    return this.#defined.next(byte)
  }

  protected measure(): number {
    return this.#found
  }

  leave(_: number[], pending: Language[]): void {
    pending.push(this.#defined)
  }
}

/** Byte order; of two of which one begins the other, the shorter first. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    if (a[i] !== b[i]) return a[i] - b[i]
  }
  return a.length - b.length
}
