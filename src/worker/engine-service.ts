/** The engine's methods as messages carry them: plain data in, plain data out, handles as numbers. */

import { IsaacError } from "../errors"
import {
  type AnswerEvent,
  type AskOptions,
  type Candidate,
  type CandidatesOptions,
  type Conversation,
  checkAborted,
  type DecoderCache,
  type EngineInfo,
  type EngineMemory,
  fromPlain,
  type GeneratedToken,
  type GenerateOptions,
  type GenerationReport,
  type ImageInput,
  type IsaacEngine,
  type LoadOptions,
  type Message,
  type ModelInput,
  type Numbers,
  type PictureView,
  type PlainTensorStream,
  type ProcessorInput,
  type ProcessorOutput,
  type Score,
  type ScoreOptions,
  type Task,
  toPlain,
} from "../isaac"
import type { CallContext, Service } from "./protocol"

export interface LoadInput {
  readonly model: ModelInput
  readonly options: Omit<LoadOptions, "signal" | "onProgress">
}

export type PlainProcessorOutput = Omit<ProcessorOutput, "tensorStream"> & { readonly tensorStream: PlainTensorStream }

export interface PlainForwardInput {
  readonly tensorStream?: PlainTensorStream
  readonly inputIds?: Int32Array
  readonly batch?: number
  readonly inputsEmbeds?: Numbers
  readonly positionIds?: Int32Array
  readonly modality?: Int32Array
  readonly labels?: Int32Array
  readonly logits?: "all" | "last" | "none"
  readonly cache?: number
}

export interface PlainForwardOutput {
  readonly logits?: Numbers
  readonly loss?: number
  readonly ropeDelta: Int32Array
}

/** Where a task is carried out: in a session or a view that is open, else on its own. */
export interface RespondInput {
  readonly task: Task
  readonly options: Omit<AskOptions, "signal" | "onProgress">
  /** A view has its own. */
  readonly images: readonly ImageInput[]
  readonly session?: number
  readonly view?: number
  /** Somebody wants to hear how far it is. */
  readonly progress?: boolean
}

interface QuestionInput {
  readonly images: readonly ImageInput[]
  readonly question: string
  readonly session?: number
}

export interface CandidatesInput extends QuestionInput {
  readonly options: Omit<CandidatesOptions, "signal">
}

export interface ScoreInput extends QuestionInput {
  readonly answer: string | readonly number[]
  readonly options: Omit<ScoreOptions, "signal">
}

export interface GenerateInput {
  readonly tensorStream: PlainTensorStream
  readonly options: Omit<GenerateOptions, "signal">
  readonly session?: number
}

export type EngineService = ReturnType<typeof engineService>

