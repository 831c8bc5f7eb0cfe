/** What was answered about the pictures of a dataset, from the forms in which people have it. */

import { IsaacError, plainText, shown } from "../errors"
import type { PixelLeaf } from "../perception/parse"
import type { Box } from "./boxes"
import type { Dataset, DatasetImage } from "./dataset"
import type { Key } from "./detection"
import { EVAL_TASKS, type EvalTask } from "./questions"

/** One answer, as `isaac eval` keeps it. */
export interface Answered {
  readonly task: EvalTask
  /** The question, or what it was about; null for everything and for all text. */
  readonly about: string | null
  readonly text: string
  /** What it points at, in pixels. */
  readonly pixels: readonly PixelLeaf[]
  /** How sure the model was of each of them, if that is known. */
  readonly confidences?: readonly number[]
  /** Of a count. */
  readonly count?: number | null
  /** Tags that could not be read. */
  readonly unreadable?: number
  readonly tokens?: number
  readonly ms?: number
}

/** A box whose category is known, from a file of results in the format of COCO. */
export interface GivenBox {
  /** Index into the dataset's categories. */
  readonly category: number
  readonly box: Box
  readonly score: number
}

/** All that is known about one picture; a picture that failed is not among the predictions. */
export interface Prediction {
  readonly answers: readonly Answered[]
  readonly boxes?: readonly GivenBox[]
  /** Answers to questions by their id, from a file of results in the format of VQA v2. */
  readonly byQuestion?: ReadonlyMap<Key, string>
}

export type Predictions = ReadonlyMap<DatasetImage, Prediction>

/**
 * Reads a file of predictions: results of COCO [{image_id, category_id, bbox, score}, …], results of VQA v2
 * [{question_id, answer}, …], the lines that `isaac eval` writes, or those of a batch of `isaac detect` or `isaac ocr`.
 *
 * @param task what lines of a batch answer; the other forms say it themselves
 * @returns the predictions; and how many pictures have an error instead
 * Throws bad_input for what is none of these or names unknown pictures, categories or questions.
 */
export function readPredictions(
  text: string,
  dataset: Dataset,
  task: EvalTask | undefined,
): { readonly predictions: Predictions; readonly failed: number } {
  const list = text.trimStart().startsWith("[") ? parseJson(text, "the file") : undefined
  if (list !== undefined) return { predictions: fromResults(list as unknown[], dataset), failed: 0 }
  const lines = text.split("\n").flatMap((line, i) => (line.trim() === "" ? [] : [{ line, number: i + 1 }]))
  if (lines.length === 0) throw new IsaacError("bad_input", "the file of predictions is empty")
  const find = finder(dataset)
  const predictions = new Map<DatasetImage, Prediction>()
  let failed = 0
  for (const { line, number } of lines) {
    const what = `line ${number} of the predictions`
    const value = parseJson(line, what) as Record<string, unknown>
    const image = find(value?.image, what)
    if (value.error !== undefined) {
      failed++
      continue
    }
    predictions.set(image, { answers: answersOf(value, task, what) })
  }
  return { predictions, failed }
}

/** By its file, or by the end of a path to it. */
function finder({ images }: Dataset): (name: unknown, what: string) => DatasetImage {
  const byFile = new Map(images.map((image) => [image.file, image]))
  return (name, what) => {
    if (typeof name !== "string") throw new IsaacError("bad_input", `${what} has no image: ${shown(name)}`)
    const parts = name.replaceAll("\\", "/").split("/")
    for (let i = 0; i < parts.length; i++) {
      const image = byFile.get(parts.slice(i).join("/"))
      if (image) return image
    }
    throw new IsaacError("bad_input", `${what} is about ${shown(name)}, which is not among the ${images.length} images`)
  }
}

function answersOf(value: Record<string, unknown>, task: EvalTask | undefined, what: string): Answered[] {
  if (Array.isArray(value.answers)) return value.answers.map((answer) => checkAnswer(answer, what))
  // A line of a batch: what it was asked stands elsewhere.
  if (task !== "detect" && task !== "ocr") {
    throw new IsaacError(
      "bad_input",
      `${what} is one of a batch, which does not say what was asked; such lines can be evaluated with --task detect ` +
        "or --task ocr",
    )
  }
  return [checkAnswer({ task, about: null, text: value.text, pixels: value.pixels }, what)]
}

