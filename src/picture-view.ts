/**
 * Many questions about the same pictures, none of which knows of another. The pictures are read once, and what the
 * prompts have in common up to the last picture is computed once: of a second question only its own words are.
 */

import type { AnswerEvent, Candidate, Score } from "./answer"
import type { AskOptions, CandidatesOptions, ImageInput, ScoreOptions } from "./engine-options"
import { IsaacError } from "./errors"
import { type AbortFlag, orAborted } from "./generate/abort"
import type { Picture } from "./generate/pictures"
import type { Session } from "./generate/session"
import type { IsaacEngine } from "./isaac"
import { oneByOne } from "./one-by-one"
import type { PromptProfile, Task } from "./perception"
import type { Message } from "./processor"
import { readAhead } from "./read-ahead"
import { answerEvents, type PictureSource, type Turn, type TurnOptions, turnOf, unreadPictures } from "./turn"

/** Beginnings of prompts that are kept computed: one for each hint, set of examples, … in use. */
const MOST_BEGINNINGS = 4

/** What is computed of one beginning; questions that share it take turns. */
interface Beginning {
  readonly session: Session
  waiting: number
  /** Resolves when the question before is done with the session. */
  turn: Promise<void>
}

export class PictureView implements AsyncDisposable {
  readonly #engine: IsaacEngine
  readonly #open: () => Session
  readonly #source: PictureSource
  readonly #once: boolean
  /** While they are being read, and then. */
  #pictures: Promise<readonly Picture[]> | undefined
  /** Ends the reading. */
  readonly #end = new AbortController()
  /** In the order of their last use. */
  readonly #beginnings = new Map<string, Beginning>()

  /**
   * @param open how to open a session of the engine
   * @param once for a single question: it is computed as its reader reads, and its abort ends the reading of its pictures
   */
  constructor(engine: IsaacEngine, open: () => Session, images: readonly ImageInput[], { once = false } = {}) {
    this.#engine = engine
    this.#open = open
    this.#once = once
    const unread = unreadPictures(engine, images)
    const read = once ? unread.read : (signal: AbortFlag | undefined) => orAborted(this.#read(unread), signal)
    this.#source = { count: unread.count, read }
  }

  /** For all questions that wait, so none of them ends it; after a failure the next one tries again. */
  #read(unread: PictureSource): Promise<readonly Picture[]> {
    if (this.#pictures === undefined) {
      const reading = unread.read(this.#end.signal)
      this.#pictures = reading
      reading.catch(() => {
        if (this.#pictures === reading) this.#pictures = undefined
      })
    }
    return this.#pictures
  }

  /** Carry out a task on the pictures. Yields the answer's events, as `Conversation.ask` does. */
  respond(task: Task, options: AskOptions = {}): AsyncGenerator<AnswerEvent, void> {
    const parts = options.schema === undefined ? partsOf(task, this.#engine.profile) : undefined
    const events =
      parts === undefined
        ? this.#respond(task, options)
        : oneByOne(parts.map((part) => () => this.#respond(part, options)))
    return answerEvents(this.#engine, options, events)
  }

  async *#respond(task: Task, options: AskOptions): AsyncGenerator<AnswerEvent, void> {
    const { turn, session, release } = await this.#next(task, options)
    const events = this.#engine.answer(turn, options, session)
    if (!this.#once) {
      // A reader who asks something else in the middle must not wait for itself.
      yield* readAhead(events, release)
      return
    }
    try {
      yield* events
    } finally {
      await release()
    }
  }

  /** See `Conversation.candidates`. */
  async candidates(question: string, options: CandidatesOptions): Promise<readonly Candidate[]> {
    const { turn, session, release } = await this.#next({ task: "ask", question }, options)
    try {
      return await this.#engine.answers(turn, options, session)
    } finally {
      await release()
    }
  }

  /** See `Conversation.score`. */
  async score(question: string, answer: string | readonly number[], options: ScoreOptions = {}): Promise<Score> {
    const { turn, session, release } = await this.#next({ task: "ask", question }, options)
    try {
      return await this.#engine.scoreAnswer(turn, answer, options, session)
    } finally {
      await release()
    }
  }

  async #next(
    task: Task,
    options: TurnOptions,
  ): Promise<{ readonly turn: Turn; readonly session: Session; readonly release: () => Promise<void> }> {
    this.#check()
    const turn = await turnOf(this.#engine, this.#source, task, options)
    this.#check()
    const key = JSON.stringify(beginningOf(turn.messages))
    const beginning = this.#beginnings.get(key) ?? { session: this.#open(), waiting: 0, turn: Promise.resolve() }
    this.#beginnings.delete(key)
    this.#beginnings.set(key, beginning)

    // One question at a time; the others wait in their order.
    const before = beginning.turn
    let done = () => {}
    beginning.turn = new Promise((resolve) => {
      done = resolve
    })
    beginning.waiting++
    const release = async () => {
      beginning.waiting--
      void before.then(done) // also when this question gave up its place
      await this.#letGo()
    }
    try {
      await orAborted(before, options.signal)
      this.#check()
    } catch (error) {
      await release()
      throw error
    }
    return { turn, session: beginning.session, release }
  }

  /** Close what was used longest ago of what nobody waits for, where there is too much of it. */
  async #letGo(): Promise<void> {
    for (const [key, { session, waiting }] of this.#beginnings) {
      if (this.#beginnings.size <= MOST_BEGINNINGS) return
      if (waiting > 0) continue
      this.#beginnings.delete(key)
      await session.dispose()
    }
  }

  /** Free what is computed. A question that is being answered fails at its next token. */
  async dispose(): Promise<void> {
    this.#end.abort()
    const sessions = [...this.#beginnings.values()].map(({ session }) => session)
    this.#beginnings.clear()
    for (const session of sessions) await session.dispose()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }

  #check(): void {
    if (this.#end.signal.aborted) throw new IsaacError("bad_input", "this view was disposed of; open a new one")
  }
}

/** The questions that a task is put in, where the model wants several. */
function partsOf(task: Task, { classes: several }: PromptProfile): Task[] | undefined {
  if (task.task !== "detect" || several === "together") return undefined
  const { classes } = task
  if (!Array.isArray(classes) || classes.length < 2) return undefined
  return classes.map((name) => ({ ...task, classes: [name] }))
}

/** The messages up to their last picture, which is where questions about the same pictures begin to differ. */
function beginningOf(messages: readonly Message[]): readonly Message[] {
  const last = messages.findLastIndex(
    ({ content }) => typeof content !== "string" && content.some(({ type }) => type === "image"),
  )
  if (last < 0) return []
  const { role, content } = messages[last]
  const parts = content as Exclude<Message["content"], string>
  const cut = parts.slice(0, parts.findLastIndex(({ type }) => type === "image") + 1)
  return [...messages.slice(0, last), { role, content: cut }]
}