/** @param load makes the engine, when the first call asks for it */
export function engineService(load: (input: LoadInput, context: CallContext) => Promise<IsaacEngine>) {
  let loaded: IsaacEngine | undefined
  const sessions = new Handles<Conversation>("session")
  const views = new Handles<PictureView>("view")
  const caches = new Handles<DecoderCache>("cache")
  const engine = (): IsaacEngine => {
    if (loaded === undefined) {
      throw new IsaacError("internal", "no model was loaded")
    }
    return loaded
  }

  const calls = {
    async load(input: LoadInput, context: CallContext): Promise<EngineInfo> {
      loaded = await load(input, context)
      return loaded.info
    },

    async process(input: Omit<ProcessorInput, "signal">, context: CallContext): Promise<PlainProcessorOutput> {
      const output = await engine().processor({ ...input, signal: context.abort })
      return { ...output, tensorStream: toPlain(output.tensorStream) }
    },

    async embedStream(input: { tensorStream: PlainTensorStream }, context: CallContext): Promise<Numbers> {
      const { model } = engine()
      const stream = fromPlain(input.tensorStream)
      const embedded = engine().compute(() => model.embedStream(stream, hooks(context)), context.abort) // [B, T, D]
      return readAndFree(engine(), embedded)
    },

    async forward(input: PlainForwardInput, context: CallContext): Promise<PlainForwardOutput> {
      const { model } = engine()
      const { tensorStream, inputsEmbeds, cache, ...rest } = input
      const embeds = inputsEmbeds && model.backend.upload(inputsEmbeds.data, inputsEmbeds.shape) // [B, T, D]
      try {
        const request = {
          ...rest,
          tensorStream: tensorStream && fromPlain(tensorStream),
          inputsEmbeds: embeds,
          cache: cache === undefined ? undefined : caches.get(cache),
        }
        const output = engine().compute(() => model.forward(request, hooks(context)), context.abort)
        // Both at once: if reading one fails, the other's failure is seen too.
        const [logits, loss] = await Promise.all([output.logits && readAndFree(engine(), output.logits), output.loss])
        return { logits, loss, ropeDelta: output.ropeDelta }
      } finally {
        if (embeds) model.backend.free(embeds)
      }
    },

    async newCache(input: { maxTokens?: number }): Promise<number> {
      return caches.add(engine().model.newCache(input.maxTokens ?? engine().info.maxContext))
    },
    async cacheLength(input: { cache: number }): Promise<number> {
      return caches.get(input.cache).length()
    },
    async truncateCache(input: { cache: number; length: number }): Promise<void> {
      caches.get(input.cache).truncate(input.length)
    },
    async freeCache(input: { cache: number }): Promise<void> {
      caches.take(input.cache)?.free()
    },

    async openView({ images }: { images: readonly ImageInput[] }): Promise<number> {
      return views.add(engine().view(images))
    },
    async closeView(input: { view: number }): Promise<void> {
      await views.take(input.view)?.dispose()
    },

    async openSession(): Promise<number> {
      return sessions.add(engine().session())
    },
    async forkSession(input: { session: number }): Promise<number> {
      return sessions.add(sessions.get(input.session).fork())
    },
    async sessionLength(input: { session: number }): Promise<number> {
      return sessions.get(input.session).length
    },
    async sessionMessages(input: { session: number }): Promise<readonly Message[]> {
      return sessions.get(input.session).messages
    },
    /** The bytes of the file; nothing when they went to a path. */
    async saveSession({ session, path }: { session: number; path?: string }): Promise<Uint8Array | undefined> {
      const conversation = sessions.get(session)
      if (path === undefined) return engine().sessionBytes(conversation)
      await engine().saveSession(conversation, path)
      return undefined
    },
    async restoreSession({ source }: { source: string | Uint8Array | Blob }): Promise<number> {
      return sessions.add(await engine().restoreSession(source))
    },
    async closeSession(input: { session: number }): Promise<void> {
      await sessions.take(input.session)?.dispose()
    },

    async candidates(input: CandidatesInput, context: CallContext): Promise<readonly Candidate[]> {
      const { images, question, session } = input
      const asked = session === undefined ? engine() : sessions.get(session)
      return asked.candidates(images, question, { ...input.options, signal: stopFlag(context) })
    },
    async score(input: ScoreInput, context: CallContext): Promise<Score> {
      const { images, question, answer, session } = input
      const asked = session === undefined ? engine() : sessions.get(session)
      return asked.score(images, question, answer, { ...input.options, signal: stopFlag(context) })
    },

    async memory(): Promise<EngineMemory> {
      return engine().memory()
    },
    async close(): Promise<void> {
      await loaded?.dispose()
    },
  }

  const streams = {
    respond(input: RespondInput, context: CallContext): AsyncIterable<AnswerEvent> {
      const { images, task, session, view, progress } = input
      const onProgress = progress ? context.progress : undefined
      const options = { ...input.options, signal: stopFlag(context), onProgress }
      if (view !== undefined) return views.get(view).respond(task, options)
      if (session !== undefined) return sessions.get(session).respond(images, task, options)
      return engine().respond(images, task, options)
    },

    /** The tokens, then one report. */
    async *generate(
      input: GenerateInput,
      context: CallContext,
    ): AsyncGenerator<{ readonly token: GeneratedToken } | { readonly report: GenerationReport }, void> {
      const inputs = { tensorStream: fromPlain(input.tensorStream) }
      const options = { ...input.options, signal: stopFlag(context) }
      const generation =
        input.session === undefined
          ? engine().generate(inputs, options)
          : sessions.get(input.session).generate(inputs, options)
      for await (const token of generation) yield { token }
      yield { report: generation.report }
    },
  }

  return { calls, streams } satisfies Service
}

/** Looks at the caller's flag between layers. */
function hooks({ abort }: CallContext) {
  return { checkAbort: () => checkAborted(abort) }
}

/** The flag for computations, with the signal for downloads. */
function stopFlag({ abort, signal }: CallContext) {
  return {
    get aborted() {
      return abort.aborted
    },
    signal,
  }
}

async function readAndFree(
  engine: IsaacEngine,
  tensor: ReturnType<IsaacEngine["model"]["embedStream"]>,
): Promise<Numbers> {
  const { backend } = engine.model
  try {
    return { data: await backend.read(tensor), shape: [...tensor.shape] }
  } finally {
    backend.free(tensor)
  }
}

/** Things that stay here while the other side holds their numbers. */
class Handles<T> {
  readonly #kind: string
  readonly #things = new Map<number, T>()
  #last = 0

  constructor(kind: string) {
    this.#kind = kind
  }

  add(thing: T): number {
    this.#things.set(++this.#last, thing)
    return this.#last
  }

  get(id: number): T {
    const thing = this.#things.get(id)
    if (thing === undefined) {
      throw new IsaacError("bad_input", `this ${this.#kind} was disposed of; open a new one`)
    }
    return thing
  }

  take(id: number): T | undefined {
    const thing = this.#things.get(id)
    this.#things.delete(id)
    return thing
  }
}
