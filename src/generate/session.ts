/**
 * A conversation's memory: the keys and values of all tokens so far, in one slot of the engine's cache.
 *
 * A prompt is always given whole; the session reuses the longest prefix that it has in common with what it holds, and
 * computes the rest. Steps take over one token after another, so whatever breaks off (an abort, an error), the session
 * stands at its last complete token and can go on from there.
 */

import { IsaacError } from "../errors"
import type { ForwardInput } from "../model/isaac-model"
import type { KvNumbers, Tensor } from "../ops/backend"
import { createEvent, type Event, type TensorStream } from "../stream"
import { type AbortFlag, checkAborted, yieldToEventLoop } from "./abort"
import { type HeldTokens, identifyPrompt, PromptKeys } from "./prompt-keys"
import type { PoolMember, SessionPool } from "./session-pool"

/** What became of a prompt. */
export interface Prefilled {
  /** Logits of the prompt's last token, [V]. */
  readonly logits: Float32Array
  /** Leading tokens that were in the session already. */
  readonly reused: number
  readonly visionMs: number
  readonly prefillMs: number
}

/** How far a prompt is: pictures seen by the vision tower, tokens in the session. */
export type PrefillProgress = (stage: "pictures" | "prompt", done: number, total: number) => void

/** The decoder gives up its thread after about so many milliseconds of a prompt. Then other sessions have their turn. */
const CHUNK_MS = 50
const FIRST_CHUNK = 64
const SMALLEST_CHUNK = 16
export const LARGEST_CHUNK = 512

export class Session implements PoolMember, AsyncDisposable {
  readonly #pool: SessionPool
  readonly #slot: number
  /** What the slot holds, token by token. */
  readonly #keys = new PromptKeys()
  #chunk = FIRST_CHUNK
  /** Claimed for a generation. */
  #claimed = false
  /** Computations that are under way. */
  #computing = 0
  /** Made room for others since its last prompt. */
  #evicted = false
  #disposed = false

  constructor(pool: SessionPool) {
    this.#pool = pool
    this.#slot = pool.enter(this)
  }

  /** Tokens that the session holds. */
  get length(): number {
    return this.#keys.length
  }

  /** Whether its keys and values may be taken away, because nothing goes on from them now. */
  get idle(): boolean {
    return !this.#claimed && this.#computing === 0
  }

