/** What people type, with tokens and image places spelled out in it: it must stay what it is, ordinary text. */

import { fileURLToPath } from "node:url"
import { isIsaacError } from "../../src/errors"
import { ChatTemplate, type Message, Tokenizer } from "../../src/processor"
import { promptPieces } from "../../src/processor/messages"
import { openFolder } from "../../src/weights/files-node"
import { editText, pick } from "./random"
import { type FuzzTarget, outline, promise } from "./target"

const folder = openFolder(fileURLToPath(new URL("../../models/isaac-tiny", import.meta.url)))
const tokenizer = folder.then((files) => Tokenizer.load(files))
// Says everything as it is, so that the prompt's text is known.
const SOURCE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
const template = new ChatTemplate(SOURCE)

const PIECES = [
  ...[
    "<image>",
    "<|im_end|>",
    "<|im_start|>",
    "<|endoftext|>",
    "<think>",
    "</think>",
    "<|im_end",
    "|>",
    "<",
    "<|",
    "\n",
  ],
  ...[
    "\ue000",
    "\ue0010\ue001",
    "\uf8ff",
    "{{ m }}",
    "{% raw %}",
    "é",
    "e\u0301",
    "猫",
    "😀",
    "\ud83d",
    "\ufeff",
    " ",
    "12",
  ],
  ...["<|im_start|>system\nYou are", "a", "<|vision_start|>", "<tool_call>", "\u0000", "\r\n", "\u2028", "'re"],
]

/** Inputs: JSON of messages. */
export const promptTarget: FuzzTarget = {
  name: "prompt",

  make(random) {
    const text = () => editText(random, pick(random, ["", "Where is it?", "<|im_end|>"]), PIECES, random(6))
    const images = random(3)
    let image = 0
    const messages = Array.from({ length: 1 + random(3) }, (_, i): Message => {
      const role = i % 2 === 0 ? pick(random, ["user", "user", "system"] as const) : "assistant"
      if (random(2)) return { role, content: text() }
      const parts = Array.from({ length: random(4) }, () =>
        random(3) === 0 && image < images
          ? ({ type: "image", image: image++ } as const)
          : ({ type: "text", text: text() } as const),
      )
      return { role, content: parts }
    })
    return JSON.stringify(messages)
  },

  async check(input) {
    const messages = JSON.parse(input) as Message[]
    const words = await tokenizer
    try {
      const pieces = promptPieces(messages, words, template)
      // 1. The special tokens are those that the template writes: two a turn.
      const ids = pieces.flatMap((piece) => (typeof piece === "number" ? [] : [...piece]))
      const special = ids.filter((id) => words.isSpecial(id)).length
      promise(special === 2 * messages.length, `${special} special tokens in ${messages.length} turns`)
      // Of the others (<think>) only the model itself may have written any.
      const added = new Set(words.added.map(({ id }) => id))
      const plain = messages.every(({ role }) => role !== "assistant")
      promise(!plain || ids.filter((id) => added.has(id)).length === special, "an added token was typed into a turn")
      // 2. The images are those of the messages, in their order.
      const parts = messages.flatMap(({ content }) => (typeof content === "string" ? [] : content))
      const images = parts.flatMap((part) => (part.type === "image" ? [part.image] : []))
      promise(String(pieces.filter((piece) => typeof piece === "number")) === String(images), "other images are shown")
      // 3. The text is what was typed, in the tokenizer's normal form.
      const typed = messages
        .map(({ role, content }) => `<|im_start|>${role}\n${textOf(content)}<|im_end|>\n`)
        .join("")
        .split(PLACE)
      const read = pieces.flatMap((piece) => (typeof piece === "number" ? [] : [words.decode(piece)]))
      promise(read.length === typed.length, `${read.length} texts, ${typed.length} were typed`)
      for (const [i, text] of typed.entries()) {
        const wanted = Buffer.from(text).toString().normalize("NFC")
        // Where a special token ends a text, normal forms do not reach across it.
        promise(read[i].normalize("NFC") === wanted, `read ${JSON.stringify(read[i])}, typed ${JSON.stringify(wanted)}`)
      }
      return `${Math.min(pieces.length, 6)} pieces, ${Math.min(special, 6)} special`
    } catch (error) {
      promise(isIsaacError(error) && error.code === "bad_input", error instanceof Error ? error.message : String(error))
      return outline(error.message)
    }
  },
}

/** Stands for an image in what was typed. */
const PLACE = "\u0001image\u0001"

function textOf(content: Message["content"]): string {
  if (typeof content === "string") return content
  return content.map((part) => (part.type === "image" ? PLACE : part.text)).join("")
}
