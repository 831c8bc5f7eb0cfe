/** The model's <think>…</think> blocks, apart from its answer. */

import { IsaacError } from "../errors"
import { isSpace, strip } from "./python-text"

/** `<think>` and `</think>`, also in the spellings that Python takes for equal when it ignores case. */
const THINK = /<(\/?)th[iIıİ]n[kK\u212a]>/giu

/** Half of such a tag at the end of a text. */
const PARTIAL_THINK = /<(?:\/?(?:t(?:h(?:[iIıİ](?:n(?:[kK\u212a])?)?)?)?)?)?$/iu

/** What the reference's `extract_reasoning` gives: one string per block that is not blank. */
export interface ExtractedReasoning<T> {
  /** The text without its closed blocks, trimmed, runs of spaces and tabs made one space; null when nothing is left. */
  readonly text: T
  readonly reasoning: readonly string[]
}

/** Splits a complete text. A <think> that is never closed stays text. Anything but a string comes back as it is. */
export function extractReasoning(text: string): ExtractedReasoning<string | null>
export function extractReasoning<T>(text: T): ExtractedReasoning<T>
export function extractReasoning(text: unknown): ExtractedReasoning<unknown> {
  if (typeof text !== "string") return { text, reasoning: [] }
  const reasoning: string[] = []
  let rest = ""
  let restFrom = 0
  let open: RegExpExecArray | null = null
  for (const tag of text.matchAll(THINK)) {
    const closing = tag[1] !== ""
    if (!closing) {
      open ??= tag
    } else if (open) {
      const block = strip(text.slice(open.index + open[0].length, tag.index))
      if (block) reasoning.push(block)
      rest += text.slice(restFrom, open.index)
      restFrom = tag.index + tag[0].length
      open = null
    }
  }
  rest += text.slice(restFrom)
  return { text: strip(collapseBlanks(rest)) || null, reasoning }
}

const OPEN = "<think>"
const CLOSE = "</think>"

/**
 * The reference's streaming cleaner: lower-case tags only, text comes out as it went in, a block's reasoning comes out
 * whole when it closes. It does not hold back half a tag, so a tag cut by a chunk's end is taken for text; for streaming
 * to people use ReasoningStream.
 */
export class ReasoningCleaner {
  /** A block that has not closed yet, with its <think>. */
  private pieces: string[] = []
  /** Its last units, where a </think> cut by a chunk's end may begin. */
  private tail = ""

  get buffer(): string {
    return this.pieces.join("")
  }

  /** The next piece: what of it is text, and the blocks of reasoning that closed in it. */
  consume(chunk: string): { text: string; reasoning: string[] } {
    let rest = chunk
    if (this.pieces.length > 0) {
      const seen = this.tail + chunk
      if (!seen.includes(CLOSE)) {
        this.pieces.push(chunk)
        this.tail = seen.slice(-(CLOSE.length - 1))
        return { text: "", reasoning: [] }
      }
      rest = this.buffer + chunk
      this.pieces = []
    }
    let text = ""
    const reasoning: string[] = []
    let from = 0
    for (let open = rest.indexOf(OPEN); open >= 0; open = rest.indexOf(OPEN, from)) {
      text += rest.slice(from, open)
      const inside = open + OPEN.length
      const close = rest.indexOf(CLOSE, inside)
      if (close < 0) {
        this.pieces = [rest.slice(open)]
        this.tail = rest.slice(inside).slice(-(CLOSE.length - 1))
        return { text, reasoning }
      }
      const block = strip(rest.slice(inside, close))
      if (block) reasoning.push(block)
      from = close + CLOSE.length
    }
    return { text: text + rest.slice(from), reasoning }
  }

  /** Forgets what was read so far. */
  reset(): void {
    this.pieces = []
    this.tail = ""
  }
}

/** What became certain with a piece of text; either may be empty. */
export interface ReasoningDelta {
  readonly text: string
  readonly reasoning: string
}

/** An answer in two: what it says, and what the model thought, null when that was blank. */
export interface SplitReasoning {
  readonly text: string
  readonly reasoning: string | null
}

