import { describe, expect, it } from "vitest"
import type { Message } from "../processor/messages"
import { HINTS, PROMPT_NAMES, PUBLISHED_PROFILE } from "./prompt-profile"
import { parse } from "./tags"
import { countOf, type Task, type TaskOptions, taskGuide, taskMessages, wordsOf } from "./tasks"

/** One turn a line: `user: <image>What?` */
function written(messages: readonly Message[]): string[] {
  return messages.map(({ role, content }) => {
    const parts = typeof content === "string" ? [{ type: "text", text: content } as const] : content
    return `${role}: ${parts.map((part) => (part.type === "image" ? `<image ${part.image}>` : part.text)).join("")}`
  })
}

const ask = (task: Task, options?: TaskOptions, images = 1) =>
  written(taskMessages(PUBLISHED_PROFILE, task, { images }, options))
const { prompts } = PUBLISHED_PROFILE

describe("a task", () => {
  it("is put in the words that the weights were tuned on", () => {
    const box = "system: <hint>BOX</hint>"
    expect(ask({ task: "ask", question: "What is this?" })).toEqual(["user: <image 0>", "user: What is this?"])
    expect(ask({ task: "caption" })).toEqual([box, "user: <image 0>", `user: ${prompts.caption.question}`])
    expect(ask({ task: "caption", style: "detailed" }).at(-1)).toBe(`user: ${prompts.captionDetailed.question}`)
    expect(ask({ task: "detect" })).toEqual([`system: ${prompts.detect.system}`, box, "user: <image 0>"])
    expect(ask({ task: "detect", classes: ["cat", "dog"] })).toEqual([
      "system: Your goal is to segment out the following categories: cat, dog",
      box,
      "user: <image 0>",
    ])
    expect(ask({ task: "ocr" })).toEqual([`system: ${prompts.ocr.system}`, "user: <image 0>"])
    expect(ask({ task: "ocr", format: "markdown" }).at(-1)).toBe(`user: ${prompts.ocrMarkdown.question}`)
    expect(ask({ task: "ocr", format: "html" }).at(-1)).toBe(`user: ${prompts.ocrHtml.question}`)
    expect(ask({ task: "count", objects: "dogs" })).toEqual([
      "system: <hint>POINT</hint>",
      "user: <image 0>",
      "user: How many dogs are there? Point to each.",
    ])
    expect(ask({ task: "point", objects: "the door" }).at(-1)).toBe("user: Point to the door.")
  })

  it("points with what is expected instead, and thinks or looks closer when told", () => {
    expect(ask({ task: "detect" }, { expect: "polygon" })[1]).toBe("system: <hint>POLYGON</hint>")
    expect(ask({ task: "caption" }, { expect: "text" })[0]).toBe("user: <image 0>")
    expect(ask({ task: "caption" }, { reasoning: true, focus: true, hintRole: "user" })[0]).toBe(
      "user: <hint>BOX FOCUS THINK</hint>",
    )
  })

  it("follows the caller's own instruction", () => {
    expect(ask({ task: "ocr" }, { system: "Be quick." }).slice(0, 2)).toEqual([
      "system: Be quick.",
      `system: ${prompts.ocr.system}`,
    ])
  })

  it("comes after examples, with a picture each", () => {
    const examples = [{ answer: "A" }, { question: "And here?", answer: "B" }]
    const turns = ["user: <image 0>", "assistant: A", "user: <image 1>", "user: And here?", "assistant: B"]
    const { detect } = prompts
    expect(written(taskMessages(PUBLISHED_PROFILE, { task: "detect" }, { images: 3, examples }))).toEqual([
      `system: ${detect.system}`,
      "system: <hint>BOX</hint>",
      ...turns,
      "user: <image 2>",
    ])
    const messages: Message[] = [{ role: "user", content: [{ type: "image", image: 0 }] }]
    expect(written(taskMessages(PUBLISHED_PROFILE, { task: "messages", messages }, { images: 3, examples }))).toEqual([
      ...turns,
      "user: <image 2>",
    ])
  })

  it("is refused with a reason when it makes no sense", () => {
    const wrong: [Task, TaskOptions?, number?][] = [
      [{ task: "sing" } as unknown as Task],
      [{ task: "caption", style: "rhymed" as "concise" }],
      [{ task: "ocr", format: "pdf" as "html" }],
      [{ task: "ocr", format: "constructor" as "html" }],
      [{ task: "detect", classes: [] }],
      [{ task: "detect", classes: "cat" as unknown as string[] }],
      [{ task: "detect", classes: ["cat", " "] }],
      [{ task: "count", objects: "" }],
      [{ task: "point", objects: 5 as unknown as string }],
      [{ task: "ask", question: undefined as unknown as string }],
      [{ task: "caption" }, {}, 0],
      [{ task: "ask", question: "" }, {}, 0],
      [{ task: "caption" }, { expect: "mask" as "box" }],
      [{ task: "caption" }, { hintRole: "assistant" as "user" }],
      [{ task: "caption" }, { system: 5 as unknown as string }],
    ]
    for (const [task, options, images] of wrong) {
      expect(() => ask(task, options, images), JSON.stringify([task, options])).toThrow(
        expect.objectContaining({ code: "bad_input" }),
      )
    }
  })
})

