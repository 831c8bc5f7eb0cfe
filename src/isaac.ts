/**
 * START HERE: load → process → embed → decode → sample → parse.
 *
 * `IsaacEngine` runs in the thread that calls it; `worker/` offers the same calls from another thread. What differs
 * between machines (files, image decoders, backends) comes in as a `Platform`.
 */

import { type AnswerEvent, AnswerWriter, answerOf, type Candidate, type Score } from "./answer"
import { Conversation } from "./conversation"
import type {
  AskOptions,
  CandidatesOptions,
  DtypeChoice,
  EngineInfo,
  GenerateOptions,
  ImageInput,
  KvDtypeChoice,
  LoadOptions,
  Platform,
  ProcessorInput,
  ScoreOptions,
} from "./engine-options"
import { IsaacError } from "./errors"
import { type AbortFlag, checkAborted, KernelFlag, signalOf } from "./generate/abort"
import { type CandidatesSetup, drawCandidates } from "./generate/candidates"
import { Generation, type GenerationSetup, imageTokens, type Vocabulary } from "./generate/generation"
import { describeToken, type TokenLogprob, tokenLogprob } from "./generate/logprobs"
import { PictureBook } from "./generate/pictures"
import { scoreTokens } from "./generate/score"
import { LARGEST_CHUNK, Session } from "./generate/session"
import type { SessionPool, SessionUsage } from "./generate/session-pool"
import { Guides, textIds } from "./guides"
import { IsaacModel, type MemoryPlan, type PlanOptions } from "./model"
import { type ModelFingerprint, ObservedCheckpoint } from "./model/fingerprint"
import { type Backend, isPacked, type StoredType } from "./ops/backend"
import { PROMPT_PROFILE_FILE, type PromptProfile, promptProfileOf, type Task, taskGuide } from "./perception"
import { PictureView } from "./picture-view"
import {
  ChatTemplate,
  type ImageFile,
  IsaacProcessor,
  loadImage,
  type PreparedImage,
  type ProcessorOutput,
  type RgbImage,
  Tokenizer,
} from "./processor"
import { assistantIds } from "./processor/messages"
import { bytesOfSession, type KvOrigin, readSession } from "./session-file"
import { sessionPool } from "./session-setup"
import type { Turn } from "./turn"
import { type Checkpoint, openCheckpoint, packedTypeOfTensors } from "./weights/checkpoint"
import { blobSource } from "./weights/http-sources"
import { type ByteSource, bytesSource, type FileSet, readJson } from "./weights/source"

export type * from "./answer"
export { Conversation } from "./conversation"
export type * from "./engine-options"
export { type AbortFlag, checkAborted } from "./generate/abort"
export type { GeneratedToken, GenerationReport } from "./generate/generation"
export { messagesOf, type PromptNode } from "./message-builder"
export type { DecoderCache, ForwardInput } from "./model"
export { PictureView } from "./picture-view"
export type { Message, ProcessorOutput } from "./processor"
export { fromPlain, type PlainTensorStream, type TensorStream, toPlain } from "./stream"

/** Context of a conversation, unless asked for more. */
const DEFAULT_CONTEXT = 4096
const DEFAULT_NEW_TOKENS = 1024
const DTYPES: readonly DtypeChoice[] = ["auto", "f32", "bf16", "q8", "q4"]
const KV_DTYPES: readonly KvDtypeChoice[] = ["auto", "f32", "bf16", "int8"]

export interface EngineLoadOptions extends LoadOptions {
  /** What answers call the model. Default: the name of its files. */
  readonly name?: string
}

export interface EngineMemory extends SessionUsage {
  readonly used: number
  readonly peak: number
}

interface EngineParts {
  readonly fingerprint: () => Promise<ModelFingerprint>
  readonly info: EngineInfo
  readonly model: IsaacModel
  readonly textProcessor: IsaacProcessor
  readonly vocabulary: Vocabulary
  readonly guides: Guides
  readonly profile: PromptProfile
  readonly platform: Platform
  readonly pool: SessionPool
  readonly pictureBook: PictureBook
  readonly maxNewTokens: number
}

