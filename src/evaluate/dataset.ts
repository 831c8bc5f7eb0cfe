/**
 * Pictures with what is true about them, from JSON in the format of COCO (https://cocodataset.org/#format-data):
 *
 *   { "images":      [{ "id": 1, "file_name": "1.png", "width": 640, "height": 480 }, …],
 *     "categories":  [{ "id": 1, "name": "cat" }, …],
 *     "annotations": [{ "image_id": 1, "category_id": 1, "bbox": [x, y, width, height], "segmentation": …, "area": …,
 *                       "iscrowd": 0 }, …] }
 *
 * and three more kinds of annotation, for questions, counts and text:
 *
 *   { "image_id": 1, "question": "What color is it?", "answer": "red" }      or "answers": ["red", "dark red"]
 *   { "image_id": 1, "objects": "cats", "count": 2 }
 *   { "image_id": 1, "text": "STOP" }
 *
 * The questions and annotations of VQA v2 (two files, joined by question_id) are read too. Captions are left out.
 */

import * as z from "zod/mini"
import english from "zod/v4/locales/en.js"
import { IsaacError, plainText, shown } from "../errors"
import { type Box, boxArea } from "./boxes"
import type { Key } from "./detection"
import { maskOf, type Segmentation } from "./mask"

export interface DatasetObject {
  /** Index into the dataset's categories. */
  readonly category: number
  readonly box: Box
  readonly segmentation?: Segmentation
  /** Square pixels. */
  readonly area: number
  readonly crowd: boolean
}

export interface DatasetQuestion {
  readonly id?: Key
  readonly question: string
  /** One or more answers that are right; of VQA v2 those of ten people. */
  readonly accepted: readonly string[]
}

export interface DatasetCount {
  /** In the plural: what "How many … are there?" asks for. */
  readonly objects: string
  readonly count: number
}

export interface DatasetImage {
  readonly id: Key
  /** Name of its file, in the folder of pictures. */
  readonly file: string
  readonly objects: readonly DatasetObject[]
  readonly questions: readonly DatasetQuestion[]
  readonly counts: readonly DatasetCount[]
  /** All text that can be read in it; undefined where nobody wrote it down. */
  readonly text?: string
}

export interface Dataset {
  readonly categories: readonly { readonly id: Key; readonly name: string }[]
  readonly images: readonly DatasetImage[]
}

const id = z.union([z.number(), z.string()])
const count = z.int().check(z.nonnegative())
const length = z.number().check(z.nonnegative())

const imageSchema = z.looseObject({
  id,
  file_name: z.string().check(z.minLength(1)),
  width: z.optional(count),
  height: z.optional(count),
})
const segmentationSchema = z.union([
  z.array(z.array(z.number())),
  z.object({ size: z.tuple([count, count]), counts: z.union([z.array(z.number()), z.string()]) }),
])
const annotationSchema = z.looseObject({
  image_id: z.optional(id),
  category_id: z.optional(id),
  bbox: z.optional(z.tuple([z.number(), z.number(), length, length])),
  segmentation: z.optional(segmentationSchema),
  area: z.optional(length),
  iscrowd: z.optional(z.union([z.literal(0), z.literal(1), z.boolean()])),
  question: z.optional(z.string()),
  question_id: z.optional(id),
  answer: z.optional(z.string()),
  answers: z.optional(z.array(z.union([z.string(), z.looseObject({ answer: z.string() })])).check(z.minLength(1))),
  objects: z.optional(z.string()),
  count: z.optional(count),
  text: z.optional(z.string()),
})
const documentSchema = z.looseObject({
  images: z.optional(z.array(imageSchema)),
  categories: z.optional(z.array(z.looseObject({ id, name: z.string().check(z.minLength(1)) }))),
  annotations: z.optional(z.array(annotationSchema)),
  questions: z.optional(z.array(z.looseObject({ image_id: id, question: z.string(), question_id: id }))),
  data_subtype: z.optional(z.string()),
})
type Document = z.infer<typeof documentSchema>
type Annotation = z.infer<typeof annotationSchema>

