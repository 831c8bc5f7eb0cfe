/** Answers against a dataset: every metric of every task, and how bad each answer is. */

import { IsaacError } from "../errors"
import { type PixelLeaf, stripTags } from "../perception/parse"
import { f1Of, type MatchScores, matchBoxes, matchScores } from "./box-matches"
import type { Box } from "./boxes"
import { ClassNames, type NameMatch } from "./class-names"
import { type CountScores, countScores } from "./counting"
import type { Dataset, DatasetImage, DatasetObject } from "./dataset"
import { type DetectionScores, detectionScores, type FoundBox, type TrueBox } from "./detection"
import { polygonsOf } from "./mask"
import { matchPoints, type PointScores, pointScores } from "./pointing"
import type { Answered, Prediction, Predictions } from "./predictions"
import { type Asked, type AskingOptions, type EvalTask, questionsAbout } from "./questions"
import { editDistance, normaliseText, type ReadingScores, readingScores } from "./reading"
import { type VqaScores, vqaAccuracy, vqaScores } from "./vqa"

export interface DetectReport {
  /** Categories by name. */
  readonly coco: DetectionScores
  /** What ranked the boxes: the model's confidence, their order in the answer, or scores that were given. */
  readonly ranking: "confidence" | "order" | "given"
  /** mAP when the boxes are ranked by their place in the answer instead; null where that was the ranking, or unknown. */
  readonly apByOrder: number | null
  /** At IoU 0.5, without ranking; found boxes whose name is no category are wrong. */
  readonly matches: MatchScores
  /** How the names of found boxes were understood; of what stands for no category the most frequent ones. */
  readonly names: Readonly<Record<NameMatch["how"], number>> & {
    readonly unmatched: readonly { readonly name: string; readonly times: number }[]
  }
  /** Tags that could not be read, in all answers. */
  readonly unreadable: number
}

export interface TaskReports {
  readonly detect?: DetectReport
  readonly point?: PointScores & { readonly questions: number }
  readonly count?: CountScores
  readonly vqa?: VqaScores
  readonly ocr?: { readonly raw: ReadingScores; readonly normalised: ReadingScores }
}

/** One answer and what was expected, for people to look at. */
export interface EvalCase {
  readonly image: DatasetImage
  readonly task: EvalTask
  readonly about: string | null
  /** 0: all right. 1: all wrong. */
  readonly badness: number
  /** In words. */
  readonly expected: string
  readonly said: string
  readonly expectedLeaves: readonly PixelLeaf[]
  readonly foundLeaves: readonly PixelLeaf[]
}

export interface Evaluation {
  readonly tasks: TaskReports
  /** Pictures that the metrics are of. */
  readonly images: number
  readonly cases: readonly EvalCase[]
}

/** Names that a report lists. */
const LISTED = 20

/** Throws bad_input for answers to other questions than these. */
export function scoreDataset(dataset: Dataset, predictions: Predictions, options: AskingOptions): Evaluation {
  const pairs = [...predictions].flatMap(([image, prediction]) => pairsOf(image, prediction, dataset, options))
  const of = <T extends EvalTask>(task: T) => pairs.filter(({ asked }) => asked.task === task) as unknown as Pair<T>[]
  const cases: EvalCase[] = []
  const images = [...predictions.keys()]
  const has = (task: EvalTask) => options.tasks.includes(task)
  return {
    images: images.length,
    tasks: {
      ...(has("detect") && { detect: detectReport(dataset, predictions, of("detect"), cases) }),
      ...(has("point") && { point: pointReport(of("point"), dataset, cases) }),
      ...(has("count") && { count: countReport(of("count"), cases) }),
      ...(has("vqa") && { vqa: vqaReport(of("vqa"), cases) }),
      ...(has("ocr") && { ocr: ocrReport(of("ocr"), cases) }),
    },
    cases,
  }
}

interface Pair<T extends EvalTask = EvalTask> {
  readonly image: DatasetImage
  readonly asked: Extract<Asked, { task: T }>
  readonly answer: Answered
}

function pairsOf(image: DatasetImage, prediction: Prediction, dataset: Dataset, options: AskingOptions): Pair[] {
  const asked = questionsAbout(image, dataset, options)
  const answers = [...prediction.answers]
  return asked.flatMap((question): Pair[] => {
    const at = answers.findIndex(({ task, about }) => task === question.task && about === question.about)
    if (at >= 0) return [{ image, asked: question, answer: answers.splice(at, 1)[0] } as Pair]
    const { task, about } = question
    const given = task === "vqa" && question.id !== undefined ? prediction.byQuestion?.get(question.id) : undefined
    if (given !== undefined)
      return [{ image, asked: question, answer: { task, about, text: given, pixels: [] } } as Pair]
    if (task === "detect" && prediction.boxes) return []
    throw new IsaacError(
      "bad_input",
      `the predictions have no answer to ${task}${about === null ? "" : ` ${JSON.stringify(about)}`} for ${image.file}; ` +
        "they are of another dataset or were made with other options (--task, --per-class, --absent)",
    )
  })
}

