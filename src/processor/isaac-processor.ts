/**
 * IsaacProcessor: text and images → TensorStream, the model's input. Needs the tokenizer and the vision sizes of a
 * checkpoint, no weights and no backend.
 */

import { IsaacError, shown } from "../errors"
import { createEvent, type Event, type EventType, Stream, TensorStream } from "../stream"
import type { ChatTemplate, RenderOptions } from "./chat-template"
import { type DecodeImage, type ImageInput, loadImage } from "./image-input"
import { type Message, type PromptPiece, promptPieces } from "./messages"
import { PreparedImage, prepareImage } from "./prepared-image"
import type { Tokenizer } from "./tokenizer"
import type { VisionSizing } from "./vision-sizing"

export interface ProcessorInit {
  readonly tokenizer: Tokenizer
  /** Without it only raw text can be processed. */
  readonly template?: ChatTemplate
  readonly sizing: VisionSizing
  /** Most tokens of a prompt. */
  readonly maxSequenceLength: number
  /** What the model itself would take, for messages. Default: the same. */
  readonly modelSequenceLength?: number
  readonly decodeImage: DecodeImage
  /** What marks an image's place in raw text. Default `<image>`. */
  readonly visionToken?: string
}

export interface ProcessOptions {
  /** Too long a prompt: "error" (default), or "left" keeps the last tokens and may cut an image in half. */
  readonly truncate?: "error" | "left"
  /** Most tokens of this prompt. Default: the processor's maxSequenceLength. */
  readonly maxLength?: number
  /** Checked before each image. */
  readonly signal?: AbortSignal
}

export interface TextInput extends ProcessOptions {
  /** Raw text: added tokens in it are parsed, and every `<image>` is the place of one of the images, in order. */
  readonly text: string
  readonly images?: readonly ImageInput[]
}

export interface MessagesInput extends ProcessOptions, RenderOptions {
  /** What the messages' image parts point at, by index; each must be used. */
  readonly images?: readonly (ImageInput | PreparedImage)[]
}

export interface ProcessorOutput {
  /** [T] the token view: ids of text, meaningless numbers at the places of image tokens. */
  readonly inputIds: Int32Array
  /** One stream of T tokens. */
  readonly tensorStream: TensorStream
  /** The images in order of appearance: upright size in pixels before resizing, and tokens before truncation. */
  readonly images: readonly { readonly width: number; readonly height: number; readonly tokens: number }[]
}

/** Most characters of a prompt, even of one whose beginning is left out. */
const MAX_CHARACTERS = 8 << 20

/** Which event comes first where two begin at the same time. */
const PRIORITY: readonly EventType[] = ["text", "image"]

export class IsaacProcessor {
  readonly tokenizer: Tokenizer
  readonly template: ChatTemplate | undefined
  readonly sizing: VisionSizing
  readonly maxSequenceLength: number
  readonly visionToken: string
  readonly #modelSequenceLength: number
  readonly #decodeImage: DecodeImage
  #longestToken: number | undefined

  constructor(init: ProcessorInit) {
    const { tokenizer, template, sizing, maxSequenceLength, decodeImage, visionToken = "<image>" } = init
    this.tokenizer = tokenizer
    this.template = template
    this.sizing = sizing
    this.maxSequenceLength = maxSequenceLength
    this.#modelSequenceLength = init.modelSequenceLength ?? maxSequenceLength
    this.visionToken = visionToken
    if (visionToken === "") throw new IsaacError("bad_config", "The vision token is empty.")
    this.#decodeImage = decodeImage
  }

  /**
   * Raw text and its images, as the reference processor takes them: the text is cut at every `<image>`, the pieces
   * are encoded apart.
   *
   * @throws IsaacError `bad_input` when the number of images is not the number of places, `too_long`, `bad_image`
   */
  async process({ text, images = [], ...options }: TextInput): Promise<ProcessorOutput> {
    if (typeof text !== "string") throw new IsaacError("bad_input", "The text must be a string.")
    if (!Array.isArray(images)) throw new IsaacError("bad_input", "images must be an array; give one as [image].")
    this.#checkLimits(text.length, options)
    const texts = text.split(this.visionToken)
    const places = texts.length - 1
    if (images.length !== places) {
      throw new IsaacError(
        "bad_input",
        `${counted(images.length, "image")} given, but the text has ${places} ${this.visionToken}; ` +
          (images.length > places
            ? `write ${this.visionToken} where each image belongs.`
            : "give an image for each, in their order."),
      )
    }
    const pieces = texts.flatMap((part, i): PromptPiece[] => {
      const ids = this.tokenizer.encode(part, { special: true })
      return i < places ? [ids, i] : [ids]
    })
    return this.#build(pieces, images, options)
  }

