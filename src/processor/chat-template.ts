/** Messages → prompt text, by the Jinja template that the checkpoint brings. */

import { IsaacError, plainText } from "../errors"
import { type FileSet, readJson, readText } from "../weights/source"
import { BoundedTemplate, limitsFor, TemplateLimit } from "./bounded-template"

/** Largest chat_template.jinja; published ones have a few kilobytes. */
const MOST_BYTES = 4 << 20

/** One turn as templates take it: the content is always a string. */
export interface TemplateMessage {
  readonly role: string
  readonly content: string
}

export interface RenderOptions {
  /** Open an assistant turn at the end (default true). */
  readonly addGenerationPrompt?: boolean
  /** Qwen3's switch: false writes an empty `<think>` block into the open turn; by default the template decides. */
  readonly enableThinking?: boolean
}

/** A compiled chat template. Immutable. */
export class ChatTemplate {
  readonly #template: BoundedTemplate
  readonly #name: string
  readonly #tokens: Readonly<Record<string, string>>

  /**
   * The template of a checkpoint: chat_template.jinja, else `chat_template` in chat_template.json or
   * tokenizer_config.json (where several are named, the one named "default"). Undefined when it has none: a base model
   * takes raw text only.
   *
   * @throws IsaacError `bad_checkpoint` for a template that does not compile
   */
  static async load(files: FileSet): Promise<ChatTemplate | undefined> {
    const config = (await files.has("tokenizer_config.json")) ? await readJson(files, "tokenizer_config.json") : {}
    if (await files.has("chat_template.jinja")) {
      const source = await readText(files, "chat_template.jinja", MOST_BYTES)
      return new ChatTemplate(source, `${files.name}/chat_template.jinja`, tokenContents(config))
    }
    const own = (await files.has("chat_template.json")) ? await readJson(files, "chat_template.json") : {}
    const source = templateSource(own.chat_template) ?? templateSource(config.chat_template)
    return source === undefined
      ? undefined
      : new ChatTemplate(source, `${files.name}: the chat template`, tokenContents(config))
  }

  /**
   * @param source Jinja
   * @param name for messages
   * @param tokens what the template may use by name: bos_token, eos_token, …
   */
  constructor(source: string, name = "the chat template", tokens: Readonly<Record<string, string>> = {}) {
    this.#name = name
    this.#tokens = tokens
    try {
      this.#template = new BoundedTemplate(source)
    } catch (cause) {
      throw new IsaacError("bad_checkpoint", `${name} is not valid Jinja: ${said(cause)}`, { cause })
    }
  }

  /**
   * The prompt text of a conversation. Throws IsaacError `bad_input` when the template refuses it, `bad_checkpoint` when
   * it takes more time or memory than any sensible one (see `limitsFor`).
   */
  render(messages: readonly TemplateMessage[], options: RenderOptions = {}): string {
    const { addGenerationPrompt = true, enableThinking } = options
    const units = messages.reduce((sum, { content }) => sum + content.length, 0)
    const variables = {
      ...this.#tokens,
      messages: messages.map(({ role, content }) => ({ role, content })),
      add_generation_prompt: addGenerationPrompt,
      // Templates test whether it is defined at all.
      ...(enableThinking === undefined ? {} : { enable_thinking: enableThinking }),
    }
    try {
      return this.#template.render(variables, limitsFor(messages.length, units))
    } catch (cause) {
      if (cause instanceof TemplateLimit) {
        throw new IsaacError("bad_checkpoint", `${this.#name} was stopped: ${cause.message}. It needs repair.`, {
          cause,
        })
      }
      const roles = messages.slice(0, 8).map(({ role }) => role)
      const turns = messages.length > 8 ? `${roles.join(", ")}, …` : roles.join(", ")
      throw new IsaacError(
        "bad_input",
        `${this.#name} cannot render the messages (${turns || "none"}): ${said(cause)}`,
        {
          cause,
        },
      )
    }
  }
}

/** What an error of the template says, shortened: the words may be the template's own. */
function said(cause: unknown): string {
  const message = cause instanceof Error ? cause.message : String(cause)
  return plainText(message.length > 300 ? `${message.slice(0, 300)}…` : message)
}

/** A template, or a list of named ones. */
function templateSource(value: unknown): string | undefined {
  if (typeof value === "string") return value
  if (!Array.isArray(value)) return undefined
  const named: { name?: unknown; template?: unknown }[] = value.filter((v) => typeof v === "object" && v !== null)
  const chosen = named.find(({ name }) => name === "default") ?? named[0]
  return typeof chosen?.template === "string" ? chosen.template : undefined
}

/** bos_token, eos_token, … of tokenizer_config.json: strings or {content}. */
function tokenContents(config: Record<string, unknown>): Record<string, string> {
  const contents: Record<string, string> = {}
  for (const [key, value] of Object.entries(config)) {
    if (!/^[a-z]+_token$/.test(key)) continue
    const content = typeof value === "object" && value !== null ? (value as { content?: unknown }).content : value
    if (typeof content === "string") contents[key] = content
  }
  return contents
}
