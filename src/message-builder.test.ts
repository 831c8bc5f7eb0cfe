import { describe, expect, it } from "vitest"
import {
  assistant,
  box,
  collection,
  image,
  messagesOf,
  type PromptNode,
  point,
  polygon,
  system,
  text,
  user,
} from "./message-builder"

describe("messagesOf", () => {
  it("makes turns of pieces", () => {
    const { messages, images } = messagesOf([
      system("Be brief."),
      image("a.png"),
      text("What is "),
      box(100, 200, 300, 400, { mention: "it" }),
      "?",
      assistant("A cat ", point(5, 6), "."),
      user("And here?"),
      user(image("b.png"), "Or here?"),
      "Well?",
    ])
    expect(images).toEqual(["a.png", "b.png"])
    expect(messages).toEqual([
      { role: "system", content: [{ type: "text", text: "Be brief." }] },
      {
        role: "user",
        content: [
          { type: "image", image: 0 },
          { type: "text", text: "What is " },
          { type: "text", text: '<point_box mention="it"> (100,200) (300,400) </point_box>' },
          { type: "text", text: "?" },
        ],
      },
      {
        role: "assistant",
        content: [
          { type: "text", text: "A cat " },
          { type: "text", text: "<point> (5,6) </point>" },
          { type: "text", text: "." },
        ],
      },
      { role: "user", content: [{ type: "text", text: "And here?" }] },
      {
        role: "user",
        content: [
          { type: "image", image: 1 },
          { type: "text", text: "Or here?" },
        ],
      },
      { role: "user", content: [{ type: "text", text: "Well?" }] },
    ])
  })

  it("writes every kind of tag", () => {
    const tags = collection([polygon([[1, 2], [3, 4], [5, 6]]), point(7, 8, { t: 1.5 })], { mention: "all" }) // biome-ignore format: corners
    const [{ content }] = messagesOf([tags]).messages
    expect(content).toEqual([
      {
        type: "text",
        text: '<collection mention="all"> <polygon> (1,2) (3,4) (5,6) </polygon> <point t=1.5> (7,8) </point> </collection>',
      },
    ])
  })

  it.each([
    [[]],
    ["What?"],
    [undefined],
    [[null]],
    [[5]],
    [[{ type: "text", text: 5 }]],
    [[{ type: "box", x1: 1 }]],
    [[{ type: "turn", role: "user", content: "x" }]],
  ])("refuses %j", (nodes) => {
    expect(() => messagesOf(nodes as unknown as PromptNode[])).toThrow(expect.objectContaining({ code: "bad_input" }))
  })

  it("refuses tags that are none at once", () => {
    expect(() => box(1, 2, 3, Number.NaN)).toThrow(expect.objectContaining({ code: "bad_input" }))
    expect(() => polygon([])).toThrow(expect.objectContaining({ code: "bad_input" }))
    expect(() => collection([])).toThrow(expect.objectContaining({ code: "bad_input" }))
  })
})
