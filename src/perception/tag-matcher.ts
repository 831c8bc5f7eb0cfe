/**
 * Pairs opening with closing tags and gives out what is between them, as soon as it is certain.
 *
 * The rules are those of a regular expression `<name …>.*?</name>` searched from left to right, which is what the
 * reference does:
 * - an opening tag reaches to the FIRST closing tag of its name; what lies between belongs to it (so a collection within
 *   a collection ends the outer one, and a point within a polygon is no point of its own);
 * - an opening tag without a closing one is text, and the search goes on behind its "<";
 * - in a collection's body the same search is made for its members.
 *
 * Streaming adds one thing: members of a collection are given out while it is open. That is safe: until the collection
 * closes, its body gives the same members whether the closing tag comes at last or never. A collection that never
 * closes is text, but its members were given out with its mention and t by then, and they keep them.
 */

import { IsaacError } from "../errors"
import { inherit, type Leaf, type LeafType, type Mentioned, type Span, type Tag, type TagIssue } from "./pointing"
import { BadCoordinates, readAttributes, readLeaf } from "./tag-content"
import { type TagName, TagScanner, type TagToken } from "./tag-scanner"

const LEAF_TYPES: Readonly<Record<Exclude<TagName, "collection">, LeafType>> = {
  point: "point",
  point_box: "box",
  polygon: "polygon",
}

/** A closed tag of the text's top level; `tag` is null where its coordinates cannot be read. */
export interface TagMatch {
  readonly tag: Tag | null
  readonly start: number
  readonly end: number
  readonly span: Span
}

/** A collection whose members are being read. */
interface OpenCollection {
  readonly token: TagToken
  readonly attributes: Mentioned
  readonly members: TagMatch[]
  /** Next token to look at. */
  cursor: number
}

export class TagMatcher {
  readonly scanner = new TagScanner()
  /** Matches of the top level so far, in order. */
  readonly matches: TagMatch[] = []
  /** Issues so far, in order of discovery. */
  readonly issues: TagIssue[] = []
  private leaves: Leaf[] = []
  /** Per key, the indices of its closing tags. */
  private readonly closings = new Map<string, number[]>()
  private indexed = 0
  /** Next token to look at on the top level. */
  private cursor = 0
  private open: OpenCollection | null = null
  /** The first collection that was never closed: all leaves behind it inherit from it. */
  private unclosed: Mentioned | null = null

  /** Takes a piece of text and returns the leaves that became certain, in the text's order. */
  push(piece: string): Leaf[] {
    if (typeof piece !== "string") {
      throw new IsaacError("bad_input", `the text of an answer is a string, not ${typeof piece}`)
    }
    this.scanner.push(piece)
    this.advance(false)
    return this.takeLeaves()
  }

  /** The text has ended: what waited for a closing tag waits in vain. */
  end(): Leaf[] {
    this.advance(true)
    return this.takeLeaves()
  }

  private takeLeaves(): Leaf[] {
    const leaves = this.leaves
    this.leaves = []
    return leaves
  }

  private advance(ended: boolean): void {
    const { tokens } = this.scanner
    for (; this.indexed < tokens.length; this.indexed++) {
      const { closing, key } = tokens[this.indexed]
      if (!closing) continue
      const indices = this.closings.get(key)
      if (indices) indices.push(this.indexed)
      else this.closings.set(key, [this.indexed])
    }
    while (this.open ? this.advanceInside(this.open, ended) : this.advanceOutside(ended));
  }

  /** One step on the top level; false when more text is needed, or none is left. */
  private advanceOutside(ended: boolean): boolean {
    const token = this.scanner.tokens[this.cursor]
    if (!token) return false
    if (token.closing) {
      this.cursor++
      return true
    }
    const close = this.closingOf(token)
    if (isLeaf(token) && close !== undefined) {
      this.matches.push(this.readLeafTag(token, close, this.unclosed))
      this.cursor = close + 1
      return true
    }
    if (!isLeaf(token) && (close !== undefined || (!ended && this.mayStream(token)))) {
      const attributes = this.attributesOf(token)
      this.open = { token, attributes, members: [], cursor: this.firstTokenAfter(token) }
      return true
    }
    if (!ended) return false
    this.giveUp(token)
    this.cursor++
    return true
  }

