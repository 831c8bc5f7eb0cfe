/**
 * IsaacProcessor: text and images → TensorStream, the model's input. Needs the tokenizer and the vision sizes of a
 * checkpoint, no weights and no backend.
 */

import { IsaacError } from "../errors"
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

/** Which event comes first where two begin at the same time. */
const PRIORITY: readonly EventType[] = ["text", "image"]

export class IsaacProcessor {
  readonly tokenizer: Tokenizer
  readonly template: ChatTemplate | undefined
  readonly sizing: VisionSizing
  readonly maxSequenceLength: number
  readonly visionToken: string
  readonly #decodeImage: DecodeImage

  constructor(init: ProcessorInit) {
    const { tokenizer, template, sizing, maxSequenceLength, decodeImage, visionToken = "<image>" } = init
    this.tokenizer = tokenizer
    this.template = template
    this.sizing = sizing
    this.maxSequenceLength = maxSequenceLength
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
    const texts = text.split(this.visionToken)
    const places = texts.length - 1
    if (images.length !== places) {
      throw new IsaacError(
        "bad_input",
        `${counted(images.length, "image")} given, but the text has ${places} ${this.visionToken}; ` +
          "there must be one for each image.",
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
    const pieces = promptPieces(messages, this.tokenizer, this.template, { addGenerationPrompt, enableThinking })
    const shown = new Set(pieces.filter((piece) => typeof piece === "number"))
    const highest = Math.max(-1, ...shown)
    if (highest >= images.length) {
      throw new IsaacError(
        "bad_input",
        `The messages show the image with index ${highest}, but ${counted(images.length, "image")} given (indexes from 0).`,
      )
    }
    if (shown.size < images.length) {
      throw new IsaacError(
        "bad_input",
        `${counted(images.length, "image")} given, but the messages show ${shown.size}; add an image part for each.`,
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

  /** Pieces → events at the times 0, 1, 2, …; empty text keeps its time but makes no event. */
  async #build(
    pieces: readonly PromptPiece[],
    inputs: readonly (ImageInput | PreparedImage)[],
    { truncate = "error", maxLength = this.maxSequenceLength, signal }: ProcessOptions,
  ): Promise<ProcessorOutput> {
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
    const tensorStream = fit(whole, images, truncate, maxLength)
    return { inputIds: tensorStream.tokenView(), tensorStream, images }
  }
}

/** The stream, or its last `maxLength` tokens. */
function fit(
  stream: TensorStream,
  images: ProcessorOutput["images"],
  truncate: "error" | "left",
  maxLength: number,
): TensorStream {
  if (!Number.isInteger(maxLength) || maxLength < 1) {
    throw new IsaacError("bad_input", `The maximum length must be 1 token or more, not ${maxLength}.`)
  }
  if (truncate !== "error" && truncate !== "left") {
    throw new IsaacError("bad_input", `truncate is ${String(truncate)}; it must be "error" or "left".`)
  }
  const [, tokens] = stream.shape
  if (tokens === 0) throw new IsaacError("bad_input", "The prompt is empty: no text and no images.")
  if (tokens <= maxLength) return stream
  if (truncate === "left") return stream.slice(tokens - maxLength, tokens)
  const imageTokens = images.reduce((sum, image) => sum + image.tokens, 0)
  throw new IsaacError(
    "too_long",
    `The prompt has ${tokens} tokens (${imageTokens} of them from ${images.length === 1 ? "1 image" : `${images.length} images`}), ` +
      `at most ${maxLength} fit. Shorten the text, give fewer or smaller images, or keep only the last ${maxLength} ` +
      'tokens with truncate: "left".',
  )
}

/** "1 image was", "3 images were". */
function counted(count: number, noun: string): string {
  return count === 1 ? `1 ${noun} was` : `${count} ${noun}s were`
}
