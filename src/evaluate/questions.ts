/** What a model is asked about the pictures of a dataset, with what it should answer. */

import { IsaacError } from "../errors"
import { plural } from "./class-names"
import type { Dataset, DatasetImage } from "./dataset"
import type { Key } from "./detection"

export const EVAL_TASKS = ["detect", "point", "count", "vqa", "ocr"] as const
export type EvalTask = (typeof EVAL_TASKS)[number]

export type Asked =
  /** Everything, or the objects of one category: then `about` is its name. */
  | { readonly task: "detect"; readonly about: string | null; readonly category?: number }
  | { readonly task: "point"; readonly about: string; readonly category: number }
  | { readonly task: "count"; readonly about: string; readonly expected: number }
  | { readonly task: "vqa"; readonly about: string; readonly accepted: readonly string[]; readonly id?: Key }
  | { readonly task: "ocr"; readonly about: null; readonly expected: string }

export interface AskingOptions {
  readonly tasks: readonly EvalTask[]
  /** Detect one category at a time: those in the picture and `absent` others. Default: everything at once. */
  readonly perClass?: boolean
  /** Categories that are not in a picture and are asked for all the same, in point, count and detect by class. */
  readonly absent: number
}

/** The tasks that a dataset has answers for. */
export function tasksOf({ images, categories }: Dataset): EvalTask[] {
  const some = (test: (image: DatasetImage) => boolean) => images.some(test)
  const objects = categories.length > 0 && some(({ objects }) => objects.length > 0)
  const has: Record<EvalTask, boolean> = {
    detect: objects,
    point: objects,
    count: objects || some(({ counts }) => counts.length > 0),
    vqa: some(({ questions }) => questions.length > 0),
    ocr: some(({ text }) => text !== undefined),
  }
  return EVAL_TASKS.filter((task) => has[task])
}

/** Throws bad_input for a task that the dataset has no answers for. */
export function checkTasks(dataset: Dataset, tasks: readonly EvalTask[]): void {
  const has = tasksOf(dataset)
  const missing = tasks.filter((task) => !has.includes(task))
  if (missing.length === 0 && tasks.length > 0) return
  throw new IsaacError(
    "bad_input",
    `the dataset has nothing to evaluate ${missing.join(" and ") || "any task"} with; ` +
      (has.length === 0 ? "it has neither objects nor questions nor text" : `it has what ${has.join(", ")} need`),
  )
}

/**
 * All questions about one picture, the same ones whenever they are asked for.
 *
 * Counts are asked as the dataset words them; where it has none at all, they are made of its objects.
 */
export function questionsAbout(image: DatasetImage, dataset: Dataset, options: AskingOptions): Asked[] {
  const { tasks, perClass = false } = options
  const present = [...new Set(image.objects.map(({ category }) => category))]
  const absent = absentFrom(image, dataset.categories.length, present, options.absent)
  const named = (category: number) => ({ about: dataset.categories[category].name, category })
  const asked: Asked[] = []
  if (tasks.includes("detect")) {
    if (!perClass) asked.push({ task: "detect", about: null })
    else asked.push(...[...present, ...absent].map((category) => ({ task: "detect" as const, ...named(category) })))
  }
  if (tasks.includes("point")) {
    const findable = present.filter((category) => image.objects.some((o) => o.category === category && !o.crowd))
    asked.push(...[...findable, ...absent].map((category) => ({ task: "point" as const, ...named(category) })))
  }
  if (tasks.includes("count")) {
    if (dataset.images.some(({ counts }) => counts.length > 0)) {
      asked.push(
        ...image.counts.map(({ objects, count }) => ({ task: "count" as const, about: objects, expected: count })),
      )
    } else {
      // How many are in a crowd nobody knows.
      const crowds = new Set(image.objects.filter(({ crowd }) => crowd).map(({ category }) => category))
      for (const category of [...present.filter((c) => !crowds.has(c)), ...absent]) {
        const expected = image.objects.filter((object) => object.category === category).length
        asked.push({ task: "count", about: plural(dataset.categories[category].name), expected })
      }
    }
  }
  if (tasks.includes("vqa")) {
    for (const { question, accepted, id } of image.questions) {
      asked.push({ task: "vqa", about: question, accepted, ...(id !== undefined && { id }) })
    }
  }
  if (tasks.includes("ocr") && image.text !== undefined) asked.push({ task: "ocr", about: null, expected: image.text })
  return asked
}

/** Categories that the picture lacks, by chance, but the same ones for a picture of the same id. */
function absentFrom({ id }: DatasetImage, categories: number, present: readonly number[], count: number): number[] {
  const there = new Set(present)
  const absent = Array.from({ length: categories }, (_, i) => i).filter((category) => !there.has(category))
  let state = 0x811c9dc5
  for (const character of String(id)) state = Math.imul(state ^ character.charCodeAt(0), 0x01000193)
  const chosen: number[] = []
  while (chosen.length < count && absent.length > 0) {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9
    chosen.push(...absent.splice((state >>> 0) % absent.length, 1))
  }
  return chosen
}
