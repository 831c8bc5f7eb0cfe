/** The public calls, carried out by a `Caller`: a worker, or this thread. */

import { IsaacError } from "../errors"
import {
  type AbortFlag,
  type Answer,
  type AnswerEvent,
  type AnswerStream,
  type AskOptions,
  type Candidate,
  type CandidatesOptions,
  type CaptionAnswer,
  type CaptionOptions,
  type CountAnswer,
  type DetectOptions,
  type EngineInfo,
  type EngineMemory,
  fromPlain,
  type GeneratedToken,
  type GenerateOptions,
  type GenerationReport,
  type ImageInput,
  type Message,
  messagesOf,
  type Numbers,
  type OcrOptions,
  type PlainTensorStream,
  type ProcessorInput,
  type ProcessorOutput,
  type PromptNode,
  type Score,
  type ScoreOptions,
  type TensorStream,
  toPlain,
} from "../isaac"
import { AnswerRun } from "./answer-run"
import { optionsOf } from "./arguments"
import type { EngineService, GenerateInput, PlainForwardInput, RespondInput } from "./engine-service"
import { PictureTasks } from "./picture-tasks"
import type { Caller } from "./protocol"

type EngineCaller = Caller<EngineService>

/** One picture, or several in their order. */
export type Pictures = ImageInput | readonly ImageInput[]

/** One forward pass; see `model.forward`. */
export interface ForwardRequest extends Omit<PlainForwardInput, "tensorStream" | "cache"> {
  /** Embeddings, positions and modality mask come from it, as far as they are not given themselves. */
  readonly tensorStream?: TensorStream
  /** Keys and values so far; the tokens of this pass are added. Without one the pass stands alone. */
  readonly cache?: ModelCache
  readonly signal?: AbortFlag
}

export interface ForwardResult {
  /** [B, T, V], or [B, V] when only the last row was asked for. */
  readonly logits?: Numbers
  /** Mean cross entropy of logits[:-1] against labels[1:], there when labels were given. */
  readonly loss?: number
  /** [B] A next token at cache index c has position c + ropeDelta on all axes. */
  readonly ropeDelta: Int32Array
  readonly cache?: ModelCache
}

/** A running generation: iterate over it once. */
export interface TokenStream extends AsyncIterable<GeneratedToken> {
  /** How it went; undefined until the iteration has ended. */
  readonly report: GenerationReport | undefined
}

/** Isaac, wherever it runs. Made by `Isaac.load`. */
export class IsaacClient implements AsyncDisposable {
  /** What runs the model. */
  readonly info: EngineInfo
  /** The boxes of the architecture, one by one. */
  readonly model: ModelClient
  readonly #caller: EngineCaller
  readonly #stop: () => Promise<void>
  #disposed: Promise<void> | undefined

  protected constructor(caller: EngineCaller, info: EngineInfo, stop: () => Promise<void>) {
    this.#caller = caller
    this.#stop = stop
    this.info = info
    this.model = new ModelClient(caller)
  }

  /** Raw text with an `<image>` for each image → token ids and the stream that the model reads. */
  async processor(request: ProcessorInput): Promise<ProcessorOutput> {
    const { signal, ...input } = optionsOf(request, "processor") as ProcessorInput
    const images = input.images && sendableAll(input.images)
    const output = await this.#caller.call("process", { ...input, images }, { signal })
    return { ...output, tensorStream: fromPlain(output.tensorStream) }
  }

  /**
   * A question about pictures. Iterate over the result for events as the answer is written, await it for the whole; both
   * work for all of these calls.
   */
  ask(images: Pictures, question: string, options: AskOptions = {}): AnswerStream {
    return this.#on(images).ask(question, options)
  }

  /** What a picture shows, in a sentence, or in detail: `caption` of the answer, without tags. */
  caption(images: Pictures, options: CaptionOptions = {}): AnswerStream<CaptionAnswer> {
    return this.#on(images).caption(options)
  }

  /** Where things are in a picture: all of them, or those of some `classes`, as boxes unless `expect` says otherwise. */
  detect(images: Pictures, options: DetectOptions = {}): AnswerStream {
    return this.#on(images).detect(options)
  }

  /** The text in a picture, plain or as Markdown or HTML. */
  ocr(images: Pictures, options: OcrOptions = {}): AnswerStream {
    return this.#on(images).ocr(options)
  }