export class IsaacEngine implements AsyncDisposable {
  readonly info: EngineInfo
  /** embedStream, encodeImages, forward: on this engine's backend, in this thread. */
  readonly model: IsaacModel
  readonly profile: PromptProfile
  readonly #parts: EngineParts

  private constructor(parts: EngineParts) {
    this.info = parts.info
    this.model = parts.model
    this.profile = parts.profile
    this.#parts = parts
  }

  /**
   * Load a checkpoint folder. Throws bad_checkpoint, bad_config, backend_unavailable, out_of_memory, aborted.
   */
  static async load(files: FileSet, platform: Platform, options: EngineLoadOptions = {}): Promise<IsaacEngine> {
    const {
      backend: choice,
      dtype = "auto",
      kvDtype = "auto",
      threads,
      maxContext: asked,
      signal,
      onProgress,
    } = options
    if (!(asked === undefined || (Number.isInteger(asked) && asked >= 1))) {
      throw new IsaacError("bad_input", `maxContext is ${String(asked)}; it must be an integer of at least 1`)
    }
    if (!DTYPES.includes(dtype)) {
      throw new IsaacError("bad_input", `dtype is ${String(dtype)}; it must be ${DTYPES.join(", ")}`)
    }
    if (!KV_DTYPES.includes(kvDtype)) {
      throw new IsaacError("bad_input", `kvDtype is ${String(kvDtype)}; it must be ${KV_DTYPES.join(", ")}`)
    }
    const start = performance.now()

    // 1. Where the operations run.
    const kernelFlag = new KernelFlag(platform.abortWord)
    const { backend, refused } = await platform.selectBackend({ backend: choice, threads, abort: kernelFlag.word })
    const { name, isa } = backend.info
    onProgress?.({ stage: "backend", fraction: 1, message: `${name} (${isa})` })
    try {
      // 2. Config and weights.
      const { checkpoint, storage } = await openFitting(files, platform, backend, options)
      const observed = new ObservedCheckpoint(checkpoint)
      let model: IsaacModel
      try {
        model = await IsaacModel.load(observed.checkpoint, backend, {
          ...storage,
          signal,
          onProgress: ({ loaded, total, tensor }) =>
            onProgress?.({ stage: "weights", fraction: loaded / total, message: tensor }),
        })
      } finally {
        await checkpoint.close()
      }

      // 3. What makes streams out of text and images.
      const { vision, maxSequenceLength, visionToken } = model.config
      const maxContext = contextWithin(asked, maxSequenceLength)
      const tokenizer = await Tokenizer.load(files)
      checkVocabulary(tokenizer.size, model.config, files.name)
      const textProcessor = new IsaacProcessor({
        tokenizer,
        template: await ChatTemplate.load(files),
        sizing: vision,
        maxSequenceLength: maxContext,
        modelSequenceLength: maxSequenceLength,
        decodeImage: platform.decodeImage,
        visionToken,
      })
      const hasProfile = await files.has(PROMPT_PROFILE_FILE)
      const profile = promptProfileOf(
        hasProfile ? await readJson(files, PROMPT_PROFILE_FILE) : undefined,
        checkpoint.config,
      )

      // 4. What conversations share.
      const pool = sessionPool(model, kernelFlag, maxContext, platform, options)
      const info: EngineInfo = {
        model: options.name ?? files.name,
        backend: name,
        isa,
        threads: backend.info.threads,
        dtype: storage.dtype,
        kvDtype: model.kvStored,
        maxContext,
        refused,
        loadMs: performance.now() - start,
      }
      const limit = checkpoint.generationConfig?.max_new_tokens
      const maxNewTokens = typeof limit === "number" && limit >= 1 ? Math.floor(limit) : DEFAULT_NEW_TOKENS
      const vocabulary: Vocabulary = {
        size: Math.min(tokenizer.size, model.config.text.vocabSize),
        tokenBytes: (id) => tokenizer.tokenBytes(id),
        isSpecial: (id) => tokenizer.isSpecial(id),
        encode: (text) => tokenizer.encode(text, { special: true }),
        encodeText: (text) => tokenizer.encode(text),
        isText: textIds(tokenizer),
      }
      const pictureBook = new PictureBook(textProcessor, pool.knownImages)
      const fingerprint = once(() => observed.fingerprint(model.config))
      const parts = {
        fingerprint,
        info,
        model,
        textProcessor,
        vocabulary,
        guides: new Guides(vocabulary),
        profile,
        platform,
        pool,
        pictureBook,
        maxNewTokens,
      }
      return new IsaacEngine(parts)
    } catch (error) {
      await backend.dispose()
      throw error
    }
  }

