/** Numbers of a JSON document as languages: within bounds, without exponents and needless zeros. */

import { type Grammar, Language } from "./language"

/** Largest size of a number that is not bounded: as many digits as any double has for sure. */
const LARGEST = 999_999_999_999_999
/** Digits behind the point. */
const PLACES = 10
const UNIT = 10 ** PLACES
const ZERO = 0x30

export interface Bounds {
  readonly low: number
  readonly high: number
}

/** Whole numbers low … high; undefined when there are none. Bounds beyond 2⁵³ count as that. */
export function integers(grammar: Grammar, { low, high }: Bounds): Language | undefined {
  const least = low === Number.NEGATIVE_INFINITY ? -LARGEST : Math.max(Math.ceil(low), -Number.MAX_SAFE_INTEGER)
  const most = high === Number.POSITIVE_INFINITY ? LARGEST : Math.min(Math.floor(high), Number.MAX_SAFE_INTEGER)
  const signs: Language[] = []
  if (most >= 0 && least <= most) signs.push(grammar.digits(Math.max(least, 0), most))
  if (least < 0 && least <= most) {
    signs.push(grammar.sequence(grammar.text("-"), grammar.digits(Math.max(1, -most), -least)))
  }
  return signs.length === 0 ? undefined : grammar.either(...signs)
}

/** Decimal numbers low … high with up to ten digits behind the point; undefined when there are none. */
export function decimals(grammar: Grammar, { low, high }: Bounds): Language | undefined {
  const signs: Language[] = []
  const positive = magnitudes(grammar, Math.max(low, 0), high)
  if (positive) signs.push(positive)
  const negative = low < 0 ? magnitudes(grammar, Math.max(-high, 1 / UNIT), -low) : undefined
  if (negative) signs.push(grammar.sequence(grammar.text("-"), negative))
  return signs.length === 0 ? undefined : grammar.either(...signs)
}

function magnitudes(grammar: Grammar, low: number, high: number): Language | undefined {
  const least = unitsOf(Math.min(low, LARGEST), Math.ceil)
  const most = unitsOf(Math.min(high, LARGEST), Math.floor)
  if (high < 0 || low > LARGEST || least.whole > most.whole) return undefined
  if (least.whole === most.whole && least.part > most.part) return undefined
  return grammar.digits(least.whole, most.whole, (whole) => {
    const from = whole === least.whole ? least.part : 0
    const to = whole === most.whole ? most.part : UNIT - 1
    const some = grammar.sequence(grammar.text("."), new Fraction(grammar, from, to, 0, 0))
    if (from > 0) return some
    return to === 0 ? grammar.empty : grammar.optional(some)
  })
}

/** A number that is not negative as its whole part and the rest in tenths of billionths. */
function unitsOf(value: number, round: (value: number) => number): { readonly whole: number; readonly part: number } {
  const whole = Math.floor(value)
  // Decimals such as 0.3 are not exact: what is nearly a whole number of units is one.
  const units = (value - whole) * UNIT
  const nearest = Math.round(units)
  const part = Number(`${whole}.${String(nearest).padStart(PLACES, "0")}`) === value ? nearest : round(units)
  return part >= UNIT ? { whole: whole + 1, part: 0 } : { whole, part }
}

/** Digits behind the point that make from … to tenths of billionths. */
class Fraction extends Language {
  readonly #from: number
  readonly #to: number
  readonly #value: number
  readonly #written: number

  constructor(grammar: Grammar, from: number, to: number, value: number, written: number) {
    super(grammar)
    this.#from = from
    this.#to = to
    this.#value = value
    this.#written = written
  }

  get ends(): boolean {
    const units = this.#value * 10 ** (PLACES - this.#written)
    return this.#written > 0 && units >= this.#from && units <= this.#to
  }

  get only(): number {
    if (this.ends) return -1
    const digits = this.#digits()
    return digits.length === 1 ? ZERO + digits[0] : -1
  }

  /** Digits that may come next, in ascending order. */
  #digits(): number[] {
    if (this.#written === PLACES) return []
    const step = 10 ** (PLACES - this.#written - 1)
    return Array.from({ length: 10 }, (_, digit) => digit).filter((digit) => {
      const first = (this.#value * 10 + digit) * step
      return first + step > this.#from && first <= this.#to
    })
  }

  protected derive(byte: number): Language | null {
    const digit = byte - ZERO
    if (!this.#digits().includes(digit)) return null
    return new Fraction(this.grammar, this.#from, this.#to, this.#value * 10 + digit, this.#written + 1)
  }

  protected measure(): number {
    return this.ends ? 0 : this.#quickest().shortest + 1
  }

  leave(bytes: number[], pending: Language[]): void {
    if (this.ends) return
    const after = this.#quickest()
    bytes.push(ZERO + (after.#value % 10))
    pending.push(after)
  }

  #quickest(): Fraction {
    const after = this.#digits().map((digit) => this.next(ZERO + digit) as Fraction)
    return after.reduce((best, other) => (other.shortest < best.shortest ? other : best))
  }
}
