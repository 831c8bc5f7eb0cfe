/**
 * Finds the opening and closing pointing tags in a text that arrives in pieces.
 *
 * Syntax (that of the reference's regular expression, without its backtracking):
 *   open  = "<" name ">"  |  "<" name space+ anything-but-">"+ ">"
 *   close = "</" name ">"
 *   name  = point | point_box | polygon | collection, in any case
 *
 * Every unit is looked at once, and a "<" again at the next ">": the time is linear in the text, however hostile.
 */

import { isSpace } from "./python-text"

const NAMES = ["point", "point_box", "polygon", "collection"] as const
export type TagName = (typeof NAMES)[number]
const KNOWN: ReadonlySet<string> = new Set(NAMES)
const LONGEST_NAME = 10

const LESS = 0x3c
const GREATER = 0x3e
const SLASH = 0x2f
const DOTTED_CAPITAL_I = 0x130
const DOTLESS_I = 0x131

/** One opening or closing tag. Positions are UTF-16 units; `point…` are the same places in code points. */
export interface TagToken {
  readonly closing: boolean
  /**
   * What a closing tag must equal to close an opening one: the name in lower case. Python lets "ı" and "İ" match an
   * "i" when it ignores case, and then compares lower-cased: "İ" is "i", but "ı" stays itself.
   */
  readonly key: string
  /** The name; null for one spelled with "ı" or "İ", which the reference takes for a collection. */
  readonly name: TagName | null
  readonly start: number
  readonly end: number
  readonly pointStart: number
  readonly pointEnd: number
}

/** UTF-16 units of all text so far; grows by doubling, so that a text fed unit by unit costs linear time too. */
class Units {
  length = 0
  private units = new Uint16Array(256)

  at(index: number): number {
    return this.units[index]
  }

  append(text: string): void {
    const needed = this.length + text.length
    if (needed > this.units.length) {
      const grown = new Uint16Array(Math.max(needed, this.units.length * 2))
      grown.set(this.units.subarray(0, this.length))
      this.units = grown
    }
    for (let i = 0; i < text.length; i++) this.units[this.length++] = text.charCodeAt(i)
  }

  slice(start: number, end: number): string {
    let text = ""
    // Spreading all units at once would overflow the stack.
    for (let from = start; from < end; from += 4096) {
      text += String.fromCharCode(...this.units.subarray(from, Math.min(end, from + 4096)))
    }
    return text
  }
}

export class TagScanner {
  /** All tags so far, by their start. Tags that end at the same ">" lie within each other; the last is the innermost. */
  readonly tokens: TagToken[] = []
  private readonly text = new Units()
  /** Every "<" since the last ">" that may begin a tag: its place in units, and in code points. */
  private starts: number[] = []
  private startPoints: number[] = []
  /** Surrogate pairs so far: code points = units − pairs. */
  private pairs = 0
  private scanned = 0

  /** UTF-16 units so far. */
  get length(): number {
    return this.text.length
  }

  /** Code points so far. */
  get points(): number {
    return this.scanned - this.pairs
  }

  slice(start: number, end: number): string {
    return this.text.slice(start, end)
  }

  push(piece: string): void {
    this.text.append(piece)
    for (; this.scanned < this.text.length; this.scanned++) {
      const at = this.scanned
      const unit = this.text.at(at)
      const before = at > 0 ? this.text.at(at - 1) : 0
      if (unit >= 0xdc00 && unit < 0xe000 && before >= 0xd800 && before < 0xdc00) this.pairs++
      if (before === LESS && !mayFollowLess(unit)) {
        this.starts.pop()
        this.startPoints.pop()
      }
      if (unit === LESS) {
        this.starts.push(at)
        this.startPoints.push(at - this.pairs)
      } else if (unit === GREATER) {
        this.closeGroup(at)
      }
    }
  }

  /** Reads every possible tag that ends at the ">" at `greater`. */
  private closeGroup(greater: number): void {
    this.starts.forEach((start, i) => {
      const closing = this.text.at(start + 1) === SLASH
      const nameStart = closing ? start + 2 : start + 1
      const name = this.readName(nameStart, greater)
      if (!name) return
      const nameEnd = nameStart + name.length
      // After the name: ">" at once, or (opening tags) white space and at least one unit more.
      if (nameEnd !== greater && (closing || greater - nameEnd < 2)) return
      const plain = name.replaceAll("ı", "i")
      const spelledPlainly = !/[ıİ]/.test(this.slice(nameStart, nameEnd))
      this.tokens.push({
        closing,
        key: name,
        name: spelledPlainly ? (plain as TagName) : null,
        start,
        end: greater + 1,
        pointStart: this.startPoints[i],
        pointEnd: greater + 1 - this.pairs,
      })
    })
    this.starts = []
    this.startPoints = []
  }

  /** The known name that starts at `from` and ends before white space or at `greater`, as a key; else undefined. */
  private readName(from: number, greater: number): string | undefined {
    let key = ""
    for (let i = from; i < greater && !isSpace(this.text.at(i)); i++) {
      if (i - from === LONGEST_NAME) return undefined
      const unit = this.text.at(i)
      if (unit === DOTTED_CAPITAL_I) key += "i"
      else if (unit === DOTLESS_I || unit < 128) key += String.fromCharCode(unit >= 65 && unit <= 90 ? unit + 32 : unit)
      else return undefined
    }
    return KNOWN.has(key.replaceAll("ı", "i")) ? key : undefined
  }
}

/** "</", "<p…" and "<c…": anything else begins no tag, and is forgotten at once. */
function mayFollowLess(unit: number): boolean {
  return unit === SLASH || unit === 0x70 || unit === 0x50 || unit === 0x63 || unit === 0x43
}