  /**
   * A conversation, rendered by the checkpoint's chat template. An image part is the place of an image; anything typed
   * into a message, `<image>` and `<|im_end|>` included, is ordinary text.
   *
   * @throws IsaacError `bad_input` for malformed messages, images that are not there or not used, or a checkpoint
   *   without a template; `too_long`, `bad_image`
   */
  async processMessages(messages: readonly Message[], input: MessagesInput = {}): Promise<ProcessorOutput> {
    const { images = [], addGenerationPrompt, enableThinking, ...options } = input
    if (!this.template) {
      throw new IsaacError("bad_input", "This checkpoint has no chat template; give the prompt as raw text.")
    }
    if (!Array.isArray(images)) throw new IsaacError("bad_input", "images must be an array; give one as [image].")
    this.#checkLimits(charactersOf(messages), options)
    const pieces = promptPieces(messages, this.tokenizer, this.template, { addGenerationPrompt, enableThinking })
    const used = new Set(pieces.filter((piece) => typeof piece === "number"))
    const highest = Math.max(-1, ...used)
    if (highest >= images.length) {
      throw new IsaacError(
        "bad_input",
        `The messages show the image with index ${highest}, but ${counted(images.length, "image")} given (indexes from 0).`,
      )
    }
    if (used.size < images.length) {
      throw new IsaacError(
        "bad_input",
        `${counted(images.length, "image")} given, but the messages show ${used.size}; add an image part for each.`,
      )
    }
    return this.#build(pieces, images, options)
  }

  /**
   * Decode and resize an image once, for several prompts.
   *
   * @param name what to call an image without a name of its own
   * @throws IsaacError `bad_image`, `bad_input`
   */
  async prepareImage(input: ImageInput, name: string): Promise<PreparedImage> {
    return prepareImage(await loadImage(input, name, this.#decodeImage), this.sizing)
  }

  /**
   * Throws IsaacError `too_long` for so many new images that one of them would be seen by nobody, whatever their sizes:
   * nothing of them needs to be read to tell.
   */
  checkImageCount(count: number, maxLength = this.maxSequenceLength): void {
    const { minPatches, pixelShuffle } = this.sizing
    const least = Math.max(1, Math.ceil((minPatches ?? 1) / pixelShuffle ** 2))
    if ((count - 1) * least >= maxLength) {
      throw new IsaacError(
        "too_long",
        `${counted(count, "image")} given; each takes at least ${least} tokens and at most ${maxLength} tokens fit. ` +
          `Give at most ${Math.max(1, Math.floor(maxLength / least))} at once${this.#largerContext(maxLength)}.`,
      )
    }
  }

  /** Refuse odd limits, and what is far too long before it is cut into tokens, which takes seconds for each million characters. */
  #checkLimits(characters: number, options: ProcessOptions): void {
    const { truncate = "error", maxLength = this.maxSequenceLength } = options
    if (!Number.isInteger(maxLength) || maxLength < 1) {
      throw new IsaacError("bad_input", `The maximum length must be 1 token or more, not ${shown(maxLength)}.`)
    }
    if (truncate !== "error" && truncate !== "left") {
      throw new IsaacError("bad_input", `truncate is ${shown(truncate)}; it must be "error" or "left".`)
    }
    if (characters > MAX_CHARACTERS) {
      throw new IsaacError(
        "too_long",
        `The text has ${characters} characters; at most ${MAX_CHARACTERS} are read. Shorten it.`,
      )
    }
    // A token is a few characters; only texts that are suspiciously long are worth the exact bound.
    if (truncate === "left" || characters <= 16 * maxLength) return
    this.#longestToken ??= longestToken(this.tokenizer)
    const least = Math.ceil(characters / this.#longestToken)
    if (least > maxLength) {
      throw new IsaacError(
        "too_long",
        `The text has ${characters} characters, which are ${least} tokens or more; at most ${maxLength} fit. ` +
          `Shorten it${this.#keepLast(maxLength)}${this.#largerContext(maxLength)}.`,
      )
    }
  }

  /** The end of a message about what does not fit: ", or …". */
  #keepLast(maxLength: number): string {
    return `, or keep only the last ${maxLength} tokens with truncate: "left" (isaac ask --truncate left)`
  }

  #largerContext(maxLength: number): string {
    return maxLength === this.maxSequenceLength && this.#modelSequenceLength > maxLength
      ? `, or load with a larger maxContext (isaac ask --max-context): the model takes up to ${this.#modelSequenceLength}`
      : ""
  }

