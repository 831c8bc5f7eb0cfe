/**
 * Pointing tags in a model's answer, both ways.
 *
 *   <point mention="cat" t=1.5> (x,y) </point>
 *   <point_box …> (x1,y1) (x2,y2) </point_box>
 *   <polygon …> (x,y) (x,y) (x,y) … </polygon>
 *   <collection …> points, boxes and polygons, which inherit mention and t </collection>
 *
 * Coordinates are integers 0 … 1000 over the width and the height of the picture. Whatever a model writes, parsing
 * never throws and takes linear time: what is no tag is text.
 */

import { IsaacError } from "../errors"
import { escapeHtml } from "./html-escape"
import { inherit, type Leaf, type LeafType, type Mentioned, type Span, type Tag, type TagIssue } from "./pointing"
import { writeFloat } from "./python-text"
import { TagMatcher } from "./tag-matcher"

export type {
  BoxLeaf,
  Collection,
  Leaf,
  LeafType,
  Mentioned,
  PointLeaf,
  PolygonLeaf,
  Span,
  Tag,
  TagIssue,
} from "./pointing"

/** A stretch of text, or a tag as it was written (a collection's members are inside of it, without what they inherit). */
export type Segment =
  | { readonly type: "text"; readonly text: string; readonly span: Span }
  | { readonly type: "tag"; readonly tag: Tag; readonly span: Span }

/** What a text says: its pieces in order, what it points at, and what could not be read. */
export interface ParseResult {
  /** The whole text in order: its pieces of text and its tags. */
  readonly segments: readonly Segment[]
  /**
   * Everything pointed at, in order, collections flattened; equal to what TagStream gives out. Leaves behind a
   * collection that the text's end cut off inherit from it too, which `extractPoints` does not do.
   */
  readonly leaves: readonly Leaf[]
  /** Tags that stayed text, by their place. */
  readonly issues: readonly TagIssue[]
}

/** Splits a text into its tags and the text between them. */
export function parse(text: string): ParseResult {
  const { matcher, leaves } = match(text)
  const issues = matcher.issues.sort((a, b) => a.span[0] - b.span[0])
  return { segments: segmentsOf(matcher), leaves, issues }
}

/** The leaves of one type (default: all), in order; members of closed collections inherit its mention and t. */
export function extractPoints(text: string, type?: LeafType): Leaf[] {
  const { matcher } = match(text)
  const leaves = matcher.matches.flatMap(({ tag }) => (tag ? flatten(tag) : []))
  return type ? leaves.filter((leaf) => leaf.type === type) : leaves
}

/** The text without its tags; a closed tag with unreadable coordinates goes too. */
export function stripTags(text: string): string {
  let stripped = ""
  let from = 0
  for (const { start, end } of match(text).matcher.matches) {
    stripped += text.slice(from, start)
    from = end
  }
  return stripped + text.slice(from)
}

/** The leaves of a tag, with what they inherit; a tag of any depth takes no recursion. */
export function flatten(tag: Tag): Leaf[] {
  const leaves: Leaf[] = []
  const pending: { tag: Tag; group: Mentioned | null }[] = [{ tag, group: null }]
  for (let next = pending.pop(); next; next = pending.pop()) {
    const { tag, group } = next
    if (tag.type !== "collection") {
      leaves.push(inherit(tag, group))
      continue
    }
    const { mention, t } = tag
    const inner = { mention: mention ?? group?.mention ?? null, t: t ?? group?.t ?? null }
    for (let i = tag.items.length - 1; i >= 0; i--) pending.push({ tag: tag.items[i], group: inner })
  }
  return leaves
}

/**
 * Writes a tag as the model writes it, for few-shot examples and for answers in a conversation.
 *
 * @throws IsaacError `bad_input` for a coordinate that is no integer: no parser could read it back
 */
export function serialize(tag: Tag): string {
  let text = ""
  const pending: (Tag | string)[] = [tag]
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (typeof next === "string") {
      text += next
    } else if (next.type !== "collection") {
      text += serializeLeaf(next)
    } else {
      text += `<collection${attributes(next)}> `
      pending.push(" </collection>")
      for (let i = next.items.length - 1; i >= 0; i--) {
        pending.push(next.items[i])
        if (i > 0) pending.push(" ")
      }
    }
  }
  return text
}

function serializeLeaf(leaf: Leaf): string {
  if (leaf.type === "point") return `<point${attributes(leaf)}> ${pair(leaf.x, leaf.y)} </point>`
  if (leaf.type === "box") {
    return `<point_box${attributes(leaf)}> ${pair(leaf.x1, leaf.y1)} ${pair(leaf.x2, leaf.y2)} </point_box>`
  }
  return `<polygon${attributes(leaf)}> ${leaf.points.map(([x, y]) => pair(x, y)).join(" ")} </polygon>`
}

function attributes({ mention, t }: Mentioned): string {
  const mentionText = mention === null ? "" : ` mention="${escapeHtml(mention)}"`
  return t === null ? mentionText : `${mentionText} t=${writeFloat(t)}`
}

function pair(x: number, y: number): string {
  if (Number.isSafeInteger(x) && Number.isSafeInteger(y)) return `(${x},${y})`
  throw new IsaacError(
    "bad_input",
    `the coordinates (${x},${y}) cannot be written into a tag: they must be integers, 0 … 1000 over the picture's sides`,
  )
}

function match(text: string): { matcher: TagMatcher; leaves: Leaf[] } {
  const matcher = new TagMatcher()
  const leaves = matcher.push(text)
  for (const leaf of matcher.end()) leaves.push(leaf)
  return { matcher, leaves }
}

/** Text between readable tags is one segment; an unreadable tag is part of it. */
function segmentsOf({ matches, scanner }: TagMatcher): Segment[] {
  const segments: Segment[] = []
  let from = 0
  let fromPoint = 0
  const addText = (to: number, toPoint: number) => {
    if (to > from) segments.push({ type: "text", text: scanner.slice(from, to), span: [fromPoint, toPoint] })
  }
  for (const { tag, start, end, span } of matches) {
    if (!tag) continue
    addText(start, span[0])
    segments.push({ type: "tag", tag, span })
    from = end
    fromPoint = span[1]
  }
  addText(scanner.length, scanner.points)
  return segments
}
