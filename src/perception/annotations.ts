/** What people draw onto pictures to show a model what they mean: examples for few-shot detection. */

import { IsaacError, shown } from "../errors"
import { fromPixels, type PictureSize } from "./geometry"
import type { Collection, Leaf, Mentioned, Tag } from "./pointing"
import { serialize } from "./tags"

/** A tag whose mention and t may be left out. */
export type Annotation =
  | (Omit<Extract<Leaf, { type: "point" }>, keyof Mentioned> & Partial<Mentioned>)
  | (Omit<Extract<Leaf, { type: "box" }>, keyof Mentioned> & Partial<Mentioned>)
  | (Omit<Extract<Leaf, { type: "polygon" }>, keyof Mentioned> & Partial<Mentioned>)
  | ({ readonly type: "collection"; readonly items: readonly Annotation[] } & Partial<Mentioned>)

/** pixels: of the upright original; thousandths: 0 … 1000 over its width and height, as the model writes them. */
export type CoordinateUnits = "pixels" | "thousandths"

/** What can be wrong with an annotation is found here: they come from files and from plain JavaScript. Throws bad_input. */
export function tagOf(annotation: Annotation, what = "an annotation"): Tag {
  const { mention = null, t = null } = (annotation ?? {}) as Annotation
  if (mention !== null && typeof mention !== "string") {
    throw new IsaacError("bad_input", `${what} has the mention ${shown(mention)}; it must be a string`)
  }
  if (t !== null && !(typeof t === "number" && Number.isFinite(t))) {
    throw new IsaacError("bad_input", `${what} has the time ${shown(t)}; it must be a number of seconds`)
  }
  switch (annotation?.type) {
    case "point": {
      const [x, y] = numbers(what, [annotation.x, annotation.y])
      return { type: "point", x, y, mention, t }
    }
    case "box": {
      const [x1, y1, x2, y2] = numbers(what, [annotation.x1, annotation.y1, annotation.x2, annotation.y2])
      const [left, right] = x1 < x2 ? [x1, x2] : [x2, x1]
      const [top, bottom] = y1 < y2 ? [y1, y2] : [y2, y1]
      return { type: "box", x1: left, y1: top, x2: right, y2: bottom, mention, t }
    }
    case "polygon": {
      const { points } = annotation
      if (!Array.isArray(points) || points.length < 3) {
        throw new IsaacError("bad_input", `${what} is a polygon of ${shown(points)}; it needs three corners or more`)
      }
      const corners = points.map((corner: readonly number[]) => {
        const [x, y] = numbers(what, [corner?.[0], corner?.[1]])
        return [x, y] as const
      })
      return { type: "polygon", points: corners, mention, t }
    }
    case "collection": {
      const { items } = annotation
      if (!Array.isArray(items) || items.length === 0) {
        throw new IsaacError("bad_input", `${what} is a collection without members`)
      }
      return { type: "collection", items: items.map((item: Annotation) => tagOf(item, what)), mention, t }
    }
    default:
      throw new IsaacError(
        "bad_input",
        `${what} is ${shown(annotation)}; it must be {type: "point", x, y}, {type: "box", x1, y1, x2, y2}, ` +
          '{type: "polygon", points} or {type: "collection", items}',
      )
  }
}

/**
 * The annotations as the model would have written them: integers 0 … 1000, those of one mention gathered into a
 * collection where its first one stands.
 *
 * @param size of the upright picture; only pixels need it
 * Throws bad_input.
 */
export function annotationText(annotations: readonly Annotation[], units: CoordinateUnits, size?: PictureSize): string {
  const tags = annotations.map((annotation, i) =>
    normalised(tagOf(annotation, `annotation ${i + 1} of ${annotations.length}`), units, size),
  )
  const groups = new Map<string | symbol, Tag[]>()
  for (const tag of tags) {
    // Only what has words can be gathered under them.
    const key = tag.type !== "collection" && tag.mention !== null ? `${tag.mention}\n${tag.t}` : Symbol()
    groups.set(key, [...(groups.get(key) ?? []), tag])
  }
  return [...groups.values()].map((group) => serialize(group.length === 1 ? group[0] : gathered(group))).join(" ")
}

function gathered(group: readonly Tag[]): Collection {
  const [{ mention, t }] = group
  return { type: "collection", mention, t, items: group.map((tag) => ({ ...tag, mention: null, t: null })) }
}

function normalised(tag: Tag, units: CoordinateUnits, size: PictureSize | undefined): Tag {
  if (tag.type === "collection") return { ...tag, items: tag.items.map((item) => normalised(item, units, size)) }
  // 1000 by 1000 pixels leaves thousandths as they are, rounded and clamped.
  const of = units === "thousandths" ? { width: 1000, height: 1000 } : size
  if (of !== undefined) return fromPixels(tag, of)
  throw new IsaacError("internal", "pixels need the size of their picture")
}

function numbers(what: string, values: readonly unknown[]): number[] {
  if (values.every((value) => typeof value === "number" && Number.isFinite(value))) return values as number[]
  throw new IsaacError("bad_input", `${what} has the coordinates ${shown(values)}; they must be numbers`)
}
