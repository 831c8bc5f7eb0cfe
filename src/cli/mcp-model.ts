/** The model behind the tools: loaded when it is first needed, asked by one call at a time. */

import type { EngineInfo, Isaac, LoadProgress } from "../index"
import { checkAborted, orAborted } from "../internal"
import type { EngineOptions } from "./engine-options"

export interface McpModelOptions extends EngineOptions {
  readonly maxContext?: number
  readonly allowPrivateUrls?: true
}

/** What a call may want to know while it waits. */
type Watcher = (progress: LoadProgress) => void

export type LoadModel = typeof Isaac.load

export class McpModel {
  readonly #options: McpModelOptions
  readonly #log: (text: string) => void
  readonly #load: LoadModel
  readonly #end = new AbortController()
  readonly #watchers = new Set<Watcher>()
  #loading: Promise<Isaac> | undefined
  #loaded: Isaac | undefined
  /** Settles when the call before has ended. */
  #last: Promise<unknown> = Promise.resolve()

  /**
   * @param log one line for whoever reads the server's messages
   * @param load for tests
   */
  constructor(options: McpModelOptions, log: (text: string) => void, load: LoadModel = loadIsaac) {
    this.#options = options
    this.#log = log
    this.#load = load
  }

  /** What it is called in calls: as it was named to the server. */
  get id(): string {
    return this.#options.model
  }

  /** Undefined until it is loaded. */
  get info(): EngineInfo | undefined {
    return this.#loaded?.info
  }

  /**
   * The model. It is loaded for all who wait, so that one that gives up (aborted) does not end it for the others; for one
   * that has given up already nothing is begun, because nobody would hear how that ends. After a failure the next call
   * tries again.
   */
  async load(signal?: AbortSignal, watch?: Watcher): Promise<Isaac> {
    checkAborted(signal)
    if (watch) this.#watchers.add(watch)
    this.#loading ??= this.#start().catch((error) => {
      this.#loading = undefined
      throw error
    })
    try {
      return await orAborted(this.#loading, signal)
    } finally {
      if (watch) this.#watchers.delete(watch)
    }
  }

  /**
   * Runs `work` after the calls before it: pictures that wait would take memory. Throws aborted as soon as the signal fires
   * while it waits.
   */
  async inTurn<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const before = this.#last
    let done = () => {}
    this.#last = new Promise<void>((resolve) => {
      done = resolve
    })
    try {
      await orAborted(before, signal)
      return await work()
    } finally {
      // Only when those before have ended as well: this one may have given up its place.
      void before.then(done)
    }
  }

  /** The engine has died: the next call loads the model anew. */
  async forget(): Promise<void> {
    const dead = this.#loading
    this.#loading = undefined
    this.#loaded = undefined
    await dead?.then(
      (isaac) => isaac.dispose(),
      () => {},
    )
  }

  async dispose(): Promise<void> {
    this.#end.abort()
    await this.forget()
  }

  async #start(): Promise<Isaac> {
    const { model, backend, dtype, kvDtype, threads, cache, maxContext, allowPrivateUrls } = this.#options
    const isaac = await this.#load(model, {
      ...{ backend, dtype, kvDtype, threads, cache, maxContext, allowPrivateUrls },
      signal: this.#end.signal,
      onProgress: (step) => {
        if (step.stage === "notice") this.#log(step.message)
        for (const watch of this.#watchers) watch(step)
      },
    })
    const { info } = isaac
    this.#log(`${info.model} is loaded (${info.backend}, ${info.dtype}, ${(info.loadMs / 1000).toFixed(1)} s)`)
    this.#loaded = isaac
    return isaac
  }
}

/** Imported only now: what lists tools needs no engine. */
async function loadIsaac(...request: Parameters<LoadModel>): Promise<Isaac> {
  const { Isaac } = await import("../index")
  return Isaac.load(...request)
}