describe("guided", () => {
  const guide = (task: Task, options: Parameters<typeof taskGuide>[2]) => taskGuide(PUBLISHED_PROFILE, task, options)

  it("means the kind and the classes that are asked for", () => {
    expect(guide({ task: "detect", classes: ["cat"] }, { guided: true })).toEqual({ kinds: ["box"], classes: ["cat"] })
    expect(guide({ task: "detect" }, { guided: true, expect: "polygon" })).toEqual({ kinds: ["polygon"] })
    expect(guide({ task: "count", objects: "cats" }, { guided: true, reasoning: true })).toEqual({ kinds: ["point"] })
    expect(guide({ task: "ask", question: "Where?" }, { guided: true, expect: "point" })).toEqual({ kinds: ["point"] })
    expect(guide({ task: "ask", question: "Where?" }, { guided: true })).toEqual({})
    expect(guide({ task: "caption" }, { guided: true, expect: "text" })).toEqual({})
    const messages: Message[] = [{ role: "user", content: "Where?" }]
    expect(guide({ task: "messages", messages }, { guided: true, expect: "box" })).toEqual({ kinds: ["box"] })
  })

  it("in detail stays as it is", () => {
    const guided = { classes: ["dog"], text: false }
    expect(guide({ task: "detect", classes: ["cat"] }, { guided })).toBe(guided)
    expect(guide({ task: "detect", classes: ["cat"] }, { guided: false })).toBe(false)
    expect(guide({ task: "detect", classes: ["cat"] }, {})).toBeUndefined()
  })
})

describe("countOf", () => {
  it.each<[string, number | null]>([
    ["2 <point> (1,2) </point> <point> (3,4) </point> <point> (3,4) </point>", 3],
    ["There are 12 dogs.", 12],
    ["Three cats and 4 dogs.", 3],
    ["None.", 0],
    ["There are no dogs.", 0],
    ["Nothing to see.", 0],
    ["About 3.5 m", null],
    ["In 1,000 words", null],
    ["Nobody knows", null],
    ["", null],
    ["<point> (1,2) </point>", 1],
    ["twenty", 20],
  ])("of %j is %j", (text, count) => {
    expect(countOf(text, parse(text).leaves)).toBe(count)
  })
})

describe("wordsOf", () => {
  it.each([
    ['A <point_box mention="red cat"> (1,2) (3,4) </point_box>, on a mat.', "A red cat, on a mat."],
    ['A red cat <point_box mention="Red cat"> (1,2) (3,4) </point_box> sleeps .', "A red cat sleeps."],
    ["A cat\n <point> (1,2) </point> sleeps", "A cat sleeps"],
    ['Two <collection mention="cats"> <point> (1,2) </point> <point> (3,4) </point> </collection>', "Two cats"],
    ["<point> (1,2", "<point> (1,2"],
    ["", ""],
  ])("of %j", (text, words) => {
    expect(wordsOf(text)).toBe(words)
  })
})

it("has a prompt of every name, with hints that there are", () => {
  expect(Object.keys(prompts).sort()).toEqual([...PROMPT_NAMES].sort())
  for (const { hints } of Object.values(prompts)) for (const hint of hints) expect(HINTS).toContain(hint)
})
