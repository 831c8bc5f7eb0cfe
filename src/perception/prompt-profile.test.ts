import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"
import type { Message } from "../processor/messages"
import { buildMessages, type Hint, PUBLISHED_PROFILE, promptProfileOf, readyPrompt } from "./prompt-profile"

const tiny = (file: string) => {
  const path = fileURLToPath(new URL(`../../models/isaac-tiny/${file}`, import.meta.url))
  return JSON.parse(readFileSync(path, "utf8"))
}

/** ChatML as plain text, images as their slot. */
function render(messages: readonly Message[]): string {
  const turns = messages.map(({ role, content }) => {
    const text =
      typeof content === "string"
        ? content
        : content.map((part) => (part.type === "image" ? "<image>" : part.text)).join("")
    return `<|im_start|>${role}\n${text}<|im_end|>\n`
  })
  return `${turns.join("")}<|im_start|>assistant\n`
}

/** The images of a conversation, in the order in which they are shown. */
const imagesOf = (messages: readonly Message[]) =>
  messages.flatMap(({ content }) =>
    typeof content === "string" ? [] : content.flatMap((part) => (part.type === "image" ? [part.image] : [])),
  )

const TINY = promptProfileOf(tiny("prompt_profile.json"))
const turn = (role: string, text: string) => `<|im_start|>${role}\n${text}<|im_end|>\n`
const ASSISTANT = "<|im_start|>assistant\n"

describe("isaac-tiny's profile", () => {
  const samples: { image: string; hint: Hint | null; question: string; prompt: string }[] = tiny("samples/samples.json")

  it.each(samples)("renders the prompt of $image", ({ hint, question, prompt }) => {
    expect(render(buildMessages(TINY, { question, images: 1, hints: hint ? [hint] : [] }))).toBe(prompt)
  })

  it("asks as it was trained", () => {
    const ask = (...args: Parameters<typeof readyPrompt> extends [unknown, ...infer Rest] ? Rest : never) =>
      readyPrompt(TINY, ...args)
    expect(ask("caption")).toEqual({ question: "Describe the image.", hints: [] })
    expect(ask("ocr")).toEqual({ question: "Read the text.", hints: [] })
    expect(ask("detect")).toEqual({ question: "Detect everything.", hints: ["BOX"] })
    expect(ask("detectCategories", { categories: ["red circles"] }).question).toBe("Find all red circles.")
    expect(ask("count", { objects: "stars" })).toEqual({ question: "How many stars are there?", hints: ["POINT"] })
  })
})

