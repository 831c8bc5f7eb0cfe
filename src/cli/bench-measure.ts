/** What `isaac bench` does with a loaded model: look at the picture, read the prompt, write tokens; each timed. */

import { setImmediate as nextTurn } from "node:timers/promises"
import type { DecoderCache, ForwardInput, IsaacModel, Tensor } from "../internal"
import { LARGEST_CHUNK } from "../internal"
import type { BenchPrompt } from "./bench-prompt"

export type Phase = "vision" | "prefill" | "decode" | "batch"

export interface BenchWork {
  readonly prompt: BenchPrompt
  /** N: the first of them is a result of the prompt, each of the others of one step. */
  readonly newTokens: number
  /** Sequences of the second decoding; 1: there is none. */
  readonly batch: number
  readonly signal?: AbortSignal
  /** Told around each phase, for whoever watches the operations. */
  readonly onPhase?: (phase: Phase | undefined) => void
}

/** Milliseconds, and the ids that came out. */
export interface BenchRun {
  /** Undefined without a picture. */
  readonly visionMs: number | undefined
  readonly prefillMs: number
  /** Of the N − 1 steps. */
  readonly decodeMs: number
  /** Of the N − 1 steps of all sequences; undefined where the batch is 1. */
  readonly batchMs: number | undefined
  /** [N] the likeliest ids. */
  readonly ids: readonly number[]
  /** The same of each sequence of the batch: sequence b begins with the prompt's likeliest id but b. */
  readonly batchIds: readonly (readonly number[])[]
}

/**
 * One run over everything. Throws what operations throw, and the signal's reason, which is looked at between chunks of
 * the prompt and between steps.
 */
export async function runBench(model: IsaacModel, work: BenchWork): Promise<BenchRun> {
  const { prompt, newTokens, batch } = work
  const { backend } = model
  const clock = new Clock(work)
  // Every sequence has blocks of its own, the last of them not full.
  const cache = model.newCache(batch * (prompt.tokens + newTokens + BLOCK_ROOM))
  let picture: Tensor | undefined
  try {
    // 1. The vision tower.
    const { image } = prompt
    if (image) picture = await clock.time("vision", () => model.encodeImages([image])) // [n, D]
    const visionMs = image && clock.take()

    // 2. The prompt, its picture's tokens being known.
    const first = await prefill(model, prompt, picture, cache, clock, batch)
    const prefillMs = clock.take()

    // 3. One sequence, a token at a time.
    const [ids] = await decode(model, cache, [first[0]], newTokens, clock, "decode")
    const decodeMs = clock.take()
    if (batch === 1) return { visionMs, prefillMs, decodeMs, batchMs: undefined, ids, batchIds: [] }

    // 4. Several sequences in one pass over the weights.
    await copyPrompt(model, prompt, cache, batch)
    const batchIds = await decode(model, cache, first, newTokens, clock, "batch")
    return { visionMs, prefillMs, decodeMs, batchMs: clock.take(), ids, batchIds }
  } finally {
    cache.free()
    if (picture) backend.free(picture)
  }
}

/** More tokens than a block of any backend's cache has. */
const BLOCK_ROOM = 256

/** Adds up the time of computations; between them the event loop has its turn, which is not counted. */
class Clock {
  #ms = 0
  readonly #work: BenchWork

  constructor(work: BenchWork) {
    this.#work = work
  }

  async time<T>(phase: Phase, compute: () => T | Promise<T>): Promise<T> {
    const { signal, onPhase } = this.#work
    await nextTurn()
    signal?.throwIfAborted()
    onPhase?.(phase)
    const start = performance.now()
    try {
      return await compute()
    } finally {
      this.#ms += performance.now() - start
      onPhase?.(undefined)
    }
  }

  /** Milliseconds since the last call. */
  take(): number {
    const ms = this.#ms
    this.#ms = 0
    return ms
  }
}

/** All of the prompt into slot 0; the `count` likeliest ids to follow it. */
async function prefill(
  model: IsaacModel,
  { stream, image, tokens }: BenchPrompt,
  picture: Tensor | undefined,
  cache: DecoderCache,
  clock: Clock,
  count: number,
): Promise<number[]> {
  const { backend } = model
  const imageTokens = image && picture ? new Map([[image, picture]]) : undefined
  const positions = stream.positions() // [T·3]
  const modality = stream.modalityMask() // [T]
  const embedded = await clock.time("prefill", () => model.embedStream(stream, { imageTokens })) // [1, T, D]
  try {
    const flat = backend.reshape(embedded, embedded.shape.slice(1)) // [T, D]
    for (let at = 0; ; at += LARGEST_CHUNK) {
      const end = Math.min(at + LARGEST_CHUNK, tokens)
      const input: ForwardInput = {
        inputsEmbeds: backend.rows(flat, at, end), // [n, D]
        positionIds: positions.subarray(3 * at, 3 * end),
        modality: modality.subarray(at, end),
        cache,
        logits: end === tokens ? "last" : "none",
      }
      const ids = await clock.time("prefill", () => likeliest(model, input, count))
      if (ids) return [...ids]
    }
  } finally {
    backend.free(embedded)
  }
}

/** Go on from the first ids, one of each slot; all ids of each slot. The end of the sequence is a token like any other. */
async function decode(
  model: IsaacModel,
  cache: DecoderCache,
  first: readonly number[],
  newTokens: number,
  clock: Clock,
  phase: Phase,
): Promise<number[][]> {
  const written = first.map((id) => [id])
  const slots = first.map((_, slot) => slot)
  let inputIds: Int32Array = Int32Array.from(first)
  for (let step = 1; step < newTokens; step++) {
    const input: ForwardInput = { inputIds, batch: slots.length, slots, cache, logits: "last" }
    const ids = (await clock.time(phase, () => likeliest(model, input, 1)))!
    for (const [b, id] of ids.entries()) written[b].push(id)
    inputIds = ids
  }
  return written
}

/** One pass; the `count` likeliest ids behind each row, or undefined where no logits are asked for. */
async function likeliest(model: IsaacModel, input: ForwardInput, count: number): Promise<Int32Array | undefined> {
  const { backend } = model
  const { logits } = model.forward(input) // [B, V]
  if (!logits) return undefined
  try {
    const ids = count === 1 ? backend.argmax(logits) : topIds(model, logits, count) // [B] or [B, count]
    try {
      return Int32Array.from(await backend.read(ids))
    } finally {
      backend.free(ids)
    }
  } finally {
    backend.free(logits)
  }
}

function topIds({ backend }: IsaacModel, logits: Tensor, count: number): Tensor {
  return backend.scope(() => backend.topK(logits, count).indices)
}

/** The prompt's keys and values from slot 0 to all others, each in memory of its own as those of different prompts are. */
async function copyPrompt(
  model: IsaacModel,
  { stream, tokens }: BenchPrompt,
  cache: DecoderCache,
  batch: number,
): Promise<void> {
  cache.truncate(tokens)
  for (let slot = 1; slot < batch; slot++) {
    for (let layer = 0; layer < model.config.text.layers; layer++) {
      cache.import(slot, layer, await cache.export(0, layer))
    }
    cache.commit(slot, stream.positions())
  }
}