/**
 * Splits an answer. Differs from `extractReasoning` in two ways: blocks are joined by a newline, and a <think> that is
 * never closed (an answer cut by its length) is reasoning, not text.
 */
export function splitReasoning(text: string): SplitReasoning {
  const stream = new ReasoningStream()
  const first = stream.push(text)
  const last = stream.end()
  return { text: first.text + last.text, reasoning: first.reasoning + last.reasoning || null }
}

/**
 * Splits an answer while it is written. Nothing is taken back: half a tag, and white space that may turn out to be the
 * end's, are held back. All deltas joined are what `splitReasoning` gives for the whole, in any chunking.
 */
export class ReasoningStream {
  private held = ""
  private thinking = false
  private ended = false
  private readonly verbatim: boolean
  private readonly text: TrimmedText
  private readonly reasoning = new TrimmedText(false)

  /** @param verbatim only a block at the beginning counts, and runs of blanks in the text stay as they are */
  constructor({ verbatim = false }: { readonly verbatim?: boolean } = {}) {
    this.verbatim = verbatim
    this.text = new TrimmedText(!verbatim)
  }

  /** The next piece of the answer. */
  push(piece: string): ReasoningDelta {
    if (this.ended) throw new IsaacError("bad_input", "this ReasoningStream has ended; make a new one for another text")
    const all = this.held + piece
    const partial = PARTIAL_THINK.exec(all.slice(-LONGEST_PARTIAL))
    const complete = partial ? all.slice(0, all.length - partial[0].length) : all
    this.held = partial ? partial[0] : ""
    return this.split(complete)
  }

  /** The text is complete: what was held back comes out, except white space at the end. */
  end(): ReasoningDelta {
    this.ended = true
    const rest = this.held
    this.held = ""
    return this.split(rest)
  }

  private split(complete: string): ReasoningDelta {
    let text = ""
    let reasoning = ""
    let from = 0
    const put = (to: number) => {
      const piece = complete.slice(from, to)
      if (this.thinking) reasoning += this.reasoning.push(piece)
      else text += this.text.push(piece)
    }
    for (const tag of complete.matchAll(THINK)) {
      const closing = tag[1] !== ""
      // A <think> inside of a block, and a </think> outside, are what they look like: words.
      if (closing !== this.thinking) continue
      if (this.verbatim && !closing && !(this.text.blank && strip(complete.slice(from, tag.index)) === "")) continue
      put(tag.index)
      from = tag.index + tag[0].length
      this.thinking = !closing
      if (closing) this.reasoning.separate()
    }
    put(complete.length)
    return { text, reasoning }
  }
}

/** "</think" is the longest text that may still become a tag. */
const LONGEST_PARTIAL = "</think".length

/** Lets text through without white space at its start and end, as soon as it is certain. */
class TrimmedText {
  /** White space that is inside if something follows, and at the end if nothing does. */
  private blanks: string[] = []
  /** At the start of a block: white space is dropped. */
  private skipping = true
  private empty = true

  constructor(private readonly collapse: boolean) {}

  /** Whether there was nothing but white space. */
  get blank(): boolean {
    return this.empty
  }

  push(piece: string): string {
    let end = piece.length
    while (end > 0 && isSpace(piece.charCodeAt(end - 1))) end--
    if (end === 0) {
      if (!this.skipping) this.blanks.push(piece)
      return ""
    }
    let start = 0
    if (this.skipping) while (isSpace(piece.charCodeAt(start))) start++
    const certain = this.blanks.join("") + piece.slice(start, end)
    this.blanks = [piece.slice(end)]
    this.skipping = false
    this.empty = false
    return this.collapse ? collapseBlanks(certain) : certain
  }

  /** What follows is another block: one newline parts the two, if both have words. */
  separate(): void {
    this.blanks = this.empty ? [] : ["\n"]
    this.skipping = true
  }
}

/** Runs of spaces and tabs as one space. */
function collapseBlanks(text: string): string {
  return text.replace(/[ \t]{2,}/g, " ")
}
