/**
 * What people ask a vision-language model to do, as data, and how a checkpoint wants to be asked for it.
 *
 * The wording is the prompt profile's; what a caller chooses beside it (what to point with, instructions of their own,
 * examples) is the same for every task.
 */

import { IsaacError, shown } from "../errors"
import type { Message } from "../processor/messages"
import type { Leaf, LeafType } from "./pointing"
import {
  buildMessages,
  type Example,
  exampleTurns,
  type Hint,
  instructions,
  type PromptName,
  type PromptProfile,
  type PromptText,
  readyPrompt,
} from "./prompt-profile"
import type { GuidedOption } from "./tag-grammar"
import { parse } from "./tags"

/** What kind of answer is wanted: it becomes a <hint> in the prompt. "text" asks for none. */
export type Expect = "text" | "point" | "box" | "polygon"

export type CaptionStyle = "concise" | "detailed"
export type OcrFormat = "text" | "markdown" | "html"

export type Task =
  | { readonly task: "ask"; readonly question: string }
  | { readonly task: "caption"; readonly style?: CaptionStyle }
  /** Without classes: everything. */
  | { readonly task: "detect"; readonly classes?: readonly string[] }
  | { readonly task: "ocr"; readonly format?: OcrFormat }
  | { readonly task: "count"; readonly objects: string }
  | { readonly task: "point"; readonly objects: string }
  /** A caller's own turns; their image parts count the images of this call. */
  | { readonly task: "messages"; readonly messages: readonly Message[] }

/** What every task may be given beside. */
export interface TaskOptions {
  /** What to point with. Default: what the prompt was written for. */
  readonly expect?: Expect
  /** An instruction that comes before everything else. */
  readonly system?: string
  /** Who says the hint. Default: the profile's. */
  readonly hintRole?: PromptProfile["hintRole"]
  /** Ask for thoughts before the answer: the hint THINK, which Isaac 0.2 knows. */
  readonly reasoning?: boolean
  /** Ask to look closer where that helps: the hint FOCUS, which Isaac 0.2 knows. */
  readonly focus?: boolean
}

const EXPECT_HINTS: Readonly<Record<Expect, readonly Hint[]>> = {
  text: [],
  point: ["POINT"],
  box: ["BOX"],
  polygon: ["POLYGON"],
}
const KIND_OF_HINT: Partial<Record<Hint, LeafType>> = { POINT: "point", BOX: "box", POLYGON: "polygon" }
const CAPTIONS: Readonly<Record<CaptionStyle, PromptName>> = { concise: "caption", detailed: "captionDetailed" }
const OCR: Readonly<Record<OcrFormat, PromptName>> = { text: "ocr", markdown: "ocrMarkdown", html: "ocrHtml" }

/**
 * The conversation that puts a task: instructions, hint, examples, images, question.
 *
 * @param images how many there are, the examples' included (they come first)
 * Throws bad_input for choices that there are not, and for a task that lacks what it is about.
 */
export function taskMessages(
  profile: PromptProfile,
  task: Task,
  { images, examples = [] }: { readonly images: number; readonly examples?: readonly Example[] },
  options: TaskOptions = {},
): Message[] {
  const { system, hintRole = profile.hintRole } = options
  if (system !== undefined && typeof system !== "string") {
    throw new IsaacError("bad_input", `system is a ${typeof system}; it must be a string`)
  }
  chosen("hintRole", hintRole, ["system", "user"])
  const asked = { ...profile, hintRole }
  if (task.task === "messages") {
    const before = exampleTurns(asked, examples)
    const own = task.messages.map((message) => shiftImages(message, examples.length))
    return [...instructions(asked, [system ?? ""], hintsOf([], options)), ...before, ...own]
  }
  if (images === examples.length && task.task !== "ask") {
    throw new IsaacError("bad_input", `${task.task} needs a picture; none was given`)
  }
  const text = promptText(profile, task)
  return buildMessages(asked, {
    question: text.question,
    images,
    examples,
    system: [system ?? "", text.system ?? ""],
    hints: hintsOf(text.hints, options),
  })
}

