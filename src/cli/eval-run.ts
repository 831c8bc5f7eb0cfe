/** Puts the questions of an evaluation to a model: picture by picture, each answer kept as soon as it is there. */

import { readFile } from "node:fs/promises"
import { join } from "node:path"
import type { AskOptions, Isaac } from "../index"
import {
  type Answered,
  type Asked,
  type AskingOptions,
  type Dataset,
  type DatasetImage,
  type EvalReport,
  IsaacError,
  isIsaacError,
  leafConfidences,
  type Prediction,
  type Predictions,
  plainText,
  questionsAbout,
  readPredictions,
} from "../internal"
import { BatchFile, type BatchSettings } from "./batch-file"
import { BatchProgress } from "./batch-progress"
import type { EvalFlags } from "./eval"
import { Interrupted } from "./failure"
import { MOST_LOST, type ReadyPicture, readAheadOf } from "./picture-ahead"
import { ProgressLine } from "./progress"
import { samplingOf } from "./sampling-options"
import { loadModel } from "./task-model"
import type { Terminal } from "./terminal"

export interface EvalWork {
  readonly dataset: Dataset
  readonly images: readonly DatasetImage[]
  readonly options: AskingOptions
  /** What answers depend on: a run with others does not go on with them. */
  readonly settings: BatchSettings
  pictureOf(image: DatasetImage): string
  readonly flags: EvalFlags
  readonly terminal: Terminal
}

/** In the folder of --out. */
const PREDICTIONS_FILE = "predictions.jsonl"

type View = ReturnType<Isaac["view"]>

export class EvalRun {
  readonly #work: EvalWork
  readonly #line: ProgressLine
  /** By this run, or all of them where nothing is written. */
  readonly #predictions = new Map<DatasetImage, Prediction>()
  #isaac: Isaac | undefined
  #lost = 0
  #failed = 0
  #spent = { questions: 0, seconds: 0, tokens: 0 }

  constructor(work: EvalWork) {
    this.#work = work
    this.#line = new ProgressLine(work.terminal)
  }