  /** One step inside a collection; false when more text is needed. */
  private advanceInside(open: OpenCollection, ended: boolean): boolean {
    const { tokens } = this.scanner
    const end = this.closingOf(open.token)
    if (open.cursor === end) {
      this.closeCollection(open, end)
      return true
    }
    const token = tokens[open.cursor]
    if (token) {
      // A collection of the same name cannot close in here: the outer one would close first.
      if (token.closing || token.key === open.token.key) {
        open.cursor++
        return true
      }
      const close = this.closingOf(token)
      const closesInside = close !== undefined && (end === undefined || close < end)
      if (closesInside && isLeaf(token)) {
        const group = inheritGroup(open.attributes, this.unclosed)
        open.members.push(this.readLeafTag(token, close, group))
        open.cursor = close + 1
        return true
      }
      if (end !== undefined) {
        // The reference skips a collection within a collection, members and all.
        open.cursor = closesInside ? close + 1 : open.cursor + 1
        return true
      }
    }
    if (!ended) return false
    // Never closed: its members stand on the top level.
    this.giveUp(open.token)
    for (const member of open.members) this.matches.push(member)
    this.cursor = open.cursor
    this.open = null
    return true
  }

  private closeCollection(open: OpenCollection, close: number): void {
    const items = open.members.flatMap(({ tag }) => (tag ? [tag] : []))
    this.matches.push(this.match(open.token, close, { type: "collection", items, ...open.attributes }))
    this.cursor = close + 1
    this.open = null
  }

  /** Reads a leaf and gives it out, with what it inherits; the match keeps it as written. */
  private readLeafTag(token: TagToken, close: number, group: Mentioned | null): TagMatch {
    const body = this.scanner.slice(token.end, this.scanner.tokens[close].start)
    const leaf = readLeaf(LEAF_TYPES[token.name as keyof typeof LEAF_TYPES], body, this.attributesOf(token))
    if (leaf instanceof BadCoordinates) {
      const match = this.match(token, close, null)
      this.issues.push({ code: "coordinates", message: leaf.message, span: match.span })
      return match
    }
    this.leaves.push(inherit(leaf, group))
    return this.match(token, close, leaf)
  }

  private match(token: TagToken, close: number, tag: Tag | null): TagMatch {
    const { end, pointEnd } = this.scanner.tokens[close]
    return { tag, start: token.start, end, span: [token.pointStart, pointEnd] }
  }

  /** An opening tag that stays text. */
  private giveUp(token: TagToken): void {
    const name = token.name ?? "collection"
    const message = `<${name}> is never closed: the text ends before </${name}>`
    this.issues.push({ code: "unclosed", message, span: [token.pointStart, token.pointEnd] })
    if (!isLeaf(token) && this.mayStream(token)) this.unclosed ??= this.attributesOf(token)
  }

  /**
   * True for a collection whose members may be given out before it closes: plainly spelled, and with no tag inside of
   * its own opening tag, which would be found if the collection never closed. `token` is the one at the cursor.
   */
  private mayStream(token: TagToken): boolean {
    const { tokens } = this.scanner
    const next = tokens[this.cursor + 1]
    return token.name === "collection" && (!next || next.start >= token.end)
  }

  private attributesOf(token: TagToken): Mentioned {
    return readAttributes(this.scanner.slice(token.start, token.end))
  }

  /** Index of the first token that does not lie within the opening tag of `token`, the one at the cursor. */
  private firstTokenAfter(token: TagToken): number {
    const { tokens } = this.scanner
    let index = this.cursor
    while (index < tokens.length && tokens[index].start < token.end) index++
    return index
  }

  /** Index of the first closing tag for `token`, if it has come. */
  private closingOf(token: TagToken): number | undefined {
    const indices = this.closings.get(token.key)
    if (!indices) return undefined
    const { tokens } = this.scanner
    let low = 0
    let high = indices.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (tokens[indices[middle]].start < token.end) low = middle + 1
      else high = middle
    }
    return indices[low]
  }
}

function isLeaf(token: TagToken): boolean {
  return token.name !== null && token.name !== "collection"
}

function inheritGroup(group: Mentioned, outer: Mentioned | null): Mentioned {
  return outer ? { mention: group.mention ?? outer.mention, t: group.t ?? outer.t } : group
}