/** Problems that a message lists. */
const TOLD = 5
/** Pixels by which a box may stand out of its picture: people round. */
const OUTSIDE = 1

/** A file of a dataset, parsed as JSON. */
export interface DatasetFile {
  readonly name: string
  readonly value: unknown
}

/**
 * One dataset from one or more files: their lists are joined, images and categories by their id.
 *
 * Throws bad_input for what does not fit together, with the place and the numbers.
 */
export function readDataset(files: readonly DatasetFile[]): Dataset {
  const documents = files.map(({ name, value }) => ({ name: plainText(name), ...checked(name, value) }))
  const categories = new Map<Key, { index: number; name: string }>()
  for (const { name: file, categories: list = [] } of documents) {
    for (const { id, name } of list) {
      const known = categories.get(id)
      if (known && known.name !== name) {
        throw bad(file, `two categories have the id ${shown(id)}: ${shown(known.name)} and ${shown(name)}`)
      }
      if (!known) categories.set(id, { index: categories.size, name })
    }
  }
  const images = imagesOf(documents)
  const questions = new Map(
    documents.flatMap(({ questions = [] }) => questions.map((q) => [q.question_id, q] as const)),
  )
  for (const { name, annotations = [] } of documents) {
    for (const [i, annotation] of annotations.entries()) {
      const what = `annotation ${i + 1} of ${annotations.length}`
      const asked = annotation.question_id === undefined ? undefined : questions.get(annotation.question_id)
      const imageId = annotation.image_id ?? asked?.image_id
      const image = imageId === undefined ? undefined : images.get(imageId)
      if (!image)
        throw bad(name, `${what} is of the image ${shown(imageId)}, which is not among the ${images.size} images`)
      const problem = addTo(image, { ...annotation, question: annotation.question ?? asked?.question }, categories)
      if (problem) throw bad(name, `${what}, of the image ${shown(image.file)}, ${problem}`)
    }
  }
  return {
    categories: [...categories].map(([id, { name }]) => ({ id, name })),
    images: [...images.values()].map(({ id, file, objects, questions, counts, texts }) => ({
      ...{ id, file, objects, questions, counts },
      ...(texts.length > 0 && { text: texts.join("\n") }),
    })),
  }
}

interface GrowingImage {
  readonly id: Key
  readonly file: string
  readonly width?: number
  readonly height?: number
  readonly objects: DatasetObject[]
  readonly questions: DatasetQuestion[]
  readonly counts: DatasetCount[]
  readonly texts: string[]
}

type NamedDocument = Document & { readonly name: string }

function imagesOf(documents: readonly NamedDocument[]): Map<Key, GrowingImage> {
  const images = new Map<Key, GrowingImage>()
  const files = new Map<string, Key>()
  const add = (name: string, id: Key, file: string, size: { width?: number; height?: number } = {}) => {
    const other = images.get(id)
    if (other && other.file !== file) {
      throw bad(name, `two images have the id ${shown(id)}: ${shown(other.file)} and ${shown(file)}`)
    }
    if (other) return
    if (files.has(file)) {
      throw bad(name, `the images ${shown(files.get(file))} and ${shown(id)} have the same file_name, ${shown(file)}`)
    }
    files.set(file, id)
    images.set(id, { ...{ id, file, ...size }, objects: [], questions: [], counts: [], texts: [] })
  }
  for (const { name, images: list = [] } of documents) {
    for (const { id, file_name, width, height } of list) add(name, id, file_name, { width, height })
  }
  // VQA v2 names no files: its images are COCO's.
  for (const { name, questions = [], data_subtype: subtype } of documents) {
    if (subtype === undefined) continue
    for (const { image_id: id } of questions) {
      if (!images.has(id)) add(name, id, `COCO_${subtype}_${String(id).padStart(12, "0")}.jpg`)
    }
  }
  if (images.size === 0) throw bad(documents[0]?.name ?? "the dataset", "there are no images")
  return images
}