/** No category: what is named so is wrong wherever it is. */
const UNKNOWN = -1

function detectReport(
  dataset: Dataset,
  predictions: Predictions,
  pairs: readonly Pair<"detect">[],
  cases: EvalCase[],
): DetectReport {
  const all = new ClassNames(dataset.categories.map(({ name }) => name))
  const how = { exact: 0, words: 0, contained: 0, ambiguous: 0, none: 0 }
  const unmatched = new Map<string, number>()
  const ranked = pairs.every(
    ({ answer }) => answer.pixels.length === 0 || answer.confidences?.length === answer.pixels.length,
  )
  const truths: TrueBox[] = []
  const found: FoundBox[] = []
  /** Of `found`, by their place in the answer. */
  const orders: number[] = []
  let given = false
  for (const [image, { boxes = [] }] of predictions) {
    truths.push(...image.objects.map((object) => ({ image: image.id, ...object })))
    found.push(...boxes.map((box) => ({ image: image.id, ...box })))
    given ||= boxes.length > 0
  }
  for (const { image, asked, answer } of pairs) {
    const only = asked.category
    const names = only === undefined ? all : new ClassNames([dataset.categories[only].name])
    const matches = names.match(answer.pixels.flatMap(({ mention }) => (mention === null ? [] : [mention])))
    for (const [i, leaf] of answer.pixels.entries()) {
      const match = leaf.mention === null ? UNNAMED : (matches.get(leaf.mention) ?? UNNAMED)
      // Whoever is asked for one thing need not name it.
      const category = only === undefined ? match.category : leaf.mention === null || match.category === 0 ? only : null
      if (leaf.mention !== null) {
        how[match.how]++
        if (category === null) unmatched.set(leaf.mention, (unmatched.get(leaf.mention) ?? 0) + 1)
      }
      orders.push(1 / (1 + i))
      const score = ranked ? (answer.confidences?.[i] ?? 0) : orders[orders.length - 1]
      found.push({ image: image.id, category: category ?? UNKNOWN, box: boxOf(leaf), score })
    }
  }
  const matches = matchBoxes(truths, found)
  const coco = detectionScores(truths, found)
  for (const [image] of predictions) {
    const answers = pairs.filter((pair) => pair.image === image)
    const badness = 1 - (f1Of(matches.images.get(image.id) ?? { matched: 0, found: 0, objects: 0 }) ?? 1)
    const leaves = answers.flatMap(({ answer }) => answer.pixels)
    cases.push({
      ...{ image, task: "detect", about: null, badness },
      expected: namesOf(image.objects.map(({ category }) => dataset.categories[category].name)),
      said: namesOf(leaves.map(({ mention }) => mention ?? "?")),
      expectedLeaves: image.objects.map((object) => leafOf(object, dataset)),
      foundLeaves: leaves,
    })
  }
  const ranking = given ? "given" : ranked ? "confidence" : "order"
  const byOrder = () =>
    detectionScores(
      truths,
      found.map((box, i) => ({ ...box, score: orders[i] })),
    ).ap
  return {
    ranking,
    apByOrder: ranking === "confidence" ? byOrder() : null,
    coco: {
      ...coco,
      categories: coco.categories.map((one) => ({ ...one, category: dataset.categories[one.category as number].name })),
    },
    matches: matchScores(matches),
    names: {
      ...how,
      unmatched: [...unmatched]
        .sort((a, b) => b[1] - a[1])
        .slice(0, LISTED)
        .map(([name, times]) => ({ name, times })),
    },
    unreadable: pairs.reduce((sum, { answer }) => sum + (answer.unreadable ?? 0), 0),
  }
}

const UNNAMED: NameMatch = { category: null, how: "none" }

