/** A conversation: what was said, what was shown, and the session that holds both computed. */

import type { AnswerEvent, Candidate, Score } from "./answer"
import type { AskOptions, CandidatesOptions, GenerateOptions, ImageInput, ScoreOptions } from "./engine-options"
import { IsaacError } from "./errors"
import type { Generation } from "./generate/generation"
import { Picture } from "./generate/pictures"
import type { Session } from "./generate/session"
import type { IsaacEngine } from "./isaac"
import { shiftImages, type Task } from "./perception/tasks"
import type { Message, ProcessorOutput } from "./processor"
import {
  type KvLayer,
  type SavedConversation,
  type SavedSession,
  type SessionWriter,
  sessionWriter,
} from "./session-file"
import { answerEvents, type Turn, type TurnOptions, turnOf, unreadPictures } from "./turn"

export class Conversation implements AsyncDisposable {
  readonly #engine: IsaacEngine
  readonly #session: Session
  #messages: readonly Message[] = []
  /** What the messages' image parts point at. */
  #images: readonly Picture[] = []
  /** A question is being answered. */
  #asking = false

  constructor(engine: IsaacEngine, session: Session) {
    this.#engine = engine
    this.#session = session
  }

  /** Tokens that are held computed. */
  get length(): number {
    return this.#session.length
  }

  /** What was said so far. An answer that was aborted or failed is not part of it, nor is its question. */
  get messages(): readonly Message[] {
    return this.#messages
  }

  /** The next question, about these pictures and all before. */
  ask(images: readonly ImageInput[], question: string, options: AskOptions = {}): AsyncGenerator<AnswerEvent, void> {
    return this.respond(images, { task: "ask", question }, options)
  }

  /**
   * The next turn, about these pictures and all before. Yields the answer's events; an error comes as an event and is
   * thrown too. An abort ends with a `final` event that has what was written till then.
   */
  respond(images: readonly ImageInput[], task: Task, options: AskOptions = {}): AsyncGenerator<AnswerEvent, void> {
    return answerEvents(this.#engine, options, this.#respond(images, task, options))
  }

  async *#respond(images: readonly ImageInput[], task: Task, options: AskOptions): AsyncGenerator<AnswerEvent, void> {
    if (this.#asking) throw answering() // its messages would lack the turn that is going on, and take its place
    this.#asking = true
    try {
      const turn = await this.#next(images, task, options)
      const remember = (words: string) => {
        this.#messages = [...turn.messages, { role: "assistant", content: words }]
        this.#images = turn.pictures
      }
      yield* this.#engine.answer(turn, options, this.#session, remember)
    } finally {
      this.#asking = false
    }
  }

  /** The conversation with one more question, of which nothing is remembered yet. */
  async #next(images: readonly ImageInput[], task: Task, options: TurnOptions): Promise<Turn> {
    const source = unreadPictures(this.#engine, images)
    const { messages, pictures } = await turnOf(this.#engine, source, task, options)
    return {
      task,
      messages: [...this.#messages, ...messages.map((message) => shiftImages(message, this.#images.length))],
      pictures: [...this.#images, ...pictures],
      uncounted: 0, // those of examples are pictures of the conversation like all others
    }
  }

  /**
   * `n` answers that might follow, the likeliest first: drawn, so a temperature above 0 is needed (default 1). Answers
   * that come out the same are all there. The conversation stays as it is; to go on with one of them, ask with its seed.
   *
   * Throws bad_input, too_long, out_of_memory, aborted.
   */
  async candidates(
    images: readonly ImageInput[],
    question: string,
    options: CandidatesOptions,
  ): Promise<readonly Candidate[]> {
    const turn = await this.#next(images, { task: "ask", question }, options)
    return this.#engine.answers(turn, options, this.#session)
  }

  /**
   * How well the model expects this answer to the next question, token by token. The conversation stays as it is.
   *
   * A text that does not begin with `<think>` is taken for what follows the thoughts, which are empty then.
   *
   * @param answer text, of which special tokens are ordinary characters, or ids as they are
   * Throws bad_input for an empty answer, too_long, out_of_memory, aborted.
   */
  async score(
    images: readonly ImageInput[],
    question: string,
    answer: string | readonly number[],
    options: ScoreOptions = {},
  ): Promise<Score> {
    const turn = await this.#next(images, { task: "ask", question }, options)
    return this.#engine.scoreAnswer(turn, answer, options, this.#session)
  }

  /** Tokens that follow a prompt given whole; what it has in common with this conversation is not computed again. */
  generate(inputs: Pick<ProcessorOutput, "tensorStream">, options: GenerateOptions = {}): Generation {
    return this.#engine.generate(inputs, options, this.#session)
  }

  /**
   * A second conversation that goes on from here by itself. While a question is being answered, "here" is before that
   * question; what is computed of it is shared all the same.
   */
  fork(): Conversation {
    const copy = new Conversation(this.#engine, this.#session.fork())
    copy.#messages = this.#messages
    copy.#images = this.#images
    return copy
  }

  /**
   * All of it, to go on from later. Nothing may be asked meanwhile.
   *
   * Throws bad_input while a question is being answered.
   *
   * @param write gets what to write; the session stays as it is until it resolves
   */
  async save<T>(write: (writer: SessionWriter) => Promise<T>): Promise<T> {
    if (this.#asking) throw answering()
    const release = this.#session.claim()
    try {
      const saved: SavedConversation = {
        origin: await this.#engine.kvOrigin(),
        messages: this.#messages,
        pictures: this.#images.map(({ source }) => source),
        held: this.#session.held(),
      }
      const layer: KvLayer = (index) => this.#session.exportLayer(index)
      return await write(await sessionWriter(saved, this.#engine.model.config.text, layer))
    } finally {
      release()
    }
  }

  /**
   * Take over, into a new conversation, what was saved of another one. Keys and values come too where they are what this
   * engine would compute and have room; else the next question computes them anew.
   *
   * Throws bad_input for another model, and for damaged keys and values; not_finite.
   */
  async restore({ origin, messages, pictures, held, layer }: SavedSession): Promise<void> {
    const own = await this.#engine.kvOrigin()
    if (origin.model !== own.model) {
      throw new IsaacError(
        "bad_input",
        `the session was saved with another model than ${this.#engine.info.model}; load the model it was saved with`,
      )
    }
    const same = origin.weights === own.weights && origin.dtype === own.dtype && origin.kv === own.kv
    if (same && held.ids.length > 0 && held.ids.length <= this.#engine.info.maxContext) {
      const release = this.#session.claim()
      try {
        await this.#session.restore(held, layer)
      } catch (error) {
        if (!(error instanceof IsaacError && error.code === "out_of_memory")) throw error
      } finally {
        release()
      }
    }
    this.#messages = messages
    this.#images = pictures.map((source) => new Picture(source))
  }

  dispose(): Promise<void> {
    return this.#session.dispose()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }
}

function answering(): IsaacError {
  return new IsaacError(
    "bad_input",
    "this session is answering already, or being saved; await that first, or abort the answer",
  )
}
