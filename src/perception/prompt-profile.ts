/**
 * How a checkpoint wants to be asked: where the hint stands, how turns are cut, and the wording of the ready-made calls.
 *
 * A checkpoint brings its own profile as `isaac_vlm.prompt_profile` in `prompt_profile.json` beside its config.json
 * (or in config.json itself); what that leaves out, and every checkpoint without one, is as Perceptron published it.
 *
 *   { "isaac_vlm": { "prompt_profile": { "name": "mine", "hintRole": "user", "prompts": { "ocr": { "question": "Read." } } } } }
 */

// The small one makes no functions from text, which pages with a strict content security policy forbid.
import * as z from "zod/mini"
import english from "zod/v4/locales/en.js"
import { IsaacError } from "../errors"
import type { Message, Part } from "../processor/messages"

/** File of a checkpoint folder that may hold a profile. */
export const PROMPT_PROFILE_FILE = "prompt_profile.json"

/** What the model is asked to answer with. THINK and FOCUS are known to Isaac 0.2 only. */
export const HINTS = ["BOX", "POINT", "POLYGON", "THINK", "FOCUS"] as const
export type Hint = (typeof HINTS)[number]

/** Names of the ready-made prompts. `{categories}` and `{objects}` in their texts are filled in by the call. */
export const PROMPT_NAMES = [
  "caption",
  "captionDetailed",
  "ocr",
  "ocrMarkdown",
  "ocrHtml",
  "detect",
  "detectCategories",
  "count",
  "point",
] as const
export type PromptName = (typeof PROMPT_NAMES)[number]

/** One ready-made prompt. Without a question the images alone are the user's turn. */
export interface PromptText {
  readonly system?: string
  readonly question?: string
  readonly hints: readonly Hint[]
}

export interface PromptProfile {
  readonly name: string
  /** Who says `<hint>BOX</hint>`: Perceptron's documentation has the system say it, the 0.1 demo the user. */
  readonly hintRole: "system" | "user"
  /** separate: each image and the question are turns of their own; joined: one turn, `<image>QUESTION`. */
  readonly turns: "separate" | "joined"
  /** Several classes to detect: named in one question, or asked for one after another. */
  readonly classes: "together" | "separate"
  readonly prompts: Readonly<Record<PromptName, PromptText>>
}

const OCR_SYSTEM =
  "You are an OCR (Optical Character Recognition) system. " +
  "Accurately detect, extract, and transcribe all readable text from the image."

/** What the published checkpoints were tuned on. */
export const PUBLISHED_PROFILE: PromptProfile = {
  name: "published",
  hintRole: "system",
  turns: "separate",
  classes: "together",
  prompts: {
    caption: {
      question: "Provide a concise, human-friendly caption for the upcoming image.",
      hints: ["BOX"],
    },
    captionDetailed: {
      question: "Provide a detailed caption describing key objects, relationships, and context in the upcoming image.",
      hints: ["BOX"],
    },
    ocr: { system: OCR_SYSTEM, hints: [] },
    ocrMarkdown: {
      system: OCR_SYSTEM,
      question:
        "Transcribe every readable word in the image using Markdown formatting with headings, lists, tables, " +
        "and other structural elements as appropriate.",
      hints: [],
    },
    ocrHtml: {
      system: OCR_SYSTEM,
      question: "Transcribe every readable word in the image using HTML markup.",
      hints: [],
    },
    detect: { system: "Your goal is to segment out the objects in the scene", hints: ["BOX"] },
    detectCategories: {
      system: "Your goal is to segment out the following categories: {categories}",
      hints: ["BOX"],
    },
    count: { question: "How many {objects} are there? Point to each.", hints: ["POINT"] },
    point: { question: "Point to {objects}.", hints: ["POINT"] },
  },
}

const promptSchema = z.strictObject({
  system: z.optional(z.string()),
  question: z.optional(z.string()),
  hints: z._default(z.array(z.enum(HINTS)), []),
})

const profileSchema = z.strictObject({
  name: z.string().check(z.minLength(1)),
  hintRole: z.optional(z.enum(["system", "user"])),
  turns: z.optional(z.enum(["separate", "joined"])),
  classes: z.optional(z.enum(["together", "separate"])),
  prompts: z.optional(z.partialRecord(z.enum(PROMPT_NAMES), promptSchema)),
})

/**
 * The profile of a checkpoint: the first of its JSON files that has `isaac_vlm.prompt_profile`, over the published one.
 * A prompt that the file names replaces the published prompt whole.
 *
 * @throws IsaacError `bad_config` for a profile with unknown or wrongly typed entries
 */
