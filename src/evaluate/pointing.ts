/**
 * Whether points hit what they should.
 *
 *   inside = points in the mask (or else the box) of one of the objects / points
 *   recall = objects that have a point of their own / objects
 *
 * Each point is one object's and each object has one point: as many pairs as can be made. Points in a crowd and nowhere
 * else count neither way, and a crowd is no object to be found.
 */

import type { Box } from "./boxes"
import { type Mask, maskOf, type Segmentation } from "./mask"

export interface PointedObject {
  readonly box?: Box
  readonly segmentation?: Segmentation
  readonly crowd?: boolean
}

export interface PointCounts {
  /** Points that count. */
  readonly points: number
  readonly inside: number
  readonly objects: number
  readonly hit: number
}

export interface PointScores extends PointCounts {
  /** null without points */
  readonly insideShare: number | null
  /** null without objects */
  readonly recall: number | null
}

/** One question: points in pixels, and all objects that it asks for. Throws bad_input for a damaged mask. */
export function matchPoints(
  objects: readonly PointedObject[],
  points: readonly (readonly [x: number, y: number])[],
): PointCounts {
  const masks = objects.map((object) => coverOf(object))
  const wanted = objects.flatMap(({ crowd }, i) => (crowd ? [] : [i]))
  const within = points.map(([x, y]) => wanted.filter((i) => masks[i](x, y)))
  const counted = points.filter(
    ([x, y], p) => within[p].length > 0 || !objects.some(({ crowd }, i) => crowd && masks[i](x, y)),
  )
  return {
    points: counted.length,
    inside: within.filter((hits) => hits.length > 0).length,
    objects: wanted.length,
    hit: mostPairs(within),
  }
}

export function pointScores(questions: readonly PointCounts[]): PointScores {
  const sum = (count: (question: PointCounts) => number) => questions.reduce((total, q) => total + count(q), 0)
  const [points, inside] = [sum((q) => q.points), sum((q) => q.inside)]
  const [objects, hit] = [sum((q) => q.objects), sum((q) => q.hit)]
  return {
    ...{ points, inside, objects, hit },
    insideShare: points === 0 ? null : inside / points,
    recall: objects === 0 ? null : hit / objects,
  }
}

function coverOf({ box, segmentation }: PointedObject): Mask {
  const polygons = segmentation && "counts" in segmentation ? undefined : segmentation
  if (segmentation && (polygons === undefined || polygons.length > 0)) return maskOf(segmentation)
  if (!box) return () => false
  const [left, top, width, height] = box
  return (x, y) => x >= left && x <= left + width && y >= top && y <= top + height
}

/** The largest number of pairs of a point and one of its objects, nobody in two pairs (augmenting paths). */
function mostPairs(within: readonly (readonly number[])[]): number {
  const owner = new Map<number, number>()
  const place = (point: number, tried: Set<number>): boolean =>
    within[point].some((object) => {
      if (tried.has(object)) return false
      tried.add(object)
      const other = owner.get(object)
      if (other !== undefined && !place(other, tried)) return false
      owner.set(object, point)
      return true
    })
  return within.filter((_, point) => place(point, new Set())).length
}
