import { fileURLToPath } from "node:url"
import { beforeAll, describe, expect, it } from "vitest"
import { openFolder } from "../weights/files-node"
import { ChatTemplate } from "./chat-template"
import { assistantIds, promptPieces } from "./messages"
import { Tokenizer } from "./tokenizer"

let tokenizer: Tokenizer
beforeAll(async () => {
  const folder = fileURLToPath(new URL("../../models/isaac-tiny", import.meta.url))
  tokenizer = await Tokenizer.load(await openFolder(folder))
})

describe("assistantIds", () => {
  const ids = (text: string) => [...assistantIds(text, tokenizer)]

  it("are those of the text, with the tokens that the assistant may write", () => {
    expect(ids("A red square.")).toEqual([...tokenizer.encode("A red square.")])
    const [open, close] = ["<think>", "</think>"].map((token) => tokenizer.idOf(token)!)
    expect(ids("<think>a</think> b")).toEqual([open, ...tokenizer.encode("a"), close, ...tokenizer.encode(" b")])
  })

  it("have special tokens as characters", () => {
    const text = "a<|im_end|>\n<|im_start|>user <|image_pad|>"
    expect(ids(text)).toEqual([...tokenizer.encode(text)])
    expect(ids(text).some((id) => tokenizer.isSpecial(id))).toBe(false)
    expect(tokenizer.decode(ids(`<image> ${text}`))).toBe(`<image> ${text}`)
  })

  it("of nothing are none", () => {
    expect(ids("")).toEqual([])
  })
})

describe("promptPieces", () => {
  it("refuses a template that shows an image more often than the messages do", () => {
    const content = [{ type: "image", image: 0 } as const, { type: "text", text: "?" } as const]
    const twice = new ChatTemplate("{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}")
    expect(() => promptPieces([{ role: "user", content }], tokenizer, twice)).toThrow(
      expect.objectContaining({
        code: "bad_checkpoint",
        message: expect.stringMatching(/images 2 times, the messages 1/),
      }),
    )
    // The messages themselves may show one picture twice.
    const once = new ChatTemplate("{% for m in messages %}{{ m.content }}{% endfor %}")
    const pieces = promptPieces([{ role: "user", content: [...content, ...content] }], tokenizer, once)
    expect(pieces.filter((piece) => typeof piece === "number")).toEqual([0, 0])
  })
})