export function promptProfileOf(
  ...documents: readonly (Readonly<Record<string, unknown>> | undefined)[]
): PromptProfile {
  for (const document of documents) {
    const entry = (document?.isaac_vlm as { prompt_profile?: unknown } | null | undefined)?.prompt_profile
    if (entry === undefined) continue
    const parsed = profileSchema.safeParse(entry, { error: english().localeError })
    if (!parsed.success) {
      throw new IsaacError(
        "bad_config",
        `isaac_vlm.prompt_profile of the checkpoint:\n${z.prettifyError(parsed.error)}`,
      )
    }
    const { name, hintRole, turns, classes, prompts } = parsed.data
    return {
      name,
      hintRole: hintRole ?? PUBLISHED_PROFILE.hintRole,
      turns: turns ?? PUBLISHED_PROFILE.turns,
      classes: classes ?? PUBLISHED_PROFILE.classes,
      prompts: { ...PUBLISHED_PROFILE.prompts, ...prompts },
    }
  }
  return PUBLISHED_PROFILE
}

/**
 * A ready-made prompt with its blanks filled: `readyPrompt(profile, "count", { objects: "red circles" })`.
 *
 * @throws IsaacError `bad_input` when a blank of the prompt is not given
 */
export function readyPrompt(
  profile: PromptProfile,
  name: PromptName,
  blanks: { readonly categories?: readonly string[]; readonly objects?: string } = {},
): PromptText {
  const values = { categories: blanks.categories?.join(", "), objects: blanks.objects }
  const fill = (text: string | undefined) =>
    text?.replace(/\{(categories|objects)\}/g, (_, blank: keyof typeof values) => {
      const value = values[blank]
      if (value) return value
      throw new IsaacError("bad_input", `the prompt "${name}" (${text}) needs ${blank}; none were given`)
    })
  const { system, question, hints } = profile.prompts[name]
  return { system: fill(system), question: fill(question), hints }
}

/** An answered example that comes before the question: its picture, and the tags the model should have given. */
export interface Example {
  readonly question?: string
  /** Serialised tags, or any text. */
  readonly answer: string
}

export interface Prompt {
  readonly question?: string
  /** Number of images. They are shown in their order, the examples' first. */
  readonly images: number
  readonly hints?: readonly Hint[]
  /** Instructions from the system, before the hint; each a turn of its own. */
  readonly system?: readonly string[]
  /** One image each. */
  readonly examples?: readonly Example[]
}

/**
 * The conversation for a prompt, in the layout of the profile:
 * instruction, hint, examples (image, question, answer), images, question.
 *
 * @throws IsaacError `bad_input` for a prompt without images and question, or with fewer images than examples
 */
export function buildMessages(profile: PromptProfile, prompt: Prompt): Message[] {
  const { question = "", images, hints = [], system = [], examples = [] } = prompt
  if (!Number.isInteger(images) || images < examples.length) {
    throw new IsaacError("bad_input", `${examples.length} examples need an image each; ${images} images were given`)
  }
  if (images === examples.length && question === "") {
    throw new IsaacError("bad_input", "there is nothing to ask: give an image, a question or both")
  }
  const messages: Message[] = instructions(profile, system, hints)
  messages.push(...exampleTurns(profile, examples))
  const targets = Array.from({ length: images - examples.length }, (_, i) => examples.length + i)
  messages.push(...userTurns(profile, targets, question))
  return messages
}

/** Image, question and answer of each example. */
export function exampleTurns(profile: PromptProfile, examples: readonly Example[]): Message[] {
  return examples.flatMap(({ question = "", answer }, image) => [
    ...userTurns(profile, [image], question),
    { role: "assistant", content: answer } as const,
  ])
}

/** The turns before everything else: what the system says, then the hint by whom the profile names. */
export function instructions(profile: PromptProfile, system: readonly string[], hints: readonly Hint[]): Message[] {
  const messages: Message[] = system.filter(Boolean).map((content) => ({ role: "system", content }))
  if (hints.length > 0) messages.push({ role: profile.hintRole, content: hintTag(hints) })
  return messages
}

/** Several hints share one tag, sorted. */
function hintTag(hints: readonly Hint[]): string {
  return `<hint>${[...new Set(hints)].sort().join(" ")}</hint>`
}

function userTurns({ turns }: PromptProfile, images: readonly number[], question: string): Message[] {
  const parts: Part[] = images.map((image) => ({ type: "image", image }))
  if (question !== "") parts.push({ type: "text", text: question })
  if (turns === "joined") return [{ role: "user", content: parts }]
  return parts.map((part) => ({ role: "user", content: part.type === "text" ? part.text : [part] }))
}