  get tokenizer(): Tokenizer {
    return this.#parts.textProcessor.tokenizer
  }

  /** Raw text with an `<image>` for each image → token ids and the stream that the model reads. */
  async processor({ text, images = [], truncate, maxLength, signal }: ProcessorInput): Promise<ProcessorOutput> {
    const loaded = await this.readImages(images, signal)
    return this.#parts.textProcessor.process({ text, images: loaded, truncate, maxLength, signal: signalOf(signal) })
  }

  /** The tokens that follow a prompt; in a session, or on their own. Iterate over them once. */
  generate(
    inputs: Pick<ProcessorOutput, "tensorStream">,
    options: GenerateOptions & Pick<AskOptions, "onProgress"> = {},
    session?: Session,
  ): Generation {
    const { pool } = this.#parts
    return new Generation(session ?? (() => new Session(pool)), inputs.tensorStream, this.#setup(options))
  }

  #setup(options: GenerateOptions & Pick<AskOptions, "onProgress">): GenerationSetup {
    const { model, vocabulary, guides, maxNewTokens } = this.#parts
    return {
      ...options,
      maxNewTokens: options.maxNewTokens ?? maxNewTokens,
      stopIds: options.stopIds ?? model.config.stopIds,
      vocabulary,
      guide: guides.of(options),
      abort: options.signal,
    }
  }

  /** A task on pictures: its answer as it is written, then the whole. */
  async *respond(
    images: readonly ImageInput[],
    task: Task,
    options: AskOptions = {},
  ): AsyncGenerator<AnswerEvent, void> {
    const view = this.#once(images)
    try {
      yield* view.respond(task, options)
    } finally {
      await view.dispose()
    }
  }

  /** A question about pictures. */
  ask(images: readonly ImageInput[], question: string, options: AskOptions = {}): AsyncGenerator<AnswerEvent, void> {
    return this.respond(images, { task: "ask", question }, options)
  }

  /** Several answers to one question, the likeliest first; see `Conversation.candidates`. */
  async candidates(
    images: readonly ImageInput[],
    question: string,
    options: CandidatesOptions,
  ): Promise<readonly Candidate[]> {
    const view = this.#once(images)
    try {
      return await view.candidates(question, options)
    } finally {
      await view.dispose()
    }
  }

  /** How well the model expects a given answer to a question; see `Conversation.score`. */
  async score(
    images: readonly ImageInput[],
    question: string,
    answer: string | readonly number[],
    options: ScoreOptions = {},
  ): Promise<Score> {
    const view = this.#once(images)
    try {
      return await view.score(question, answer, options)
    } finally {
      await view.dispose()
    }
  }

