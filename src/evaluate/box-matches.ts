/**
 * Precision, recall and F1 of boxes without scores: which found box is which true box, at IoU 0.5.
 *
 * Within an image and a category the pair with the largest IoU is matched first, then the next of those that are left,
 * down to the threshold. A found box that is left over and lies in a crowd by the threshold or more counts neither way.
 *
 *   precision = matched / found      recall = matched / true      F1 = 2 · matched / (found + true)
 */

import { boxIou } from "./boxes"
import { type FoundBox, type Key, mean, type TrueBox } from "./detection"

export interface MatchCounts {
  readonly matched: number
  /** Found boxes that count. */
  readonly found: number
  /** True boxes that are no crowds. */
  readonly objects: number
}

export interface BoxMatches extends MatchCounts {
  /** IoU of each matched pair. */
  readonly overlaps: readonly number[]
  readonly images: ReadonlyMap<Key, MatchCounts>
}

export interface MatchScores extends MatchCounts {
  /** null when nothing was found. */
  readonly precision: number | null
  /** null when there is nothing to find. */
  readonly recall: number | null
  readonly f1: number | null
  /** Of the matched pairs; null when there are none. */
  readonly meanIou: number | null
}

type Found = Omit<FoundBox, "score">

export function matchBoxes(truths: readonly TrueBox[], found: readonly Found[], threshold = 0.5): BoxMatches {
  const groups = new Map<string, { image: Key; truths: TrueBox[]; found: Found[] }>()
  const of = ({ image, category }: Found | TrueBox) => {
    const key = JSON.stringify([image, category])
    const known = groups.get(key) ?? { image, truths: [], found: [] }
    groups.set(key, known)
    return known
  }
  for (const truth of truths) of(truth).truths.push(truth)
  for (const box of found) of(box).found.push(box)

  const images = new Map<Key, MatchCounts>()
  const overlaps: number[] = []
  for (const { image, truths, found } of groups.values()) {
    const counts = matchGroup(truths, found, threshold)
    overlaps.push(...counts.overlaps)
    images.set(image, sum([images.get(image) ?? NOTHING, counts]))
  }
  return { ...sum([...images.values()]), overlaps, images }
}

export function matchScores({ overlaps, matched, found, objects }: BoxMatches): MatchScores {
  return {
    ...{ matched, found, objects },
    precision: found === 0 ? null : matched / found,
    recall: objects === 0 ? null : matched / objects,
    f1: f1Of({ matched, found, objects }),
    meanIou: mean(overlaps),
  }
}

/** null when there was nothing to find and nothing was found. */
export function f1Of({ matched, found, objects }: MatchCounts): number | null {
  return found + objects === 0 ? null : (2 * matched) / (found + objects)
}

const NOTHING: MatchCounts = { matched: 0, found: 0, objects: 0 }

function sum(counts: readonly MatchCounts[]): MatchCounts {
  return counts.reduce(
    (a, b) => ({ matched: a.matched + b.matched, found: a.found + b.found, objects: a.objects + b.objects }),
    NOTHING,
  )
}

function matchGroup(all: readonly TrueBox[], found: readonly Found[], threshold: number) {
  const truths = all.filter(({ crowd }) => !crowd)
  const crowds = all.filter(({ crowd }) => crowd)
  const pairs = found.flatMap(({ box }, f) => truths.map((truth, t) => ({ f, t, iou: boxIou(box, truth.box) })))
  const free = { found: new Set(found.keys()), truths: new Set(truths.keys()) }
  const overlaps: number[] = []
  for (const { f, t, iou } of pairs.sort((a, b) => b.iou - a.iou)) {
    if (iou < threshold || !free.found.has(f) || !free.truths.has(t)) continue
    free.found.delete(f)
    free.truths.delete(t)
    overlaps.push(iou)
  }
  const inCrowd = [...free.found].filter((f) =>
    crowds.some((crowd) => boxIou(found[f].box, crowd.box, true) >= threshold),
  )
  return { overlaps, matched: overlaps.length, found: found.length - inCrowd.length, objects: truths.length }
}
