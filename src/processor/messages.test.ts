import { fileURLToPath } from "node:url"
import { beforeAll, describe, expect, it } from "vitest"
import { openFolder } from "../weights/files-node"
import { assistantIds } from "./messages"
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