function pointReport(pairs: readonly Pair<"point">[], dataset: Dataset, cases: EvalCase[]): TaskReports["point"] {
  const counts = pairs.map(({ image, asked, answer }) => {
    const objects = image.objects.filter(({ category }) => category === asked.category)
    const count = matchPoints(objects, answer.pixels.map(centreOf))
    cases.push({
      ...{ image, task: "point", about: asked.about },
      badness: 1 - (f1Of({ matched: count.hit, found: count.points, objects: count.objects }) ?? 1),
      expected: `${count.objects} ${asked.about}`,
      said: answer.pixels.length === 0 ? answer.text : `${plenty(answer.pixels.length)}, ${count.inside} inside`,
      expectedLeaves: objects.map((object) => leafOf(object, dataset)),
      foundLeaves: answer.pixels,
    })
    return count
  })
  return { questions: pairs.length, ...pointScores(counts) }
}

function countReport(pairs: readonly Pair<"count">[], cases: EvalCase[]): CountScores {
  const counts = pairs.map(({ image, asked, answer }) => {
    const said = answer.count ?? null
    const off = Math.abs((said ?? 0) - asked.expected) / Math.max(asked.expected, said ?? 0, 1)
    cases.push({
      ...{ image, task: "count", about: asked.about, badness: said === null ? 1 : off },
      ...{ expected: String(asked.expected), said: said === null ? answer.text : String(said) },
      ...{ expectedLeaves: [], foundLeaves: answer.pixels },
    })
    return { expected: asked.expected, said }
  })
  return countScores(counts)
}

function vqaReport(pairs: readonly Pair<"vqa">[], cases: EvalCase[]): VqaScores {
  const answers = pairs.map(({ image, asked, answer }) => {
    const pair = { accepted: asked.accepted, said: words(answer) }
    cases.push({
      ...{ image, task: "vqa", about: asked.about, badness: 1 - vqaAccuracy(pair) },
      ...{ expected: [...new Set(asked.accepted)].join(" or "), said: pair.said },
      ...{ expectedLeaves: [], foundLeaves: answer.pixels },
    })
    return pair
  })
  return vqaScores(answers)
}

function ocrReport(pairs: readonly Pair<"ocr">[], cases: EvalCase[]): TaskReports["ocr"] {
  const texts = pairs.map(({ image, asked, answer }) => {
    const pair = { expected: asked.expected, said: textOf(answer) }
    const [wanted, said] = [pair.expected, pair.said].map((text) => [...normaliseText(text)])
    cases.push({
      ...{ image, task: "ocr", about: null, expected: pair.expected, said: pair.said },
      badness: Math.min(1, editDistance(wanted, said) / Math.max(wanted.length, 1)),
      ...{ expectedLeaves: [], foundLeaves: answer.pixels },
    })
    return pair
  })
  return readingScores(texts)
}

/** The answer without its tags. */
function words({ text }: Answered): string {
  return stripTags(text).trim()
}

/** Text that was read; where it stands in tags only, as their mentions. */
function textOf(answer: Answered): string {
  return words(answer) || answer.pixels.flatMap(({ mention }) => (mention === null ? [] : [mention])).join("\n")
}

/** What a leaf covers at least, as a box. */
function boxOf(leaf: PixelLeaf): Box {
  const corners =
    leaf.type === "box"
      ? [
          [leaf.x1, leaf.y1],
          [leaf.x2, leaf.y2],
        ]
      : leaf.type === "point"
        ? [[leaf.x, leaf.y]]
        : leaf.points
  const [xs, ys] = [corners.map(([x]) => x), corners.map(([, y]) => y)]
  const [left, top] = [Math.min(...xs), Math.min(...ys)]
  return [left, top, Math.max(...xs) - left, Math.max(...ys) - top]
}

function centreOf(leaf: PixelLeaf): readonly [number, number] {
  const [x, y, width, height] = boxOf(leaf)
  return [x + width / 2, y + height / 2]
}

/** A true object as the model would point at it. */
function leafOf({ category, box, segmentation }: DatasetObject, { categories }: Dataset): PixelLeaf {
  const common = { mention: categories[category].name, t: null, image: 0 }
  const [polygon] = segmentation && !("counts" in segmentation) ? polygonsOf(segmentation) : []
  if (polygon) return { type: "polygon", points: polygon, ...common }
  const [x, y, width, height] = box
  return { type: "box", x1: x, y1: y, x2: x + width, y2: y + height, ...common }
}

function plenty(points: number): string {
  return points === 1 ? "1 point" : `${points} points`
}

/** "2 cat, dog" */
function namesOf(names: readonly string[]): string {
  const times = new Map<string, number>()
  for (const name of names) times.set(name, (times.get(name) ?? 0) + 1)
  return [...times].map(([name, count]) => (count === 1 ? name : `${count} ${name}`)).join(", ") || "nothing"
}