  /** The stream, or its last `maxLength` tokens. */
  #fit(
    stream: TensorStream,
    images: ProcessorOutput["images"],
    { truncate = "error", maxLength = this.maxSequenceLength }: ProcessOptions,
  ): TensorStream {
    const [, tokens] = stream.shape
    if (tokens === 0) throw new IsaacError("bad_input", "The prompt is empty: no text and no images.")
    if (tokens <= maxLength) return stream
    if (truncate === "left") return stream.slice(tokens - maxLength, tokens)

    const ofImages = images.reduce((sum, image) => sum + image.tokens, 0)
    const ofText = tokens - ofImages
    let room = maxLength - ofText
    const fitting = images.findIndex((image) => {
      room -= image.tokens
      return room < 0
    })
    const sizes = images.slice(0, 10).map((image) => image.tokens)
    const each = images.length > 1 ? ` (${sizes.join(", ")}${images.length > 10 ? ", …" : ""})` : ""
    const what = images.length === 1 ? "1 image" : `${images.length} images`
    const parts = images.length === 0 ? "all of text" : `${ofText} of text and ${ofImages} of ${what}${each}`
    const cure =
      images.length === 0
        ? `Shorten the text by ${tokens - maxLength} tokens`
        : fitting > 0
          ? `Shorten the text, give fewer or smaller images (with this text the first ${fitting} would fit)`
          : "Shorten the text, give fewer or smaller images"
    throw new IsaacError(
      "too_long",
      `The prompt has ${tokens} tokens and at most ${maxLength} fit: ${parts}. ` +
        `${cure}${this.#keepLast(maxLength)}${this.#largerContext(maxLength)}.`,
    )
  }

  /** Pieces → events at the times 0, 1, 2, …; empty text keeps its time but makes no event. */
  async #build(
    pieces: readonly PromptPiece[],
    inputs: readonly (ImageInput | PreparedImage)[],
    options: ProcessOptions,
  ): Promise<ProcessorOutput> {
    const { maxLength = this.maxSequenceLength, signal } = options
    this.checkImageCount(inputs.filter((input) => !(input instanceof PreparedImage)).length, maxLength)
    const events: Event[] = []
    const images: ProcessorOutput["images"][number][] = []
    for (const [time, piece] of pieces.entries()) {
      if (typeof piece !== "number") {
        if (piece.length > 0) events.push(createEvent({ type: "text", time, data: piece }))
        continue
      }
      if (signal?.aborted) throw new IsaacError("aborted", "Processing was aborted.", { cause: signal.reason })
      const name = inputs.length === 1 ? "the image" : `image ${piece + 1} of ${inputs.length}`
      const input = inputs[piece]
      const image = input instanceof PreparedImage ? input : await this.prepareImage(input, name)
      const event = image.event(time)
      events.push(event)
      images.push({ width: image.width, height: image.height, tokens: event.idxRange[1] })
    }
    const whole = new TensorStream([Stream.create(events, PRIORITY)])
    const tensorStream = this.#fit(whole, images, options)
    return { inputIds: tensorStream.tokenView(), tensorStream, images }
  }
}

/** All characters of some messages; malformed ones are refused later. */
function charactersOf(messages: readonly Message[]): number {
  if (!Array.isArray(messages)) return 0
  let characters = 0
  for (const content of messages.map((message: Message | null | undefined) => message?.content)) {
    if (typeof content === "string") characters += content.length
    else if (Array.isArray(content)) {
      for (const part of content)
        characters += part?.type === "text" && typeof part.text === "string" ? part.text.length : 0
    }
  }
  return characters
}

/** Most characters that one token stands for: no more than its bytes, or 4 for 3 where accents become one with letters. */
function longestToken(tokenizer: Tokenizer): number {
  let longest = 1
  for (let id = 0; id < tokenizer.size; id++) longest = Math.max(longest, tokenizer.tokenBytes(id).length)
  for (const { content } of tokenizer.added) longest = Math.max(longest, content.length)
  return Math.ceil((longest * 4) / 3)
}

/** "1 image was", "3 images were". */
function counted(count: number, noun: string): string {
  return count === 1 ? `1 ${noun} was` : `${count} ${noun}s were`
}