/** The words of a task, with its blanks filled. */
function promptText(profile: PromptProfile, task: Exclude<Task, { task: "messages" }>): PromptText {
  switch (task.task) {
    case "ask":
      return { question: words("the question", task.question, { mayBeEmpty: true }), hints: [] }
    case "caption":
      return readyPrompt(profile, chosen("style", task.style ?? "concise", CAPTIONS))
    case "detect": {
      const { classes } = task
      if (classes === undefined) return readyPrompt(profile, "detect")
      if (!Array.isArray(classes) || classes.length === 0) {
        throw new IsaacError(
          "bad_input",
          `classes is ${shown(classes)}; it must be an array of at least one name, or be left out to find everything`,
        )
      }
      const categories = classes.map((name, i) => words(`class ${i + 1} of ${classes.length}`, name))
      return readyPrompt(profile, "detectCategories", { categories })
    }
    case "ocr":
      return readyPrompt(profile, chosen("format", task.format ?? "text", OCR))
    case "count":
    case "point":
      return readyPrompt(profile, task.task, { objects: words("objects", task.objects) })
    default:
      throw new IsaacError("bad_input", `there is no task ${shown((task as { task?: unknown }).task)}`)
  }
}

/** What the prompt hints at, or what the caller wants instead; with the hints of Isaac 0.2. */
function hintsOf(usual: readonly Hint[], { expect, reasoning, focus }: TaskOptions): Hint[] {
  const hints = expect === undefined ? usual : chosen("expect", expect, EXPECT_HINTS)
  return [...hints, ...(reasoning ? (["THINK"] as const) : []), ...(focus ? (["FOCUS"] as const) : [])]
}

/**
 * `guided: true` of a task says more than well-formed tags: those of the kind that is hinted at, and of detected classes.
 * What a caller says in detail stays as it is.
 */
export function taskGuide(
  profile: PromptProfile,
  task: Task,
  { guided, ...options }: TaskOptions & { readonly guided?: GuidedOption },
): GuidedOption | undefined {
  if (guided !== true) return guided
  const usual = task.task === "messages" ? [] : promptText(profile, task).hints
  const kinds = hintsOf(usual, options).flatMap((hint) => KIND_OF_HINT[hint] ?? [])
  const classes = task.task === "detect" ? task.classes : undefined
  return { ...(kinds.length > 0 && { kinds }), ...(classes && { classes }) }
}

/** One of the choices that there are, or what it stands for. Throws bad_input, naming them. */
function chosen<V>(option: string, value: string, choices: Readonly<Record<string, V>>): V
function chosen(option: string, value: string, choices: readonly string[]): string
function chosen(option: string, value: string, choices: Readonly<Record<string, unknown>> | readonly string[]) {
  const names: readonly unknown[] = Array.isArray(choices) ? choices : Object.keys(choices)
  if (!names.includes(value)) {
    throw new IsaacError("bad_input", `${option} is ${shown(value)}; it must be ${names.join(", ")}`)
  }
  return Array.isArray(choices) ? value : (choices as Readonly<Record<string, unknown>>)[value]
}

function words(what: string, text: unknown, { mayBeEmpty = false } = {}): string {
  if (typeof text === "string" && (mayBeEmpty || text.trim() !== "")) return text
  throw new IsaacError("bad_input", `${what} is ${shown(text)}; it must be ${mayBeEmpty ? "a string" : "some words"}`)
}

/** The same message behind `count` other images. */
export function shiftImages(message: Message, count: number): Message {
  if (count === 0 || typeof message.content === "string") {
    return message
  }
  const content = message.content.map((part) => (part.type === "image" ? { ...part, image: part.image + count } : part))
  return { ...message, content }
}

/**
 * A text for people: each tag becomes what it mentions, unless those words stand before it already.
 * "A <point_box mention="cat"> … </point_box> sleeps." → "A cat sleeps."
 */
export function wordsOf(text: string): string {
  let words = ""
  for (const segment of parse(text).segments) {
    if (segment.type === "text") {
      words += segment.text
      continue
    }
    const { mention } = segment.tag
    if (mention && !words.trimEnd().toLowerCase().endsWith(mention.toLowerCase())) words += mention
  }
  return words
    .replace(/\s+/g, " ")
    .replace(/ (?=[.,;:!?](?:\s|$))/g, "")
    .trim()
}

const NUMBER_WORDS =
  "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty".split(
    " ",
  )

/**
 * How many an answer to "how many …?" says there are: what it points at, if it points; else the first number that it
 * writes, in digits or as a word; 0 for "no", "none" and "nothing"; null when it says none of these.
 */
export function countOf(text: string, points: readonly Leaf[]): number | null {
  if (points.length > 0) return points.length
  const pattern = new RegExp(`(?<![\\w.,])(\\d+|no|none|nothing|${NUMBER_WORDS.join("|")})(?!\\w|[.,]\\d)`, "i")
  const word = pattern.exec(text)?.[1].toLowerCase()
  if (word === undefined) return null
  if (/^\d/.test(word)) return Number(word)
  return Math.max(0, NUMBER_WORDS.indexOf(word))
}