describe("the published profile", () => {
  const build = (prompt: Parameters<typeof buildMessages>[1], turns: "separate" | "joined" = "separate") =>
    buildMessages({ ...PUBLISHED_PROFILE, turns }, prompt)

  it("is the default", () => {
    expect(promptProfileOf()).toBe(PUBLISHED_PROFILE)
    expect(promptProfileOf(undefined, tiny("config.json"), { isaac_vlm: {} })).toBe(PUBLISHED_PROFILE)
  })

  it("puts the hint first, then each image and the question in turns of their own", () => {
    const messages = build({ question: "QUESTION", images: 1, hints: ["BOX"] })
    expect(render(messages)).toBe(
      "<|im_start|>system\n<hint>BOX</hint><|im_end|>\n<|im_start|>user\n<image><|im_end|>\n" +
        "<|im_start|>user\nQUESTION<|im_end|>\n<|im_start|>assistant\n",
    )
    const several = build({ question: "Compare.", images: 3 })
    expect(render(several)).toBe(turn("user", "<image>").repeat(3) + turn("user", "Compare.") + ASSISTANT)
    expect(imagesOf(several)).toEqual([0, 1, 2])
  })

  it("joins the turns where the profile says so", () => {
    const messages = build({ question: "Compare.", images: 2, hints: ["POINT"] }, "joined")
    expect(render(messages)).toBe(
      turn("system", "<hint>POINT</hint>") + turn("user", "<image><image>Compare.") + ASSISTANT,
    )
  })

  it("sorts several hints into one tag", () => {
    const [first] = build({ question: "x", images: 0, hints: ["THINK", "BOX", "THINK", "FOCUS"] })
    expect(first).toEqual({ role: "system", content: "<hint>BOX FOCUS THINK</hint>" })
  })

  it("detects with an instruction beside the hint and the image alone", () => {
    const { system, question, hints } = readyPrompt(PUBLISHED_PROFILE, "detectCategories", {
      categories: ["cat", "dog"],
    })
    expect(question).toBeUndefined()
    expect(render(build({ system: [system ?? ""], question, hints, images: 1 }))).toBe(
      turn("system", "Your goal is to segment out the following categories: cat, dog") +
        turn("system", "<hint>BOX</hint>") +
        turn("user", "<image>") +
        ASSISTANT,
    )
  })

  it("shows examples with their images first", () => {
    const answer = '<point_box mention="cat"> (1,2) (3,4) </point_box>'
    const messages = build({
      images: 3,
      hints: ["BOX"],
      examples: [{ answer }, { question: "Which?", answer: "none" }],
    })
    expect(render(messages)).toBe(
      turn("system", "<hint>BOX</hint>") +
        turn("user", "<image>") +
        turn("assistant", answer) +
        turn("user", "<image>") +
        turn("user", "Which?") +
        turn("assistant", "none") +
        turn("user", "<image>") +
        ASSISTANT,
    )
    expect(imagesOf(messages)).toEqual([0, 1, 2])
  })

  it("has the prompts that the weights were tuned on", () => {
    expect(PUBLISHED_PROFILE.prompts).toMatchObject({
      caption: { question: "Provide a concise, human-friendly caption for the upcoming image.", hints: ["BOX"] },
      ocr: {
        system:
          "You are an OCR (Optical Character Recognition) system. Accurately detect, extract, and transcribe all readable text from the image.",
      },
      ocrMarkdown: {
        question:
          "Transcribe every readable word in the image using Markdown formatting with headings, lists, tables, and other structural elements as appropriate.",
      },
      detect: { system: "Your goal is to segment out the objects in the scene", hints: ["BOX"] },
      count: { question: "How many {objects} are there? Point to each.", hints: ["POINT"] },
    })
  })
})

describe("bad input", () => {
  it("is refused with a reason", () => {
    const refused = (code: string) => expect.objectContaining({ code })
    expect(() => buildMessages(TINY, { images: 0 })).toThrow(refused("bad_input"))
    expect(() => buildMessages(TINY, { images: 1, examples: [{ answer: "a" }] })).toThrow(refused("bad_input"))
    expect(() => buildMessages(TINY, { images: 0, question: "x", examples: [{ answer: "a" }] })).toThrow(
      refused("bad_input"),
    )
    expect(() => readyPrompt(TINY, "count")).toThrow(refused("bad_input"))
    expect(() => readyPrompt(TINY, "detectCategories", { categories: [] })).toThrow(refused("bad_input"))
    const profile = (prompt_profile: unknown) => () => promptProfileOf({ isaac_vlm: { prompt_profile } })
    expect(profile({ name: "a", hintRole: "assistant" })).toThrow(refused("bad_config"))
    expect(profile({ name: "a", prompts: { sing: {} } })).toThrow(refused("bad_config"))
    expect(profile("tiny")).toThrow(refused("bad_config"))
    // In words, with the place.
    expect(profile({ name: "a", turns: "both" })).toThrow(/expected one of "separate"\|"joined"\s+→ at turns/)
    expect(profile({ name: "a", prompts: { ocr: { question: "Read." } } })()).toMatchObject({
      hintRole: "system",
      prompts: { ocr: { question: "Read.", hints: [] }, count: PUBLISHED_PROFILE.prompts.count },
    })
  })
})
