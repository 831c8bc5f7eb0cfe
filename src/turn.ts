/** One question, whoever remembers it: its messages, its pictures, and how its errors reach the reader. */

import { type AnswerEvent, AnswerWriter } from "./answer"
import type { AnnotatedImage, AskOptions, ImageInput } from "./engine-options"
import { IsaacError, shown } from "./errors"
import { Picture } from "./generate/pictures"
import type { IsaacEngine } from "./isaac"
import { type Example, type Task, taskMessages } from "./perception"
import { annotationText } from "./perception/annotations"
import type { Message } from "./processor"

/** What is asked, and about what. */
export interface Turn {
  readonly task: Task
  readonly messages: readonly Message[]
  readonly pictures: readonly Picture[]
  /** So many of the first pictures are not the reader's, who counts without them: they belong to examples. */
  readonly uncounted: number
}

/** The pictures that the question is about, not read yet. */
export interface PictureSource {
  readonly count: number
  read(signal: AskOptions["signal"]): Promise<readonly Picture[]>
}

export type TurnOptions = Pick<
  AskOptions,
  "expect" | "system" | "hintRole" | "reasoning" | "focus" | "examples" | "signal"
>

/** Throws bad_input, bad_image, not_found, io, aborted. */
export async function turnOf(
  engine: IsaacEngine,
  source: PictureSource,
  task: Task,
  options: TurnOptions,
): Promise<Turn> {
  // 1. What is wrong with the question is said before any picture is read.
  const { examples = [], signal } = options
  if (!Array.isArray(examples)) throw new IsaacError("bad_input", `examples is ${shown(examples)}; it must be an array`)
  const images = examples.length + source.count
  const unanswered: Example[] = examples.map((example) => ({ question: example?.question, answer: "" }))
  taskMessages(engine.profile, task, { images, examples: unanswered }, options)

  // 2. The pictures: the examples' first, whose size their coordinates may need.
  const answered: AnsweredExample[] = []
  for (const [i, example] of examples.entries()) {
    answered.push(await answeredExample(engine, example, `example ${i + 1} of ${examples.length}`, signal))
  }
  const pictures = [...answered.map(({ picture }) => picture), ...(await source.read(signal))]

  // 3. The words around them.
  const messages = taskMessages(engine.profile, task, { images, examples: answered }, options)
  return { task, messages, pictures, uncounted: examples.length }
}

/** The pictures of a call, read when they are asked for. Throws bad_input for what is no array. */
export function unreadPictures(engine: IsaacEngine, images: readonly ImageInput[]): PictureSource {
  if (!Array.isArray(images)) {
    throw new IsaacError("bad_input", "images must be an array; give one picture as [picture]")
  }
  return {
    count: images.length,
    read: async (signal) => (await engine.readImages(images, signal)).map((image) => new Picture(image)),
  }
}

interface AnsweredExample extends Example {
  readonly picture: Picture
}

async function answeredExample(
  engine: IsaacEngine,
  example: AnnotatedImage,
  what: string,
  signal: AskOptions["signal"],
): Promise<AnsweredExample> {
  const { image, annotations, units = "pixels", question } = example ?? {}
  if (image === undefined || !Array.isArray(annotations)) {
    throw new IsaacError("bad_input", `${what} is ${shown(example)}; it must be {image, annotations: [...]}`)
  }
  if (units !== "pixels" && units !== "thousandths") {
    throw new IsaacError("bad_input", `${what} has the units ${shown(units)}; they must be pixels or thousandths`)
  }
  const [source] = await engine.readImages([image], signal)
  if (units === "thousandths") {
    return { picture: new Picture(source), question, answer: annotationText(annotations, units) }
  }
  const pixels = await engine.decodeImage(source, what)
  return { picture: new Picture(pixels), question, answer: annotationText(annotations, units, pixels) }
}

/**
 * An answer's events as readers are promised them: an error comes as an event and is thrown too, an abort before the
 * first token ends with an empty `final` event.
 */
export async function* answerEvents(
  engine: IsaacEngine,
  options: Pick<AskOptions, "signal">,
  events: AsyncIterable<AnswerEvent>,
): AsyncGenerator<AnswerEvent, void> {
  try {
    yield* events
  } catch (error) {
    if (error instanceof IsaacError && error.code === "aborted" && options.signal?.aborted) {
      yield* new AnswerWriter([]).end(engine.info) // aborted while the pictures were being read
      return
    }
    const { code, message } = error instanceof IsaacError ? error : new IsaacError("internal", String(error))
    yield { type: "error", error: { code, message } }
    throw error
  }
}
