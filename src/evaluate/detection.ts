/**
 * Average precision and average recall as the COCO challenge defines them.
 *
 * For one category and one IoU threshold t, the found boxes of an image are taken by falling score, at most 100, and each
 * takes the true box of that category that it overlaps most, if that is by t or more and nobody took it before. Over
 * all images, by falling score, what took one is a true positive and what took none a false positive:
 *
 *   precision(k) = TP(k) / (TP(k) + FP(k))      recall(k) = TP(k) / number of true boxes
 *   AP(t) = 1/101 · Σ over r in {0, 0.01, …, 1} of max { precision(k) : recall(k) ≥ r }     (0 where no recall reaches r)
 *   AR(t) = the recall of all found boxes, of 1, 10 or 100 in each image
 *
 * AP and AR are the means over t = 0.5, 0.55, … 0.95 and over the categories that have true boxes. Boxes that match a
 * crowd count neither way, and a crowd may be matched many times. For the ranges of area, true boxes outside of the
 * range count like crowds that can be taken once, and found boxes outside of it that took none are left out.
 *
 * Source: Lin et al., "Microsoft COCO: Common Objects in Context" (2014); https://cocodataset.org/#detection-eval; the
 * order of ties is that of pycocotools. Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge" (2010) has the
 * other interpolations.
 */

import { type Box, boxArea, boxIou } from "./boxes"

/** A name for an image or a category: equal names are the same one. */
export type Key = string | number

export interface TrueBox {
  readonly image: Key
  readonly category: Key
  readonly box: Box
  /** Square pixels, of the mask if there is one: what decides about small, medium and large. Default: the box's. */
  readonly area?: number
  readonly crowd?: boolean
}

export interface FoundBox {
  readonly image: Key
  readonly category: Key
  readonly box: Box
  /** Any number; higher is surer. */
  readonly score: number
}

export interface CategoryScores {
  readonly category: Key
  /** True boxes that are no crowds. */
  readonly objects: number
  readonly ap: number
  readonly ap50: number
  readonly ar100: number
}

/** 0 … 1; null where there is no true box to find. */
export interface DetectionScores {
  readonly ap: number | null
  readonly ap50: number | null
  readonly ap75: number | null
  readonly apSmall: number | null
  readonly apMedium: number | null
  readonly apLarge: number | null
  readonly ar1: number | null
  readonly ar10: number | null
  readonly ar100: number | null
  readonly arSmall: number | null
  readonly arMedium: number | null
  readonly arLarge: number | null
  /** Those with true boxes, in the order in which they first occur. */
  readonly categories: readonly CategoryScores[]
}

/** To the last bit those of pycocotools: boxes of whole pixels do overlap by exactly 0.85 and 0.9. */
export const IOU_THRESHOLDS: readonly number[] = Array.from({ length: 10 }, (_, i) => 0.5 + i * ((0.95 - 0.5) / 9))
const RECALLS = Array.from({ length: 101 }, (_, i) => i * 0.01)
const MOST_FOUND = 100

/** Square pixels, both ends included. */
const AREAS = { all: [0, 1e10], small: [0, 32 ** 2], medium: [32 ** 2, 96 ** 2], large: [96 ** 2, 1e10] } as const
type AreaRange = readonly [least: number, most: number]

/** Nothing found is a box that overlaps by this or less: what differs in the last digit only still matches at 1. */
const LARGEST_THRESHOLD = 1 - 1e-10

/** How a found box fared. */
export interface Verdict {
  readonly score: number
  /** ignored: it matched a crowd, or is outside of the range of areas. */
  readonly verdict: "right" | "wrong" | "ignored"
  /** Its place by score among those of its image and category, from 0. */
  readonly rank: number
}

export function detectionScores(truths: readonly TrueBox[], found: readonly FoundBox[]): DetectionScores {
  const categories = [...new Set(truths.map(({ category }) => category))].map((category) => {
    const pairs = pairUp(
      truths.filter((truth) => truth.category === category),
      found.filter((box) => box.category === category),
    )
    const at = (range: AreaRange, threshold: number) => judged(pairs, range, threshold)
    const over = <V>(range: AreaRange, value: (run: Judged) => V) => IOU_THRESHOLDS.map((t) => value(at(range, t)))
    const precision = (run: Judged) => averagePrecision(run.verdicts, run.objects)
    const recall = (most: number) => (run: Judged) => recallOf(run, most)
    const all = over(AREAS.all, (run) => run)
    const ranges = { small: AREAS.small, medium: AREAS.medium, large: AREAS.large }
    return {
      category,
      objects: all[0].objects,
      ap: all.map(precision),
      ar: [1, 10, MOST_FOUND].map((most) => all.map(recall(most))),
      byArea: Object.fromEntries(
        Object.entries(ranges).map(([name, range]) => {
          const runs = over(range, (run) => run)
          return [name, { ap: runs.map(precision), ar: runs.map(recall(MOST_FOUND)) }]
        }),
      ) as Record<keyof typeof ranges, { readonly ap: (number | null)[]; readonly ar: (number | null)[] }>,
    }
  })
  type Category = (typeof categories)[number]
  const overAll = (values: (category: Category) => readonly (number | null)[]) => mean(categories.flatMap(values))
  return {
    ap: overAll(({ ap }) => ap),
    ap50: overAll(({ ap }) => [ap[0]]),
    ap75: overAll(({ ap }) => [ap[5]]),
    apSmall: overAll(({ byArea }) => byArea.small.ap),
    apMedium: overAll(({ byArea }) => byArea.medium.ap),
    apLarge: overAll(({ byArea }) => byArea.large.ap),
    ar1: overAll(({ ar }) => ar[0]),
    ar10: overAll(({ ar }) => ar[1]),
    ar100: overAll(({ ar }) => ar[2]),
    arSmall: overAll(({ byArea }) => byArea.small.ar),
    arMedium: overAll(({ byArea }) => byArea.medium.ar),
    arLarge: overAll(({ byArea }) => byArea.large.ar),
    categories: categories
      .filter(({ objects }) => objects > 0)
      .map(({ category, objects, ap, ar }) => ({
        ...{ category, objects },
        ap: mean(ap) ?? 0,
        ap50: ap[0] ?? 0,
        ar100: mean(ar[2]) ?? 0,
      })),
  }
}