  /**
   * Throws Interrupted after Ctrl-C: what was answered is in the file. Throws what stops all pictures: a model that does
   * not load, a file that cannot be written, settings that changed.
   */
  async run(): Promise<{ predictions: Predictions; failed: number; speed: EvalReport["speed"] }> {
    const { images, settings, flags, terminal, dataset } = this.#work
    const path = flags.out === undefined ? undefined : join(flags.out, PREDICTIONS_FILE)
    const file = path === undefined ? undefined : await BatchFile.open(path, settings, terminal.signal)
    let progress: BatchProgress
    try {
      const todo = images.filter((image) => !file?.done.has(image.file))
      progress = new BatchProgress(this.#line, images.length, images.length - todo.length)
      if (todo.length > 0) await this.#all(todo, file, progress)
    } finally {
      this.#line.clear()
      await this.#isaac?.dispose()
      await file?.close()
    }
    if (terminal.signal.aborted) {
      const advice = path === undefined ? "; with --out it can be gone on with" : "; run the same command to go on"
      terminal.err(`isaac: interrupted: ${progress.summary()}${advice}\n`)
      throw new Interrupted()
    }
    if (terminal.errIsTty || this.#failed > 0) terminal.err(`isaac: ${progress.summary()}\n`)
    const speed = this.#spent.questions === 0 ? null : this.#spent
    if (path === undefined) return { predictions: this.#predictions, failed: this.#failed, speed }
    const { predictions } = readPredictions(await readFile(path, "utf8"), dataset, undefined)
    const wanted = new Set(images)
    return {
      predictions: new Map([...predictions].filter(([image]) => wanted.has(image))),
      failed: this.#failed,
      speed,
    }
  }

  async #all(images: readonly DatasetImage[], file: BatchFile | undefined, progress: BatchProgress): Promise<void> {
    const { signal } = this.#work.terminal
    let next = this.#read(images[0])
    for (const [i, image] of images.entries()) {
      this.#isaac ??= await loadModel(this.#work.flags, this.#line, signal)
      progress.start()
      const ready = await next
      // While the model looks at this picture, the next one is decoded.
      if (i + 1 < images.length) next = this.#read(images[i + 1])
      const result = await this.#one(this.#isaac, image, ready)
      if (result === undefined) return
      await file?.append({ image: image.file, ...result })
      if ("answers" in result) this.#predictions.set(image, result)
      else this.#report(image, result.error)
      progress.advance("error" in result)
    }
  }

  #read(image: DatasetImage): Promise<ReadyPicture> {
    const { pictureOf, terminal } = this.#work
    return readAheadOf(pictureOf(image), terminal.signal)
  }

  /** All answers about a picture, or why there are none; undefined when it was interrupted. */
  async #one(
    isaac: Isaac,
    image: DatasetImage,
    ready: ReadyPicture,
  ): Promise<Prediction | { readonly error: { readonly code: string; readonly message: string } } | undefined> {
    const { dataset, options, terminal } = this.#work
    const start = performance.now()
    try {
      if ("error" in ready) throw ready.error
      const view = isaac.view(ready.picture)
      const answers: Answered[] = []
      try {
        for (const asked of questionsAbout(image, dataset, options)) {
          const answered = await this.#answer(view, asked)
          if (answered === undefined) return undefined
          answers.push(answered)
        }
      } finally {
        await view.dispose()
      }
      this.#lost = 0
      this.#spent = {
        questions: this.#spent.questions + answers.length,
        seconds: this.#spent.seconds + (performance.now() - start) / 1000,
        tokens: this.#spent.tokens + answers.reduce((sum, { tokens = 0 }) => sum + tokens, 0),
      }
      return { answers }
    } catch (error) {
      if (terminal.signal.aborted) return undefined
      if (!isIsaacError(error)) throw error
      if (error.code === "worker_lost") {
        // The next picture gets a new one.
        if (++this.#lost === MOST_LOST) throw error
        await isaac.dispose()
        this.#isaac = undefined
      }
      return { error: { code: error.code, message: error.message } }
    }
  }

  /** undefined when it was interrupted. */
  async #answer(view: View, asked: Asked): Promise<Answered | undefined> {
    const { task, about } = asked
    const answer = await this.#ask(view, asked)
    if (answer.finishReason === "abort") return undefined
    const { text, pixels, issues, usage, timings, logprobs } = answer
    const confidences = logprobs && leafConfidences(logprobs)
    return {
      ...{ task, about, text, pixels },
      ...(confidences?.length === pixels.length && { confidences }),
      ...("count" in answer && { count: answer.count as number | null }),
      ...(issues.length > 0 && { unreadable: issues.length }),
      tokens: usage.completion_tokens,
      ms: Math.round(timings.vision_ms + timings.prefill_ms + timings.decode_ms),
    }
  }

  #ask(view: View, asked: Asked) {
    const { flags, dataset, terminal } = this.#work
    const { system, hintRole, guided } = flags
    const options: AskOptions = { ...samplingOf(flags), system, hintRole, signal: terminal.signal }
    const tags = (kind: "box" | "point", classes: readonly string[]): AskOptions =>
      guided ? { ...options, guided: { kinds: [kind], classes } } : options
    switch (asked.task) {
      case "detect": {
        const names = asked.about === null ? dataset.categories.map(({ name }) => name) : [asked.about]
        const classes = asked.about === null ? undefined : [asked.about]
        return view.detect({ ...tags("box", names), classes, logprobs: true })
      }
      case "point":
        return view.point(asked.about, tags("point", [asked.about]))
      case "count":
        return view.count(asked.about, options)
      case "vqa":
        return view.ask(asked.about, options)
      case "ocr":
        return view.ocr(options)
      default:
        throw new IsaacError("internal", `nobody knows how to ask for ${(asked as Asked).task}`)
    }
  }

  #report(image: DatasetImage, { message }: { readonly message: string }): void {
    this.#failed++
    this.#line.clear()
    this.#work.terminal.err(`isaac: ${image.file}: ${plainText(message)}\n`)
  }
}
