/** What a model can point with, as callers see it. Coordinates are 0 … 1000 over the picture's width and height. */

/** What every pointing tag may carry; null when absent. */
export interface Mentioned {
  /** What is pointed at, in words. */
  readonly mention: string | null
  /** Seconds into a video. */
  readonly t: number | null
}

export interface PointLeaf extends Mentioned {
  readonly type: "point"
  readonly x: number
  readonly y: number
}

/** Two corners, as the model wrote them: not put in order. */
export interface BoxLeaf extends Mentioned {
  readonly type: "box"
  readonly x1: number
  readonly y1: number
  readonly x2: number
  readonly y2: number
}

/** Three corners or more. */
export interface PolygonLeaf extends Mentioned {
  readonly type: "polygon"
  readonly points: readonly (readonly [x: number, y: number])[]
}

/** One thing that an answer points at. */
export type Leaf = PointLeaf | BoxLeaf | PolygonLeaf
/** How it is pointed at. */
export type LeafType = Leaf["type"]

/** A group whose members inherit its mention and t. Parsing gives leaves only; serialising takes groups within groups. */
export interface Collection extends Mentioned {
  readonly type: "collection"
  readonly items: readonly Tag[]
}

/** What a tag of the grammar holds. */
export type Tag = Leaf | Collection

/** [start, end) in Unicode code points (not UTF-16 units) of the parsed text. */
export type Span = readonly [start: number, end: number]

/** Something in the text that looks like a tag and is none. It stays text. */
export interface TagIssue {
  /** coordinates: too few, or too large, inside a closed tag; unclosed: the text ended inside the tag. */
  readonly code: "coordinates" | "unclosed"
  readonly message: string
  /** The whole tag; of an unclosed one the opening part. */
  readonly span: Span
}

/** `leaf` with what it lacks taken from `group`. */
export function inherit(leaf: Leaf, group: Mentioned | null): Leaf {
  if (!group) return leaf
  return { ...leaf, mention: leaf.mention ?? group.mention, t: leaf.t ?? group.t }
}