/** How each found box of one category fares at a threshold, by falling score; what `averagePrecision` takes. */
export function verdictsAt(truths: readonly TrueBox[], found: readonly FoundBox[], threshold: number): Verdict[] {
  return [...judged(pairUp(truths, found), AREAS.all, threshold).verdicts]
}

/** Found and true boxes of one category, image by image, with their overlaps. */
interface Pairs {
  readonly truths: readonly TrueBox[]
  /** By falling score, at most 100. */
  readonly found: readonly FoundBox[]
  /** [found][truth] */
  readonly overlaps: readonly (readonly number[])[]
}

function pairUp(truths: readonly TrueBox[], found: readonly FoundBox[]): Pairs[] {
  const images = new Map<Key, { truths: TrueBox[]; found: FoundBox[] }>()
  const of = (image: Key) => {
    const known = images.get(image) ?? { truths: [], found: [] }
    images.set(image, known)
    return known
  }
  for (const truth of truths) of(truth.image).truths.push(truth)
  for (const box of found) of(box.image).found.push(box)
  return [...images.values()].map(({ truths, found }) => {
    const first = [...found].sort((a, b) => b.score - a.score).slice(0, MOST_FOUND)
    const overlaps = first.map(({ box }) => truths.map((truth) => boxIou(box, truth.box, truth.crowd)))
    return { truths, found: first, overlaps }
  })
}

interface Judged {
  /** By falling score. */
  readonly verdicts: readonly Verdict[]
  /** How many there are to find. */
  readonly objects: number
}

function judged(images: readonly Pairs[], range: AreaRange, threshold: number): Judged {
  let objects = 0
  const verdicts: Verdict[] = []
  for (const image of images) {
    const ignored = image.truths.map(({ box, area = boxArea(box), crowd }) => crowd || outside(area, range))
    objects += ignored.filter((yes) => !yes).length
    verdicts.push(...judgeImage(image, ignored, range, threshold))
  }
  return { verdicts: verdicts.sort((a, b) => b.score - a.score), objects }
}

function judgeImage(
  { truths, found, overlaps }: Pairs,
  ignored: readonly boolean[],
  range: AreaRange,
  threshold: number,
): Verdict[] {
  // What counts comes first: a box never takes an ignored truth while it can take another.
  const order = truths.map((_, i) => i).sort((a, b) => Number(ignored[a]) - Number(ignored[b]))
  const taken = new Set<number>()
  return found.map(({ box, score }, rank) => {
    let best = -1
    let most = Math.min(threshold, LARGEST_THRESHOLD)
    for (const i of order) {
      if (taken.has(i) && !truths[i].crowd) continue
      if (best >= 0 && !ignored[best] && ignored[i]) break
      if (overlaps[rank][i] < most) continue
      most = overlaps[rank][i]
      best = i
    }
    if (best >= 0) taken.add(best)
    const isIgnored = best >= 0 ? ignored[best] : outside(boxArea(box), range)
    return { score, rank, verdict: isIgnored ? "ignored" : best >= 0 ? "right" : "wrong" }
  })
}

function outside(area: number, [least, most]: AreaRange): boolean {
  return area < least || area > most
}

function recallOf({ verdicts, objects }: Judged, most: number): number | null {
  if (objects === 0) return null
  return verdicts.filter(({ rank, verdict }) => rank < most && verdict === "right").length / objects
}

/**
 * The area under the curve of precision over recall, interpolated: each precision is the best one at that recall or a
 * higher one. null when there is nothing to find.
 *
 * @param verdicts by falling score
 * @param interpolation "coco": at 101 recalls, "voc2007": at 11, "all": at every recall that occurs
 */
export function averagePrecision(
  verdicts: readonly Pick<Verdict, "verdict">[],
  objects: number,
  interpolation: "coco" | "voc2007" | "all" = "coco",
): number | null {
  if (objects === 0) return null
  const counted = verdicts.filter(({ verdict }) => verdict !== "ignored")
  let right = 0
  const recalls: number[] = []
  const precisions = counted.map(({ verdict }, i) => {
    if (verdict === "right") right++
    recalls.push(right / objects)
    return right / (i + 1)
  })
  for (let i = precisions.length - 2; i >= 0; i--) precisions[i] = Math.max(precisions[i], precisions[i + 1])
  if (interpolation === "all") {
    return precisions.reduce((sum, precision, i) => sum + precision * (recalls[i] - (recalls[i - 1] ?? 0)), 0)
  }
  const wanted = interpolation === "coco" ? RECALLS : Array.from({ length: 11 }, (_, i) => i / 10)
  let sum = 0
  let at = 0
  for (const recall of wanted) {
    while (at < recalls.length && recalls[at] < recall) at++
    sum += precisions[at] ?? 0
  }
  return sum / wanted.length
}

/** Of the numbers that there are; null when there are none. */
export function mean(values: readonly (number | null)[]): number | null {
  const numbers = values.filter((value) => value !== null)
  return numbers.length === 0 ? null : numbers.reduce((sum, value) => sum + value, 0) / numbers.length
}
