/** Conversations: messages of text and image parts, and how they become the pieces of a prompt. */

import { IsaacError, shown } from "../errors"
import type { ChatTemplate, RenderOptions, TemplateMessage } from "./chat-template"
import { escapeRegExp, type Tokenizer } from "./tokenizer"

const ROLES = ["system", "user", "assistant"] as const
export type Role = (typeof ROLES)[number]

/** A piece of a message; `image` is an index into the images that come with the conversation. */
export type Part = { readonly type: "text"; readonly text: string } | { readonly type: "image"; readonly image: number }

/** One turn. The parts of a turn are joined without a separator. */
export interface Message {
  readonly role: Role
  readonly content: string | readonly Part[]
}

/** A piece of a prompt: token ids, or the place of an image (an index into the images). */
export type PromptPiece = Int32Array | number

/**
 * The pieces of a rendered conversation: text and image places by turns, beginning and ending with text (maybe empty).
 *
 * What people type is only ever text. The template sees their messages with a stand-in (a private-use character that
 * occurs nowhere else) for the first character of everything that reads like an added token, and for every image;
 * so the only added tokens in the rendered text are the template's own. The text is cut at those, the stand-ins are
 * taken back, and each piece is encoded as ordinary characters. Harmless messages have no stand-ins and get the ids
 * of the plain rendering.
 *
 * The assistant's own turns may contain the added tokens that are not special (`<think>`): they are its way of
 * writing, and templates look for them.
 *
 * @throws IsaacError `bad_input` for malformed messages or those the template refuses, `bad_checkpoint` for a template
 *   that shows an image more often than the messages do
 */
export function promptPieces(
  messages: readonly Message[],
  tokenizer: Tokenizer,
  template: Pick<ChatTemplate, "render">,
  options: RenderOptions = {},
): PromptPiece[] {
  checkMessages(messages)
  const unused = unusedCharacters(messages)
  const place = unused()
  const disguise = new Disguise(tokenizer, unused)
  const turns = messages.map(({ role, content }) => ({
    role,
    content: joinTexts(content)
      .map((part) => (part.type === "image" ? `${place}${part.image}${place}` : disguise.hide(part.text, role)))
      .join(""),
  }))
  const rendered = template.render(turns, options)

  // A split by a pattern with one group alternates text and what the group caught.
  const pieces = rendered.split(new RegExp(`${place}(\\d+)${place}`))
  const shown = (pieces.length - 1) / 2
  const given = turns.reduce((sum, { content }) => sum + (content.split(place).length - 1) / 2, 0)
  if (shown > given) {
    throw new IsaacError(
      "bad_checkpoint",
      `The chat template shows images ${shown} times, the messages ${given} times. It needs repair.`,
    )
  }
  return pieces.map((piece, i) => {
    if (i % 2 === 1) return Number(piece)
    const ids = tokenizer
      .split(piece)
      .flatMap((part) => (typeof part === "number" ? [part] : [...tokenizer.encode(disguise.show(part))]))
    return Int32Array.from(ids)
  })
}

/**
 * The ids of what the assistant says, as in a turn of its own: tokens that are added but not special (`<think>`) become
 * their ids, special ones are ordinary characters.
 */
export function assistantIds(text: string, tokenizer: Tokenizer): Int32Array {
  const verbatim = { render: (turns: readonly TemplateMessage[]) => turns[0].content }
  const [ids] = promptPieces([{ role: "assistant", content: text }], tokenizer, verbatim)
  return ids as Int32Array // one piece: a text has no image
}

/** Hides added tokens in untrusted text by replacing the first character of each with a stand-in. */
class Disguise {
  readonly #standIns = new Map<string, string>()
  readonly #special: RegExp | undefined
  readonly #added: RegExp | undefined

  constructor(tokenizer: Tokenizer, unused: () => string) {
    for (const { content } of tokenizer.added) {
      if (!this.#standIns.has(content[0])) this.#standIns.set(content[0], unused())
    }
    this.#special = startPattern(tokenizer.added.filter(({ special }) => special).map(({ content }) => content))
    this.#added = startPattern(tokenizer.added.map(({ content }) => content))
  }

  hide(text: string, role: Role): string {
    const pattern = role === "assistant" ? this.#special : this.#added
    return pattern ? text.replace(pattern, (first) => this.#standIns.get(first) ?? first) : text
  }

  show(text: string): string {
    let shown = text
    for (const [first, standIn] of this.#standIns) shown = shown.replaceAll(standIn, first)
    return shown
  }
}

/** Matches one character wherever one of `contents` begins, also where two overlap. */
function startPattern(contents: readonly string[]): RegExp | undefined {
  return contents.length === 0 ? undefined : new RegExp(`(?=${contents.map(escapeRegExp).join("|")})[\\s\\S]`, "g")
}

/** Gives out private-use characters that occur in no message, a new one at each call. */
function unusedCharacters(messages: readonly Message[]): () => string {
  const used = new Set<string>()
  for (const { content } of messages) {
    for (const part of joinTexts(content)) {
      if (part.type === "text") for (const [character] of part.text.matchAll(/[\uE000-\uF8FF]/g)) used.add(character)
    }
  }
  let next = 0xe000
  return () => {
    for (; next <= 0xf8ff; next++) {
      const character = String.fromCharCode(next)
      if (used.has(character)) continue
      next++
      return character
    }
    throw new IsaacError(
      "bad_input",
      "The messages use every private-use character (U+E000 to U+F8FF); leave some out.",
    )
  }
}

/** The parts of a turn, neighbouring texts joined, so that nothing can be spelled across a seam. */
function joinTexts(content: Message["content"]): Part[] {
  const parts: Part[] = []
  for (const part of typeof content === "string" ? [{ type: "text", text: content } as const] : content) {
    const last = parts.at(-1)
    if (part.type === "text" && last?.type === "text") {
      parts[parts.length - 1] = { type: "text", text: last.text + part.text }
    } else parts.push(part)
  }
  return parts
}

/** Throws bad_input for anything but messages, at least one. */
export function checkMessages(messages: readonly Message[]): void {
  if (!Array.isArray(messages) || messages.length === 0) {
    throw new IsaacError("bad_input", "A conversation needs at least one message {role, content}.")
  }
  messages.forEach((message: Message | null | undefined, i) => {
    const where = `message ${i + 1} of ${messages.length}`
    if (!ROLES.includes(message?.role as Role)) {
      throw new IsaacError("bad_input", `${where} has the role ${shown(message?.role)}; use ${ROLES.join(", ")}.`)
    }
    const content: unknown = message?.content
    if (typeof content === "string") return
    if (!Array.isArray(content)) {
      throw new IsaacError("bad_input", `${where}: the content must be a string or a list of parts.`)
    }
    for (const part of content) {
      const valid =
        (part?.type === "text" && typeof part.text === "string") ||
        (part?.type === "image" && Number.isInteger(part.image) && part.image >= 0)
      if (!valid) {
        throw new IsaacError(
          "bad_input",
          `${where}: a part must be {type: "text", text} or {type: "image", image: index}, ` +
            `but one is ${shown(part)}.`,
        )
      }
    }
  })
}