  /** How many there are, each with a point: `count(photo, "dogs")`; the number is `count` of the answer. */
  count(images: Pictures, objects: string, options: AskOptions = {}): AnswerStream<CountAnswer> {
    return this.#on(images).count(objects, options)
  }

  /** A point on each: `point(photo, "door handle")`. */
  point(images: Pictures, objects: string, options: AskOptions = {}): AnswerStream {
    return this.#on(images).point(objects, options)
  }

  /**
   * An answer to a prompt of one's own: `prompt([system("Be brief."), image(photo), "Is this ", box(100, 200, 300, 400),
   * " a cat?"])`. Its turns stay as they are.
   */
  prompt(nodes: readonly PromptNode[], options: AskOptions = {}): AnswerStream {
    return respond(this.#caller, "prompt", options, (rest) => {
      const { messages, images } = messagesOf(nodes)
      return { task: { task: "messages", messages }, images, options: rest }
    })
  }

  /**
   * Pictures that many questions will be asked about, none of which knows of another: they are read once, and what the
   * prompts have in common is computed once.
   */
  view(images: Pictures): IsaacView {
    return new IsaacView(this.#caller, images)
  }

  #on(images: Pictures): PictureTasks {
    return new PictureTasks((call, request, taskOf) =>
      respond(this.#caller, call, request, (checked) => {
        const [task, options] = taskOf(checked)
        return { task, images, options }
      }),
    )
  }

  /**
   * `n` answers to one question, the likeliest first. They share the prompt's computation and are drawn at temperature
   * 1, unless another one is asked for. Answers that come out the same are all there.
   */
  candidates(images: Pictures, question: string, options: CandidatesOptions): Promise<readonly Candidate[]> {
    return candidates(this.#caller, images, question, options)
  }

  /**
   * How well the model expects this answer, token by token. A text that does not begin with `<think>` is taken for what
   * follows the thoughts, which are empty then.
   *
   * @param answer text, of which special tokens are ordinary characters, or ids as they are
   */
  score(
    images: Pictures,
    question: string,
    answer: string | readonly number[],
    options: ScoreOptions = {},
  ): Promise<Score> {
    return score(this.#caller, images, question, answer, options)
  }

  /** The tokens that follow a prompt. */
  generate(inputs: Pick<ProcessorOutput, "tensorStream">, options: GenerateOptions = {}): TokenStream {
    return generate(this.#caller, inputs, options)
  }

  /** A conversation that remembers: what its prompts have in common is computed once. */
  session(): IsaacSession {
    return new IsaacSession(this.#caller, () => this.#caller.call("openSession", undefined))
  }

  /**
   * Go on with a session that was saved. Its next question computes anew what cannot be used here: all of it with
   * weights or a dtype other than those it was saved with, what lies beyond maxContext or finds no room.
   *
   * Rejects with bad_input for a file that is none, is damaged or is of another model; unsupported for one of another
   * version; not_found, io.
   *
   * @param from what `save` gave: the path (in Node), the bytes, or a Blob of them
   */
  async restoreSession(from: string | URL | Uint8Array | ArrayBuffer | Blob): Promise<IsaacSession> {
    const source = from instanceof URL ? from.href : from instanceof ArrayBuffer ? new Uint8Array(from) : from
    if (!(source instanceof Uint8Array || source instanceof Blob) && (typeof source !== "string" || source === "")) {
      throw new IsaacError(
        "bad_input",
        "restoreSession takes the path of a saved session, its bytes, or a Blob of them",
      )
    }
    const session = await this.#caller.call("restoreSession", { source: wholeBytes(source) })
    return new IsaacSession(this.#caller, Promise.resolve(session))
  }

  /** Bytes that the backend has in use, now and at most, and what of them sessions and pictures take. */
  memory(): Promise<EngineMemory> {
    return this.#caller.call("memory", undefined)
  }

  /** Wait for what is being computed or read, then free everything. */
  dispose(): Promise<void> {
    this.#disposed ??= this.#end()
    return this.#disposed
  }

  /** Stop at once; whatever is pending is rejected with worker_lost. */
  async terminate(): Promise<void> {
    this.#caller.fail(new IsaacError("worker_lost", "the engine was terminated; load the model again"))
    await this.#stop()
  }

  /** The same as `dispose`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }

  async #end(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 0)) // what was asked for just now is on its way
    await this.#caller.idle()
    await this.#caller.call("close", undefined).catch(() => {}) // a lost worker has nothing left to free
    this.#caller.fail(new IsaacError("bad_input", "the model was disposed of; load it again"))
    await this.#stop()
  }
}

/** The model's own calls. Numbers come back as {data, shape}. */
export class ModelClient {
  readonly #caller: EngineCaller

  constructor(caller: EngineCaller) {
    this.#caller = caller
  }

  /** What the decoder reads: text through the embedding matrix, images through the vision tower → [B, T, D]. */
  async embedStream(tensorStream: TensorStream, options: { readonly signal?: AbortFlag } = {}): Promise<Numbers> {
    const { signal } = optionsOf(options, "embedStream")
    return this.#caller.call("embedStream", { tensorStream: plainStream(tensorStream) }, { signal })
  }

  /** Logits, and the loss when labels are given, of a stream, of embeddings or of ids. */
  async forward(request: ForwardRequest): Promise<ForwardResult> {
    const { signal, cache, tensorStream, ...input } = optionsOf(request, "forward")
    const { inputIds, batch, inputsEmbeds, positionIds, modality, labels, logits } = input
    if (cache !== undefined && !(cache instanceof ModelCache)) {
      throw new IsaacError("bad_input", "forward: cache must be one that model.newCache gave")
    }
    if (
      inputsEmbeds !== undefined &&
      !(inputsEmbeds?.data instanceof Float32Array && Array.isArray(inputsEmbeds.shape))
    ) {
      throw new IsaacError(
        "bad_input",
        "forward: inputsEmbeds must be {data: Float32Array, shape}, as embedStream gives",
      )
    }
    const plain: PlainForwardInput = {
      ...{ inputIds, batch, inputsEmbeds, positionIds, modality, labels, logits },
      tensorStream: tensorStream && plainStream(tensorStream),
      cache: await cache?.id(),
    }
    return { ...(await this.#caller.call("forward", plain, { signal })), cache }
  }

  /** Room for the keys and values of `maxTokens` tokens (default: maxContext). */
  newCache(maxTokens?: number): ModelCache {
    return new ModelCache(this.#caller, maxTokens)
  }
}

/** Something that lives in the engine, known here by its number; opened when first used. */
class EngineHandle {
  readonly #kind: string
  readonly #open: () => Promise<number>
  readonly #close: (id: number) => Promise<void>
  #id: Promise<number> | undefined
  #disposed = false

  constructor(kind: string, open: (() => Promise<number>) | Promise<number>, close: (id: number) => Promise<void>) {
    this.#kind = kind
    this.#close = close
    if (typeof open === "function") {
      this.#open = open
    } else {
      this.#open = () => open
      this.#id = open
    }
  }

  async id(): Promise<number> {
    if (this.#disposed) throw new IsaacError("bad_input", `this ${this.#kind} was disposed of; open a new one`)
    this.#id ??= this.#open()
    return this.#id
  }

  async dispose(): Promise<void> {
    this.#disposed = true
    const id = await this.#id?.catch(() => undefined) // never opened: nothing to free
    if (id !== undefined) await this.#close(id).catch(ignoreEnd)
  }
}

/** Keys and values for `model.forward`; opened when first used. */
export class ModelCache implements AsyncDisposable {
  readonly #caller: EngineCaller
  readonly #handle: EngineHandle

  constructor(caller: EngineCaller, maxTokens: number | undefined) {
    this.#caller = caller
    this.#handle = new EngineHandle(
      "cache",
      () => caller.call("newCache", { maxTokens }),
      (cache) => caller.call("freeCache", { cache }),
    )
  }

  /** What the engine calls it. */
  id(): Promise<number> {
    return this.#handle.id()
  }

  /** Tokens that it holds. */
  async length(): Promise<number> {
    return this.#caller.call("cacheLength", { cache: await this.id() })
  }

  /** Keep the first `length` tokens. */
  async truncate(length: number): Promise<void> {
    await this.#caller.call("truncateCache", { cache: await this.id(), length })
  }

  /** Gives up the keys and values. */
  dispose(): Promise<void> {
    return this.#handle.dispose()
  }

  /** The same as `dispose`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }
}

/** A conversation; opened when first used. One question at a time. */
export class IsaacSession implements AsyncDisposable {
  readonly #caller: EngineCaller
  readonly #handle: EngineHandle

  /** @param open how to open it, or what it will be called once it is open */
  constructor(caller: EngineCaller, open: (() => Promise<number>) | Promise<number>) {
    this.#caller = caller
    this.#handle = new EngineHandle("session", open, (session) => caller.call("closeSession", { session }))
  }

  /** The next question, about these pictures and all before. */
  ask(images: Pictures, question: string, options: AskOptions = {}): AnswerStream {
    return respond(this.#caller, "ask", options, async (rest) => {
      return { task: { task: "ask", question }, images, options: rest, session: await this.#handle.id() }
    })
  }

  /**
   * Answers that might follow, the likeliest first; see `Isaac.candidates`. The conversation stays as it is: to go on
   * with one of them, ask with its seed.
   */
  candidates(images: Pictures, question: string, options: CandidatesOptions): Promise<readonly Candidate[]> {
    return candidates(this.#caller, images, question, options, this.#handle)
  }

  /** How well the model expects this answer to the next question. The conversation stays as it is. */
  score(
    images: Pictures,
    question: string,
    answer: string | readonly number[],
    options: ScoreOptions = {},
  ): Promise<Score> {
    return score(this.#caller, images, question, answer, options, this.#handle)
  }

  /** Tokens that follow a prompt given whole; what it has in common with this session is not computed again. */
  generate(inputs: Pick<ProcessorOutput, "tensorStream">, options: GenerateOptions = {}): TokenStream {
    return generate(this.#caller, inputs, options, this.#handle)
  }

  /** Tokens that are held computed. */
  async length(): Promise<number> {
    return this.#caller.call("sessionLength", { session: await this.#handle.id() })
  }

  /** What was said so far; its image parts count the pictures. A question without its whole answer is not part of it. */
  async messages(): Promise<readonly Message[]> {
    return this.#caller.call("sessionMessages", { session: await this.#handle.id() })
  }

  /**
   * A second session that goes on from here by itself, sharing what is computed. While a question is being answered,
   * "here" is before that question.
   */
  fork(): IsaacSession {
    // Now, not when it is first used: till then this session may have gone on.
    const fork = this.#handle.id().then((session) => this.#caller.call("forkSession", { session }))
    fork.catch(() => {}) // shown to whoever uses the fork
    return new IsaacSession(this.#caller, fork)
  }

  /**
   * All of the session as the bytes of a file, to go on from later: `isaac.restoreSession`. It holds the conversation
   * and its pictures, readable by anybody who gets it.
   *
   * Rejects with bad_input while a question is being answered.
   */
  save(): Promise<Uint8Array>
  /** Write that file (in Node), whole or not at all. Rejects with io, too. */
  save(path: string | URL): Promise<void>
  async save(path?: string | URL): Promise<unknown> {
    const to = path instanceof URL ? path.href : path
    if (to !== undefined && (typeof to !== "string" || to === "")) {
      throw new IsaacError("bad_input", `save takes the path of a file, or nothing for the bytes; not ${String(to)}`)
    }
    return this.#caller.call("saveSession", { session: await this.#handle.id(), path: to })
  }

  /** Gives up the conversation and its memory. */
  dispose(): Promise<void> {
    return this.#handle.dispose()
  }

  /** The same as `dispose`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }
}

/** Pictures to ask about, computed as far as questions have them in common; opened when first used. */
export class IsaacView extends PictureTasks implements AsyncDisposable {
  readonly #handle: EngineHandle

  constructor(caller: EngineCaller, images: Pictures) {
    const handle = new EngineHandle(
      "view",
      async () => caller.call("openView", { images: sendableAll(images) }),
      (view) => caller.call("closeView", { view }),
    )
    super((call, request, taskOf) =>
      respond(caller, call, request, async (checked) => {
        const [task, options] = taskOf(checked)
        return { task, images: [], options, view: await handle.id() }
      }),
    )
    this.#handle = handle
  }

  /** Gives up the picture and what was computed of it. */
  dispose(): Promise<void> {
    return this.#handle.dispose()
  }

  /** The same as `dispose`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }
}

/** An engine that was disposed of, or lost, has freed everything already. */
function ignoreEnd(error: unknown): void {
  if (!(error instanceof IsaacError && (error.code === "bad_input" || error.code === "worker_lost"))) throw error
}

/** A task, where it is carried out, and on which pictures. */
interface Asked extends Omit<RespondInput, "images" | "options" | "progress"> {
  readonly images: Pictures
  readonly options: AskOptions
}

/**
 * @param request the options as the caller gave them
 * @param askedOf what to ask, of the options once they are checked
 */
function respond<A extends Answer, O extends AskOptions>(
  caller: EngineCaller,
  call: string,
  request: O,
  askedOf: (checked: Partial<O>) => Asked | Promise<Asked>,
): AnswerStream<A> {
  async function* events() {
    const { images, options, ...where } = await askedOf(optionsOf(request, call))
    const { signal, onProgress, ...rest } = options
    const input: RespondInput = {
      ...where,
      images: sendableAll(images),
      options: { ...rest, examples: sendableExamples(rest) },
      progress: onProgress !== undefined,
    }
    yield* caller.iterate("respond", input, { signal, onProgress: onProgress as ((step: unknown) => void) | undefined })
  }
  return new AnswerRun<A>(events() as AsyncGenerator<AnswerEvent<A>, void>)
}

async function candidates(
  caller: EngineCaller,
  images: Pictures,
  question: string,
  request: CandidatesOptions,
  session?: EngineHandle,
): Promise<readonly Candidate[]> {
  const { signal, ...rest } = optionsOf(request, "candidates") as CandidatesOptions
  const options = { ...rest, examples: sendableExamples(rest) }
  const input = { images: sendableAll(images), question, options, session: await session?.id() }
  return caller.call("candidates", input, { signal })
}

async function score(
  caller: EngineCaller,
  images: Pictures,
  question: string,
  answer: string | readonly number[],
  request: ScoreOptions,
  session?: EngineHandle,
): Promise<Score> {
  const { signal, ...rest } = optionsOf(request, "score")
  const options = { ...rest, examples: sendableExamples(rest) }
  const input = { images: sendableAll(images), question, answer, options, session: await session?.id() }
  return caller.call("score", input, { signal })
}

function generate(
  caller: EngineCaller,
  inputs: Pick<ProcessorOutput, "tensorStream">,
  request: GenerateOptions,
  session?: EngineHandle,
): TokenStream {
  let report: GenerationReport | undefined
  async function* tokens() {
    const { signal, ...options } = optionsOf(request, "generate")
    const input: GenerateInput = {
      tensorStream: plainStream(inputs?.tensorStream),
      options,
      session: await session?.id(),
    }
    for await (const item of caller.iterate("generate", input, { signal })) {
      if ("token" in item) yield item.token
      else report = item.report
    }
  }
  const iterator = tokens()
  return {
    get report() {
      return report
    },
    [Symbol.asyncIterator]: () => iterator,
  }
}

function sendableAll(images: Pictures): ImageInput[] {
  return (Array.isArray(images) ? (images as readonly ImageInput[]) : [images as ImageInput]).map(sendable)
}

/** What is no list of examples is refused by the engine. */
function sendableExamples({ examples }: Pick<AskOptions, "examples">): AskOptions["examples"] {
  if (!Array.isArray(examples)) return examples
  return examples.map((example) => (example ? { ...example, image: sendable(example.image) } : example))
}

/** A stream as messages can carry it. */
function plainStream(stream: TensorStream): PlainTensorStream {
  if (!Array.isArray(stream?.streams)) {
    throw new IsaacError("bad_input", "a TensorStream is needed, such as `processor` gives as tensorStream")
  }
  return toPlain(stream)
}

/** An image as messages can carry it: no URL objects, and of a view only what it shows. */
function sendable(image: ImageInput): ImageInput {
  if (image instanceof URL) return image.href
  return wholeBytes(image)
}

/** Of a view, what it shows: messages would carry the whole buffer. */
function wholeBytes<T>(value: T): T | Uint8Array {
  return value instanceof Uint8Array && value.byteLength < value.buffer.byteLength ? new Uint8Array(value) : value
}