  /** Pictures that many questions are asked about, none of which knows of another. */
  view(images: readonly ImageInput[]): PictureView {
    return new PictureView(this, () => new Session(this.#parts.pool), images)
  }

  /** For a single question. */
  #once(images: readonly ImageInput[]): PictureView {
    return new PictureView(this, () => new Session(this.#parts.pool), images, { once: true })
  }

  /** A conversation that remembers: what its prompts have in common is computed once. */
  session(): Conversation {
    return new Conversation(this, new Session(this.#parts.pool))
  }

  /**
   * A conversation that was saved, to go on with.
   *
   * @param from where `Platform.openFile` finds it, or the bytes of the file
   * Throws bad_input for a file that is none, is damaged or is of another model; unsupported for one of another version;
   * not_found, io.
   */
  async restoreSession(from: string | Uint8Array | Blob): Promise<Conversation> {
    const source = await this.#openSaved(from)
    const conversation = this.session()
    try {
      await conversation.restore(await readSession(source, this.model.config.text))
      return conversation
    } catch (error) {
      await conversation.dispose()
      throw error
    } finally {
      await source.close()
    }
  }

  /** Save a conversation to a file, whole or not at all. Throws io, bad_input. */
  async saveSession(conversation: Conversation, path: string): Promise<void> {
    const { writeFile } = this.#parts.platform
    if (writeFile === undefined) throw noFiles("save() without a path gives the bytes")
    await conversation.save(({ bytes, write }) => writeFile(path, bytes, write))
  }

  /** The bytes of the file that `saveSession` would write. */
  async sessionBytes(conversation: Conversation): Promise<Uint8Array> {
    return conversation.save(bytesOfSession)
  }

  /** What the keys and values of sessions depend on. */
  async kvOrigin(): Promise<KvOrigin> {
    const { dtype, kvDtype } = this.info
    return { ...(await this.#parts.fingerprint()), dtype, kv: kvDtype }
  }

  async #openSaved(from: string | Uint8Array | Blob): Promise<ByteSource> {
    if (from instanceof Uint8Array) return bytesSource("the saved session", from)
    if (from instanceof Blob) return blobSource("the saved session", from)
    if (typeof from !== "string" || from === "") {
      throw new IsaacError("bad_input", "restoreSession takes the path of a saved session, or its bytes")
    }
    const { openFile } = this.#parts.platform
    if (openFile === undefined) throw noFiles("give the bytes, or a Blob of them")
    return openFile(from)
  }

  /**
   * The way of every answer: messages and pictures in, events out.
   *
   * @param remember gets the model's own words, reasoning included, for the next turn: before the final event, unless
   *   the answer was aborted
   */
  async *answer(
    turn: Turn,
    options: AskOptions,
    session: Session,
    remember?: (words: string) => void,
  ): AsyncGenerator<AnswerEvent, void> {
    const { task, uncounted } = turn
    // 1. Messages and pictures → a stream of text and patches.
    const inputs = await this.#prompt(turn, options)

    // 2. Embed, decode, sample: one token after another.
    const guided = taskGuide(this.profile, task, options)
    const generation = this.generate(inputs, { ...options, guided }, session)

    // 3. Tokens → text, reasoning and what the text points at.
    const writer = new AnswerWriter(inputs.images.slice(uncounted), { json: options.schema !== undefined })
    const logprobs: TokenLogprob[] = []
    let words = ""
    for await (const token of generation) {
      words += token.text
      if (token.logprob !== undefined) logprobs.push(tokenLogprob(token, this.#parts.vocabulary))
      yield* writer.push(token.text)
    }
    yield* writer.push(generation.report.heldText)

    // 4. The whole answer.
    if (generation.report.finishReason !== "abort") {
      remember?.(words)
    }
    for (const event of writer.end(this.info, generation.report, wantsLogprobs(options) ? logprobs : undefined)) {
      yield event.type === "final" ? { type: "final", answer: answerOf(task.task, event.answer) } : event
    }
  }

  /** The same for several answers, which are ranked. Throws bad_input, too_long, out_of_memory, aborted. */
  async answers(turn: Turn, options: CandidatesOptions, session: Session): Promise<readonly Candidate[]> {
    const { vocabulary } = this.#parts
    const inputs = await this.#prompt(turn, options)
    const temperature = options.temperature ?? 1
    const guided = taskGuide(this.profile, turn.task, options)
    const setup: CandidatesSetup = { ...this.#setup({ ...options, guided }), temperature, n: options.n }
    const runs = await drawCandidates(session, inputs.tensorStream, setup)
    return runs.map(({ sample, tokens, report, score }): Candidate => {
      const text = tokens.map((token) => token.text).join("")
      const logprobs = wantsLogprobs(options) ? tokens.map((token) => tokenLogprob(token, vocabulary)) : undefined
      const writer = new AnswerWriter(inputs.images.slice(turn.uncounted), { json: options.schema !== undefined })
      const answer = writer.whole(text, this.info, report, logprobs)
      return { ...answer, score, sample, seed: report.seed }
    })
  }

  /** How likely an answer is that somebody else gave. Throws bad_input, too_long, out_of_memory, aborted. */
  async scoreAnswer(
    turn: Turn,
    answer: string | readonly number[],
    options: ScoreOptions,
    session: Session,
  ): Promise<Score> {
    const { vocabulary, pool } = this.#parts
    if (typeof answer !== "string" && !(Array.isArray(answer) && answer.every(Number.isInteger))) {
      throw new IsaacError(
        "bad_input",
        `the answer is a ${typeof answer}; it must be a string or an array of token ids`,
      )
    }
    const ids = typeof answer === "string" ? assistantIds(answer, this.tokenizer) : Int32Array.from(answer)
    // Without thoughts of its own the answer stands behind the empty ones that the template writes into an open turn.
    const enableThinking = typeof answer === "string" && !/^\s*<think>/i.test(answer) ? false : undefined
    const { tensorStream } = await this.#prompt(turn, { ...options, enableThinking })
    const { maxContext } = pool
    const setup = { size: vocabulary.size, maxContext, abort: options.signal }
    const logprobs = await scoreTokens(session, tensorStream, ids, setup)
    const loss = -logprobs.reduce((sum, logprob) => sum + logprob, 0) / ids.length
    return {
      loss,
      perplexity: Math.exp(loss),
      tokens: Array.from(ids, (id, i) => describeToken(id, logprobs[i], vocabulary)),
      usage: {
        prompt_tokens: tensorStream.shape[1],
        image_tokens: imageTokens(tensorStream),
        completion_tokens: ids.length,
      },
    }
  }

  /** Messages and pictures → the stream of a prompt, an open turn of the assistant at its end. */
  async #prompt(
    { messages, pictures }: Turn,
    options: Pick<AskOptions, "truncate" | "signal"> & { readonly enableThinking?: boolean },
  ): Promise<ProcessorOutput> {
    const { truncate, signal, enableThinking } = options
    const { pictureBook, textProcessor } = this.#parts
    const images: PreparedImage[] = []
    for (const [i, picture] of pictures.entries()) {
      checkAborted(signal)
      images.push(await pictureBook.prepare(picture, `image ${i + 1} of ${pictures.length}`))
    }
    return textProcessor.processMessages(messages, { images, truncate, enableThinking })
  }

  /** Bytes or pixels of pictures that may lie elsewhere. Throws not_found, io, bad_input, aborted. */
  async readImages(images: readonly ImageInput[], signal?: AbortFlag): Promise<(ImageFile | RgbImage)[]> {
    const { platform } = this.#parts
    if (!Array.isArray(images)) {
      throw new IsaacError("bad_input", "images must be an array; give one picture as [picture]")
    }
    this.#parts.textProcessor.checkImageCount(images.length)
    return Promise.all(images.map((image) => platform.readImage(image, { signal: signalOf(signal) })))
  }

  /** The pixels of a picture that was read. Throws bad_image. */
  decodeImage(image: ImageFile | RgbImage, name: string): Promise<RgbImage> {
    return loadImage(image, name, this.#parts.platform.decodeImage)
  }

  /** Run a computation on `model` that the signal may end from another thread. Throws aborted. */
  compute<T>(run: () => T, signal?: AbortFlag): T {
    return this.#parts.pool.compute(run, signal)
  }

  /** Bytes that the backend has in use, now and at most, and what of them sessions and pictures take. */
  memory(): EngineMemory {
    return { ...this.model.backend.memory(), ...this.#parts.pool.usage() }
  }

  /** Free everything. Whatever still runs fails at its next token. */
  async dispose(): Promise<void> {
    const { pool } = this.#parts
    if (!pool.closed) {
      pool.closed = true
      await this.model.backend.dispose()
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }
}

interface FittingCheckpoint {
  readonly checkpoint: Checkpoint
  readonly storage: PlanOptions & { readonly dtype: StoredType }
}

/** The checkpoint, or its packed copy, and how it will be kept so that it fits. The caller closes it. */
async function openFitting(
  files: FileSet,
  platform: Platform,
  backend: Backend,
  {
    dtype = "auto",
    kvDtype = "auto",
    maxContext = DEFAULT_CONTEXT,
    cache = true,
    signal,
    onProgress,
  }: EngineLoadOptions,
): Promise<FittingCheckpoint> {
  const checkpoint = await openCheckpoint(files)
  try {
    const limits = [backend.info.memoryLimit, platform.machineMemory].filter((limit) => limit !== undefined)
    const memoryLimit = limits.length > 0 ? Math.min(...limits) : undefined
    const wish = {
      stored: dtype,
      kvStored: kvDtype === "auto" ? undefined : kvDtype,
      maxContext,
      prefillTokens: LARGEST_CHUNK,
      memoryLimit,
    }
    const { stored, kvStored, plan, notice } = await IsaacModel.plan(checkpoint, backend, wish)
    if (notice !== undefined) onProgress?.({ stage: "notice", fraction: 0, message: notice })
    const already = packedTypeOfTensors(checkpoint.tensors)
    const kept = stored === "auto" ? (already ?? mainType(plan)) : stored
    const storage = { ...wish, stored, kvStored, dtype: kept }
    if (!isPacked(stored) || already !== undefined || !cache) return { checkpoint, storage }
    const packed = await platform.packedFiles?.(files, checkpoint, stored, backend, { signal, onProgress })
    if (packed === undefined) return { checkpoint, storage }
    const copy = await openCheckpoint(packed)
    await checkpoint.close()
    return { checkpoint: copy, storage }
  } catch (error) {
    await checkpoint.close()
    throw error
  }
}

/** The storage type that takes most of the memory: that of the matrices. */
function mainType({ weightsByType }: MemoryPlan): StoredType {
  const types = Object.entries(weightsByType) as [StoredType, number][]
  return types.reduce((most, next) => (next[1] > most[1] ? next : most))[0]
}

function wantsLogprobs({ logprobs }: GenerateOptions): boolean {
  return logprobs !== undefined && logprobs !== false
}

/** Computed when first asked for. */
function once<T>(compute: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | undefined
  return () => {
    result ??= compute()
    return result
  }
}

function noFiles(cure: string): IsaacError {
  return new IsaacError("unsupported", `sessions are not kept in files here; ${cure}`)
}

/**
 * A table may have more rows than there are tokens (they are padding), but every token needs its row, and an answer that
 * should end at a token that nobody has would never end.
 */
function checkVocabulary(tokens: number, { text, stopIds }: IsaacModel["config"], name: string): void {
  const has = `the tokenizer of ${name} has ${tokens} ids`
  const different = "they belong to different models"
  if (tokens > text.vocabSize) {
    throw new IsaacError("bad_checkpoint", `${has}, but its embedding table has ${text.vocabSize} rows: ${different}`)
  }
  if (stopIds.length > 0 && stopIds.every((id) => id >= tokens)) {
    throw new IsaacError("bad_checkpoint", `${has}, but its configs end answers at ${stopIds.join(", ")}: ${different}`)
  }
}

/** maxContext as asked for, or as much as is sensible. */
function contextWithin(asked: number | undefined, most: number): number {
  const maxContext = asked ?? Math.min(most, DEFAULT_CONTEXT)
  if (maxContext > most) {
    throw new IsaacError("bad_input", `maxContext is ${maxContext}; the model takes 1 to ${most} tokens`)
  }
  return maxContext
}