/** Adds what an annotation says to its image; what is wrong with it. */
function addTo(
  image: GrowingImage,
  annotation: Annotation,
  categories: ReadonlyMap<Key, { readonly index: number }>,
): string | undefined {
  const { question, question_id: id, answer, answers, objects, count, text, bbox } = annotation
  if (question !== undefined || answer !== undefined || answers !== undefined) {
    const accepted =
      answers?.map((one) => (typeof one === "string" ? one : one.answer)) ?? (answer === undefined ? [] : [answer])
    if (question === undefined) return `has an answer and no question (question_id ${shown(id)})`
    if (accepted.length === 0) return `has the question ${shown(question)} and no answer`
    image.questions.push({ ...(id !== undefined && { id }), question, accepted })
    return undefined
  }
  if (objects !== undefined || count !== undefined) {
    if (objects === undefined || count === undefined) return "needs both, objects and count"
    image.counts.push({ objects, count })
    return undefined
  }
  if (text !== undefined) {
    image.texts.push(text)
    return undefined
  }
  if ("caption" in annotation) return undefined
  if (bbox === undefined) return "has no bbox, no question, no count and no text"
  const category = annotation.category_id === undefined ? undefined : categories.get(annotation.category_id)
  if (!category) {
    return `has the category ${shown(annotation.category_id)}, which is not among the ${categories.size} categories`
  }
  const problem = outsideOf(image, bbox) ?? brokenMask(image, annotation.segmentation)
  if (problem) return problem
  image.objects.push({
    category: category.index,
    box: bbox,
    ...(annotation.segmentation && { segmentation: annotation.segmentation }),
    area: annotation.area ?? boxArea(bbox),
    crowd: Boolean(annotation.iscrowd),
  })
  return undefined
}

function outsideOf({ width, height }: GrowingImage, [x, y, w, h]: Box): string | undefined {
  if (width === undefined || height === undefined) return undefined
  if (x >= -OUTSIDE && y >= -OUTSIDE && x + w <= width + OUTSIDE && y + h <= height + OUTSIDE) return undefined
  return `has a bbox outside of it: [${[x, y, w, h].join(", ")}] reaches from (${x}, ${y}) to (${x + w}, ${y + h}) in ${width}×${height} pixels`
}

function brokenMask({ width, height }: GrowingImage, segmentation: Segmentation | undefined): string | undefined {
  if (!segmentation) return undefined
  if ("counts" in segmentation) {
    const [h, w] = segmentation.size
    if ((width !== undefined && w !== width) || (height !== undefined && h !== height)) {
      return `has a mask of ${w}×${h} pixels, the image has ${width}×${height}`
    }
    try {
      maskOf(segmentation)
    } catch (error) {
      return `cannot be read: ${(error as Error).message}`
    }
    return undefined
  }
  const odd = segmentation.find((polygon) => polygon.length % 2 === 1 || polygon.length < 6)
  return odd && `has a polygon of ${odd.length} numbers; it takes x and y of three corners or more`
}

function checked(name: string, value: unknown): Document {
  const parsed = documentSchema.safeParse(value, { error: english().localeError })
  if (parsed.success) return parsed.data
  const { issues } = parsed.error
  const told = issues.slice(0, TOLD).map(({ path, message }) => {
    const place = path.reduce<string>(
      (text, key) => (typeof key === "number" ? `${text}[${key}]` : `${text}.${String(key)}`),
      "",
    )
    const found = path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown> | undefined)?.[key], value)
    return `${place.replace(/^\./, "") || "the file"} is ${shown(found)}: ${message}`
  })
  const more = issues.length > TOLD ? `; and ${issues.length - TOLD} more` : ""
  throw bad(plainText(name), told.join("; ") + more)
}

function bad(file: string, problem: string): IsaacError {
  return new IsaacError("bad_input", `${file}: ${problem}`)
}