  /** How many more tokens it takes. */
  get room(): number {
    return Math.max(0, this.#pool.maxContext - this.length)
  }

  /** Claim the session for one generation; call the result when it is over. Throws bad_input while another one runs. */
  claim(): () => void {
    this.#check()
    if (this.#claimed) {
      throw new IsaacError(
        "bad_input",
        "this session is answering already, or being saved; await that first, or abort the answer",
      )
    }
    this.#claimed = true
    this.#pool.touch(this)
    return () => {
      this.#claimed = false
      this.#pool.touch(this)
    }
  }

  /** Note a computation; call the result when it is over. */
  beginComputing(): () => void {
    this.#computing++
    this.#pool.touch(this)
    return () => {
      this.#computing--
      this.#pool.touch(this)
    }
  }

  /** Let go of the keys and values, to make room for another session. The next prompt computes them anew. */
  evict(): void {
    this.truncate(0)
    this.#evicted = true
  }

  /**
   * Bring the session to the end of a prompt.
   *
   * @param prompt all of it, batch 1
   * @param onProgress told when a picture or a chunk of tokens is done
   * Throws too_long when the prompt does not fit, out_of_memory, aborted when the flag was set; what was computed till
   * then stays.
   */
  prefill(prompt: TensorStream, abort?: AbortFlag, onProgress: PrefillProgress = () => {}): Promise<Prefilled> {
    return computing([this], () => this.#prefill(prompt, abort, onProgress))
  }

  async #prefill(prompt: TensorStream, abort: AbortFlag | undefined, onProgress: PrefillProgress): Promise<Prefilled> {
    this.#check()
    const pool = this.#pool
    const { model, maxContext } = pool
    const [batch, tokens] = prompt.shape
    if (batch !== 1 || tokens === 0) {
      throw new IsaacError("bad_input", `a prompt is one stream of at least one token, not [${batch}, ${tokens}]`)
    }
    if (tokens > maxContext) {
      throw new IsaacError(
        "too_long",
        `the prompt has ${tokens} tokens and a session takes ${maxContext}; shorten it or load with a larger maxContext`,
      )
    }

    // 1. Drop what the prompt does not begin with. The last token is computed anew in any case: its logits are wanted.
    const { keys, imageHashes } = await identifyPrompt(prompt, pool.knownImages)
    this.#check()
    checkAborted(abort)
    const reused = Math.min(this.#keys.commonPrefix(keys), tokens - 1)
    this.truncate(reused)
    this.#evicted = false
    pool.reserve([this.#slot], tokens - reused) // a prompt that has no room fails before anything is computed
    const rest = prompt.slice(reused, tokens)

    const images = new ImageLease(pool)
    let embedded: Tensor | undefined
    const prefillStart = performance.now()
    try {
      // 2. The images of the rest, from the cache or through the vision tower.
      const shown = rest.events.filter(({ type }) => type === "image")
      for (const [i, event] of shown.entries()) {
        onProgress("pictures", i, shown.length)
        await images.take(event, imageHashes.get(event.data.values)!, abort)
        this.#check()
        onProgress("pictures", i + 1, shown.length)
      }

      // 3. Embed the rest.
      const imageTokens = images.tokens
      embedded = pool.compute(() => model.embedStream(rest, { imageTokens }), abort) // [1, T', D]

      // 4. The decoder, in chunks.
      const computed = (done: number) => onProgress("prompt", done, tokens)
      computed(reused)
      const logits = await this.#decodeChunks(prompt, keys, reused, embedded, abort, computed)
      return {
        logits,
        reused,
        visionMs: images.encodeMs,
        prefillMs: performance.now() - prefillStart - images.encodeMs,
      }
    } finally {
      images.end()
      if (embedded !== undefined) {
        model.backend.free(embedded)
      }
    }
  }

  /** Take over one more token and give the logits that follow it, [V]. */
  async step(id: number, abort?: AbortFlag): Promise<Float32Array> {
    return Session.advance([this], Int32Array.of(id), abort)
  }

  /**
   * Take over several tokens in one pass.
   *
   * @param logits "all": the logits that follow each of them, [T·V]; "last": those of the last one, [V]
   */
  async steps(ids: readonly number[], logits: "all" | "last", abort?: AbortFlag): Promise<Float32Array> {
    return computing([this], () => Session.#advance([this], Int32Array.from(ids), abort, logits))
  }

  /**
   * Take over the same number of text tokens in each of several sessions of one engine, in one pass over the weights.
   *
   * @param ids [S·T], those of the first session first
   * @returns the logits that follow each of them, [S·T·V]
   * Throws too_long when one has no room for them, out_of_memory, bad_input when one has lost what it would go on from.
   * A pass that is broken off leaves all sessions as they were.
   */
  static advance(sessions: readonly Session[], ids: Int32Array, abort?: AbortFlag): Promise<Float32Array> {
    return computing(sessions, () => Session.#advance(sessions, ids, abort))
  }

  static async #advance(
    sessions: readonly Session[],
    ids: Int32Array,
    abort: AbortFlag | undefined,
    wanted: "all" | "last" = "all",
  ): Promise<Float32Array> {
    const pool = sessions[0].#pool
    const { model, cache, maxContext } = pool
    const tokens = ids.length / sessions.length
    for (const session of sessions) {
      session.#check()
      if (session.#evicted) {
        throw new IsaacError("bad_input", "the session's keys and values made room for others; give it a whole prompt")
      }
      if (session.length + tokens > maxContext) {
        throw new IsaacError("too_long", `the session is full: it holds ${session.length} of ${maxContext} tokens`)
      }
    }
    const slots = sessions.map((session) => session.#slot)
    const starts = slots.map((slot) => cache.nextPosition(slot))
    const hooks = { checkAbort: () => checkAborted(abort) }
    const input: ForwardInput = {
      inputIds: ids,
      batch: slots.length,
      cache,
      slots,
      logits: tokens === 1 ? "last" : wanted,
    }
    pool.reserve(slots, tokens)
    const { logits } = Session.#run(sessions, () => model.forward(input, hooks), abort) // [S, V] or [S, T, V]
    for (const [s, session] of sessions.entries()) {
      for (let t = 0; t < tokens; t++) {
        const position = starts[s] + t
        session.#keys.push(ids[s * tokens + t], undefined, position, position, position)
      }
    }
    return sessions[0].#read(logits!)
  }

  /** Forget all but the first `length` tokens. */
  truncate(length: number): void {
    this.#check()
    this.#pool.cache.truncate(length, this.#slot)
    this.#keys.truncate(Math.min(length, this.#keys.length))
  }

  /** Another session that holds the same tokens; whole blocks of keys and values are shared. */
  fork(): Session {
    this.#check()
    const copy = new Session(this.#pool)
    try {
      this.#pool.cache.copy(this.#slot, copy.#slot, this.length)
    } catch (error) {
      this.#pool.leave(copy)
      throw error
    }
    copy.#keys.append(this.#keys, 0, this.length)
    copy.#evicted = this.#evicted
    return copy
  }

  /** What the session holds; `exportLayer` has the keys and values that belong to it. */
  held(): HeldTokens {
    this.#check()
    return this.#keys.held()
  }

  /** Keys and values of one layer, [2, length, kvHeads, headDim], as they are stored. */
  exportLayer(layer: number): Promise<KvNumbers> {
    this.#check()
    return this.#pool.cache.export(this.#slot, layer)
  }

  /**
   * Take over, into a new session, what `held` and `exportLayer` gave.
   *
   * Throws bad_input or not_finite for numbers that are none, out_of_memory; the session is empty then.
   */
  restore(held: HeldTokens, layer: (index: number) => Promise<KvNumbers>): Promise<void> {
    return computing([this], async () => {
      this.#check()
      const pool = this.#pool
      const { cache, model } = pool
      this.truncate(0)
      try {
        pool.reserve([this.#slot], held.ids.length)
        for (let i = 0; i < model.config.text.layers; i++) {
          const numbers = await layer(i)
          this.#check()
          pool.compute(() => cache.import(this.#slot, i, numbers), undefined)
        }
        cache.commit(this.#slot, held.positions)
        this.#keys.append(PromptKeys.of(held), 0, held.ids.length)
      } finally {
        if (!pool.closed && !this.#disposed) cache.truncate(this.length, this.#slot)
      }
    })
  }

  /** Free the session's keys and values. A generation that is running on it fails at its next token. */
  async dispose(): Promise<void> {
    if (!this.#disposed) {
      if (!this.#pool.closed) {
        this.truncate(0)
      }
      this.#pool.leave(this)
      this.#disposed = true
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }

  /** Tokens `start` … of the prompt, whose embeddings are [1, T − start, D]; the logits of the last one, [V]. */
  async #decodeChunks(
    prompt: TensorStream,
    keys: PromptKeys,
    start: number,
    embedded: Tensor,
    abort: AbortFlag | undefined,
    computed: (tokens: number) => void,
  ): Promise<Float32Array> {
    const { backend } = this.#pool.model
    const tokens = keys.length
    const flat = backend.reshape(embedded, embedded.shape.slice(1)) // [T − start, D]
    const positions = prompt.positions() // [T·3]
    const modality = prompt.modalityMask() // [T]
    for (let at = start; ; ) {
      const end = Math.min(at + this.#chunk, tokens)
      const chunkStart = performance.now()
      const logits = this.#forward(
        {
          inputsEmbeds: backend.rows(flat, at - start, end - start), // [n, D]
          positionIds: positions.subarray(3 * at, 3 * end),
          modality: modality.subarray(at, end),
          logits: end === tokens ? "last" : "none", // lm_head is needed for the last token only
        },
        end - at,
        abort,
      )
      this.#keys.append(keys, at, end)
      computed(end)
      if (logits !== undefined) {
        return this.#read(logits)
      }
      this.#adaptChunk(performance.now() - chunkStart)
      at = end
      // The event loop and the signal get their turn.
      await yieldToEventLoop()
      this.#check()
    }
  }

  /** One pass of the decoder over new tokens of this slot; when it is broken off, the slot stays as it was. */
  #forward(input: Omit<ForwardInput, "cache" | "slots">, tokens: number, abort?: AbortFlag): Tensor | undefined {
    const { model, cache } = this.#pool
    const hooks = { checkAbort: () => checkAborted(abort) }
    this.#pool.reserve([this.#slot], tokens)
    return Session.#run([this], () => model.forward({ ...input, cache, slots: [this.#slot] }, hooks).logits, abort)
  }

  /** A pass over tokens that come to these sessions. The room it took for them goes with it when it fails. */
  static #run<T>(sessions: readonly Session[], pass: () => T, abort: AbortFlag | undefined): T {
    const pool = sessions[0].#pool
    try {
      return pool.compute(pass, abort)
    } catch (error) {
      if (!pool.closed) {
        for (const session of sessions) pool.cache.truncate(session.length, session.#slot)
      }
      throw error
    }
  }

  /** Logits as numbers; their tensor is freed. */
  async #read(logits: Tensor): Promise<Float32Array> {
    const { backend } = this.#pool.model
    try {
      return await backend.read(logits)
    } finally {
      backend.free(logits)
    }
  }

  /**
   * Size the next chunk so that the thread looks at the event loop often enough. A session that is alone needs to hear
   * of aborts only, which shared memory tells between layers.
   */
  #adaptChunk(elapsedMs: number): void {
    const { kernelFlag, model, running } = this.#pool
    const looks = kernelFlag.shared && running === 1 ? model.config.text.layers : 1
    const fitting = Math.floor((this.#chunk * CHUNK_MS * looks) / Math.max(elapsedMs, 1e-3))
    this.#chunk = Math.max(SMALLEST_CHUNK, Math.min(LARGEST_CHUNK, fitting))
  }

  #check(): void {
    if (this.#pool.closed) {
      throw new IsaacError("bad_input", "the model was disposed of; load it again")
    }
    if (this.#disposed) {
      throw new IsaacError("bad_input", "this session was disposed of; open a new one")
    }
  }
}

/** While it runs, these sessions are not idle. */
async function computing<T>(sessions: readonly Session[], run: () => Promise<T>): Promise<T> {
  const ends = sessions.map((session) => session.beginComputing())
  try {
    return await run()
  } finally {
    for (const end of ends) end()
  }
}

/** The images of one prompt, kept in the cache while the prompt needs them. */
class ImageLease {
  readonly tokens = new Map<Event, Tensor>()
  /** Time spent in the vision tower. */
  encodeMs = 0
  readonly #pool: SessionPool
  readonly #hashes: string[] = []

  constructor(pool: SessionPool) {
    this.#pool = pool
  }

  /** Find or compute the tokens [n, D] of an image. */
  async take(event: Event, hash: string, abort: AbortFlag | undefined): Promise<void> {
    const { model, images } = this.#pool
    let tokens = images.acquire(hash)
    if (tokens === undefined) {
      const start = performance.now()
      const patches = await this.#pool.knownImages.get(event.data.values)?.patches()
      const whole = patches === undefined ? event : createEvent({ ...event, data: patches })
      const hooks = { checkAbort: () => checkAborted(abort) }
      const encoded = this.#pool.compute(() => model.encodeImages([whole], hooks), abort) // [n, D]
      this.encodeMs += performance.now() - start
      tokens = images.add(hash, encoded)
      await yieldToEventLoop()
    }
    this.#hashes.push(hash)
    this.tokens.set(event, tokens)
  }

  end(): void {
    for (const hash of this.#hashes) {
      this.#pool.images.release(hash)
    }
  }
}