/** What the metrics rely on. */
function checkAnswer(value: unknown, what: string): Answered {
  const { task, about, text, pixels, confidences, count } = (value ?? {}) as Partial<Record<keyof Answered, unknown>>
  const isNumber = (number: unknown) => typeof number === "number" && Number.isFinite(number)
  const isLeaf = (leaf: unknown) => {
    const { type, x, y, x1, y1, x2, y2, points, mention } = (leaf ?? {}) as Record<string, unknown>
    if (mention !== null && typeof mention !== "string") return false
    if (type === "point") return [x, y].every(isNumber)
    if (type === "box") return [x1, y1, x2, y2].every(isNumber)
    return (
      type === "polygon" &&
      Array.isArray(points) &&
      points.length > 0 &&
      points.every((p) => Array.isArray(p) && p.length === 2 && p.every(isNumber))
    )
  }
  const fits =
    EVAL_TASKS.includes(task as EvalTask) &&
    (about === null || typeof about === "string") &&
    typeof text === "string" &&
    Array.isArray(pixels) &&
    pixels.every(isLeaf) &&
    (confidences === undefined || (Array.isArray(confidences) && confidences.every(isNumber))) &&
    (count === undefined || count === null || isNumber(count))
  if (fits) return value as Answered
  throw new IsaacError(
    "bad_input",
    `${what} has the answer ${shown(value)}; it needs a task, text and pixels, as isaac eval and isaac detect write them`,
  )
}

function fromResults(list: readonly unknown[], dataset: Dataset): Predictions {
  const images = new Map(dataset.images.map((image) => [image.id, image]))
  const categories = new Map(dataset.categories.map(({ id }, index) => [id, index]))
  const questions = new Map(
    dataset.images.flatMap((image) =>
      image.questions.flatMap(({ id }) => (id === undefined ? [] : [[id, image] as const])),
    ),
  )
  // Every picture was looked at, those without a result too.
  const results = new Map(
    dataset.images.map((image) => [
      image,
      { answers: [], boxes: [] as GivenBox[], byQuestion: new Map<Key, string>() },
    ]),
  )
  for (const [i, value] of list.entries()) {
    const what = `result ${i + 1} of ${list.length}`
    const { image_id, category_id, bbox, score, question_id, answer } = (value ?? {}) as Record<string, unknown>
    if (question_id !== undefined) {
      const image = questions.get(question_id as Key)
      if (!image)
        throw new IsaacError("bad_input", `${what} answers the question ${shown(question_id)}, which there is not`)
      if (typeof answer !== "string") throw new IsaacError("bad_input", `${what} has the answer ${shown(answer)}`)
      results.get(image)?.byQuestion.set(question_id as Key, answer)
      continue
    }
    const image = images.get(image_id as Key)
    const category = categories.get(category_id as Key)
    if (!image || category === undefined) {
      throw new IsaacError(
        "bad_input",
        `${what} is of the image ${shown(image_id)} and the category ${shown(category_id)}; ` +
          `${image ? "there is no such category" : "there is no such image"} in the dataset`,
      )
    }
    const numbers = [...(Array.isArray(bbox) ? bbox : []), score]
    if (numbers.length !== 5 || !numbers.every((n) => typeof n === "number" && Number.isFinite(n))) {
      throw new IsaacError(
        "bad_input",
        `${what} has the bbox ${shown(bbox)} and the score ${shown(score)}; it needs four numbers and one`,
      )
    }
    results.get(image)?.boxes.push({ category, box: bbox as unknown as Box, score: score as number })
  }
  return new Map(
    [...results].map(([image, { answers, boxes, byQuestion }]) => [
      image,
      byQuestion.size > 0 ? { answers, boxes, byQuestion } : { answers, boxes },
    ]),
  )
}

function parseJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new IsaacError("bad_input", `${what} is no JSON: ${plainText((cause as Error).message)}`, { cause })
  }
}
