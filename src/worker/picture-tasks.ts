/** What people ask of pictures, one method each. */

import type {
  Answer,
  AnswerStream,
  AskOptions,
  CaptionAnswer,
  CaptionOptions,
  CountAnswer,
  DetectOptions,
  OcrOptions,
  Task,
} from "../isaac"

/** The options of a call → the task and the options that every task has. */
export type TaskOf<O> = (options: Partial<O>) => readonly [task: Task, rest: AskOptions]

/**
 * Puts a task to wherever the pictures are.
 *
 * @param call its name, for messages
 * @param options as the caller gave them: checked when the answer is read, so that what is wrong comes as a rejection
 */
export type Respond = <A extends Answer, O extends AskOptions>(
  call: string,
  options: O,
  taskOf: TaskOf<O>,
) => AnswerStream<A>

/** Tasks on pictures that are chosen already. Iterate over a result for its events, await it for the whole. */
export class PictureTasks {
  readonly #respond: Respond

  constructor(respond: Respond) {
    this.#respond = respond
  }

  /** A question. */
  ask(question: string, options: AskOptions = {}): AnswerStream {
    return this.#respond("ask", options, (rest) => [{ task: "ask", question }, rest])
  }

  /** What the pictures show, in a sentence, or in detail. */
  caption(options: CaptionOptions = {}): AnswerStream<CaptionAnswer> {
    return this.#respond("caption", options, ({ style, ...rest }) => [{ task: "caption", style }, rest])
  }

  /** Where things are: all of them, or those of some classes. */
  detect(options: DetectOptions = {}): AnswerStream {
    return this.#respond("detect", options, ({ classes, ...rest }) => [{ task: "detect", classes }, rest])
  }

  /** The text in the pictures. */
  ocr(options: OcrOptions = {}): AnswerStream {
    return this.#respond("ocr", options, ({ format, ...rest }) => [{ task: "ocr", format }, rest])
  }

  /** How many there are: `count("dogs")`. */
  count(objects: string, options: AskOptions = {}): AnswerStream<CountAnswer> {
    return this.#respond("count", options, (rest) => [{ task: "count", objects }, rest])
  }

  /** A point on each: `point("door handle")`. */
  point(objects: string, options: AskOptions = {}): AnswerStream {
    return this.#respond("point", options, (rest) => [{ task: "point", objects }, rest])
  }
}
