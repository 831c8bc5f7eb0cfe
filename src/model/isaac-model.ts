/**
 * IsaacModel: stream in, logits out.
 *
 *     TensorStream ─ embedStream ─▶ [B, T, D] ─ decoder layers ─ final norm ─ lm_head ─▶ logits
 *                    text: embedding matrix       ▲
 *                    images: vision tower         └─ cos, sin from positions and modality mask (3D MRoPE)
 *
 * The model is immutable once loaded: what a conversation remembers is in the DecoderCache it passes in.
 */

import { IsaacError } from "../errors"
import type { Backend, KvSequence, KvType, StoredType, Tensor } from "../ops/backend"
import { type Event, eventTokens, Modality } from "../stream/event"
import { TensorStream } from "../stream/tensor-stream"
import type { Checkpoint } from "../weights/checkpoint"
import { configOf, type IsaacConfig } from "./config"
import { decode } from "./decoder"
import { DecoderCache, type DecoderCacheOptions } from "./decoder-cache"
import type { ForwardHooks } from "./forward-hooks"
import {
  checkStored,
  freeWeights,
  type IsaacWeights,
  type LoadProgress,
  loadWeights,
  sharesEmbedding,
} from "./load-weights"
import { IGNORED_LABEL, type LossSum, meanLoss, negativeLogLikelihood, shiftLabels } from "./loss"
import { inverseFrequencies, plainPositions, ropeDelta, ropeTables } from "./mrope"
import { checkParameters } from "./parameters"
import { chooseStorage, type StorageChoice } from "./storage-choice"
import type { ImagePatches } from "./vision-embeddings"
import { encodeImages } from "./vision-tower"

export interface PlanOptions {
  /** How weight matrices are kept; "auto" as the checkpoint stores them, or q8 or q4 where that does not fit. Default "auto". */
  readonly stored?: StoredType | "auto"
  /** How keys and values are kept. Default: f32, or bf16 where that does not fit. */
  readonly kvStored?: KvType
  /** Most bytes that weights, context and activations may take. Default: the backend's own limit, if it has one. */
  readonly memoryLimit?: number
  /** Context to plan memory for, in tokens. Default: the config's maximum sequence length. */
  readonly maxContext?: number
  /** Most tokens of one forward pass. Default: maxContext (a prompt in one piece). */
  readonly prefillTokens?: number
}

export interface LoadModelOptions extends PlanOptions {
  /** Told of each tensor. */
  readonly onProgress?: (progress: LoadProgress) => void
  readonly signal?: AbortSignal
}

export interface EmbedOptions extends ForwardHooks {
  /** Tokens [N, D] of image events that were encoded before; these events are not encoded again. */
  readonly imageTokens?: ReadonlyMap<Event, Tensor>
}

/** One forward pass. Give `tensorStream`, `inputsEmbeds` or `inputIds`; of several, embeddings come from the last given here. */
export interface ForwardInput {
  /** [B·T] token ids; used when there is nothing better. */
  readonly inputIds?: Int32Array
  /** Rows of `inputIds`. Default 1. */
  readonly batch?: number
  /** Embeddings, positions and modality mask come from it, as far as they are not given themselves. */
  readonly tensorStream?: TensorStream
  /** [B, T, D], or [T, D] for one sequence. */
  readonly inputsEmbeds?: Tensor
  /** [B·T·3] stored (time, row, column). Without them and a stream: (p, p, p), going on where the cache ends. */
  readonly positionIds?: Int32Array
  /** [B·T] 0 image, 1 text, 2 padding. Without it and a stream: all text. */
  readonly modality?: Int32Array
  /** [B·T] ids; −100 does not count. Asks for the loss. */
  readonly labels?: Int32Array
  /** Keys and values so far; the tokens of this pass are added. Without one the pass stands alone. */
  readonly cache?: DecoderCache
  /** Which slot of the cache each row of the batch is. Default 0 … B-1. */
  readonly slots?: readonly number[]
  /** Logits of every token, of each row's last one, or none. Default "all". */
  readonly logits?: "all" | "last" | "none"
}

export interface ForwardOutput {
  /** "all": [B, T, V]; "last": [B, V]. Yours to free, unless a scope is open around the call. */
  readonly logits: Tensor | undefined
  /** Mean cross entropy over the labels that count, NaN when none does; there when labels were given. */
  readonly loss: Promise<number> | undefined
  /** [B] see `ropeDelta`: a next token at cache index c has position c + ropeDelta on all axes. */
  readonly ropeDelta: Int32Array
  readonly cache: DecoderCache | undefined
}

/** Rows of logits that the loss looks at together when nobody asked to see them all. */
const LOSS_ROWS = 128

export class IsaacModel {
  readonly config: IsaacConfig
  readonly backend: Backend
  /** How caches keep keys and values, unless they are asked for otherwise. */
  readonly kvStored: KvType
  readonly #weights: IsaacWeights
  readonly #frequencies: Float32Array

  private constructor(config: IsaacConfig, backend: Backend, weights: IsaacWeights, kvStored: KvType) {
    this.config = config
    this.backend = backend
    this.kvStored = kvStored
    this.#weights = weights
    this.#frequencies = inverseFrequencies(config.text.headDim, config.text.ropeTheta)
  }

  /**
   * How a checkpoint would be kept, and what that takes. Reads no weights, except to compare a stored lm_head with the
   * embedding.
   *
   * Throws bad_config or bad_checkpoint for what contradicts itself, unsupported for a type that the backend lacks or the
   * checkpoint cannot be brought to, out_of_memory with the numbers.
   */
  static async plan(checkpoint: Checkpoint, backend: Backend, options: PlanOptions = {}): Promise<StorageChoice> {
    const config = configOf(checkpoint)
    checkStored(backend, checkpoint, options.stored ?? "auto") // before the plan, which cannot count a type nobody knows
    checkParameters(checkpoint, config)
    return chooseStorage(config, backend.info, {
      ...options,
      maxContext: Math.min(options.maxContext ?? Number.POSITIVE_INFINITY, config.maxSequenceLength),
      tensors: checkpoint.tensors,
      tied: await sharesEmbedding(checkpoint, config),
    })
  }

  /**
   * Read a checkpoint's config and weights. The checkpoint may be closed afterwards.
   *
   * Throws what `plan` throws, not_finite for damaged weights, aborted.
   */
  static async load(checkpoint: Checkpoint, backend: Backend, options: LoadModelOptions = {}): Promise<IsaacModel> {
    const { stored, kvStored } = await IsaacModel.plan(checkpoint, backend, options)
    const config = configOf(checkpoint)
    const weights = await loadWeights(checkpoint, config, backend, { ...options, stored })
    return new IsaacModel(config, backend, weights, kvStored)
  }

  /** Free the weights. Caches are freed by their owners. */
  dispose(): void {
    freeWeights(this.backend, this.#weights)
  }

  /** Room for the keys and values of `maxTokens` tokens, all slots together. */
  newCache(maxTokens: number, options: Omit<DecoderCacheOptions, "maxTokens"> = {}): DecoderCache {
    return new DecoderCache(this.backend, this.config.text, { stored: this.kvStored, ...options, maxTokens })
  }

  /** Image events → their tokens, whole, one image after another: [N, D]. At least one. */
  encodeImages(images: readonly Event[], hooks: ForwardHooks = {}): Tensor {
    const patches = images.map((event) => imagePatches(event))
    return encodeImages(this.backend, patches, this.#weights.vision, this.config.vision, hooks)
  }

  /**
   * What the decoder reads: text and padding through the embedding matrix, images through the vision tower, each token
   * at its place. A partly kept image is encoded whole and then cut; one that is sliced away is not encoded at all.
   *
   * @returns [B, T, D]
   */
  embedStream(stream: TensorStream, options: EmbedOptions = {}): Tensor {
    const { backend } = this
    const [batch, tokens] = stream.shape
    if (batch * tokens === 0) throw new IsaacError("bad_input", "the stream has no tokens to embed")
    return backend.scope(() => {
      // 1. Text and padding: the kept ids of all events. Images: those with a token left.
      const kept = stream.streams.flatMap(({ events }) => events).filter(({ idxRange }) => idxRange[1] > idxRange[0])
      const images = kept.filter(({ type }) => type === "image")
      const texts = kept.filter(({ type }) => type !== "image")
      texts.forEach(checkText)
      const ids = Int32Array.from(texts.flatMap(({ data, idxRange }) => [...data.values.subarray(...idxRange)]))
      const parts: Tensor[] = ids.length > 0 ? [backend.embed(ids, this.#weights.embedding)] : [] // [n, D]
      let rows = ids.length

      // 2. Image tokens, of images not encoded before.
      const firstRow = new Map<Event, number>()
      const known = options.imageTokens
      const unknown = [...new Set(images.filter((event) => !known?.has(event)))]
      if (unknown.length > 0) parts.push(this.encodeImages(unknown, options)) // [N, D]
      for (const event of unknown) {
        firstRow.set(event, rows)
        rows += virtualTokens(event)
      }
      for (const event of new Set(images)) {
        const given = known?.get(event)
        if (!given) continue
        if (given.shape[0] !== virtualTokens(event)) {
          throw new IsaacError(
            "bad_input",
            `${given.shape[0]} tokens were given for an image of ${virtualTokens(event)}`,
          )
        }
        parts.push(given) // [N, D]
        firstRow.set(event, rows)
        rows += virtualTokens(event)
      }

      // 3. Each token takes its row out of these.
      const index = new Int32Array(batch * tokens) // [B·T]
      let at = 0
      let text = 0
      for (const event of kept) {
        for (let i = event.idxRange[0]; i < event.idxRange[1]; i++) {
          index[at++] = event.type === "image" ? firstRow.get(event)! + i : text++
        }
      }
      const x = backend.gatherRows(backend.concatRows(parts), index) // [B·T, D]
      const out = this.#batched(x, batch) // [B, T, D]
      options.onStage?.("inputs_embeds", out)
      return out
    })
  }

  /**
   * Run the decoder. Synchronous: everything has been handed to the backend when it returns; `Backend.read` waits.
   *
   * When a hook throws, nothing was added to the cache.
   */
  forward(input: ForwardInput, hooks: ForwardHooks = {}): ForwardOutput {
    const { backend, config } = this
    const { cache, labels, logits: wanted = "all" } = input
    checkInput(input)
    const [batch, tokens] = this.#shapeOf(input)
    const slots = input.slots ?? Array.from({ length: batch }, (_, b) => b)
    checkLength("slots", slots.length, batch, "one for each row of the batch")
    const positions = this.#positions(input, batch, tokens, slots) // [B·T·3]
    const modality = // [B·T]
      input.modality ?? input.tensorStream?.modalityMask() ?? new Int32Array(batch * tokens).fill(Modality.text)
    checkLength("modality", modality.length, batch * tokens, "one for each token")
    if (labels) checkLength("labels", labels.length, batch * tokens, "one for each token")

    const kv = (cache ?? this.newCache(batch * tokens)).kv
    try {
      const out = backend.scope(() => {
        // 1. Token vectors.
        const embeds = this.#embeddings(input, hooks) // [B·T, D]

        // 2. Their rotations.
        const { headDim } = config.text
        const tables = ropeTables(positions, modality, this.#frequencies)
        const cos = backend.upload(tables.cos, [batch * tokens, headDim])
        const sin = backend.upload(tables.sin, [batch * tokens, headDim])
        hooks.onStage?.("cos", backend.reshape(cos, [batch, tokens, headDim]))
        hooks.onStage?.("sin", backend.reshape(sin, [batch, tokens, headDim]))

        // 3. Where they go in the cache.
        const sequences = slots.map((slot): KvSequence => ({ slot, start: cache?.length(slot) ?? 0, length: tokens }))

        // 4. Decoder layers.
        const pass = { cos, sin, kv, sequences }
        const x = decode(backend, embeds, this.#weights.layers, config.text, pass, this.#batchedStages(hooks, batch)) // [B·T, D]

        // 5. Final norm and lm_head, of the rows that are asked for.
        return this.#head(x, batch, wanted, labels, hooks)
      })
      if (cache) {
        for (const [b, slot] of slots.entries()) {
          cache.commit(slot, positions.subarray(b * tokens * 3, (b + 1) * tokens * 3))
        }
      }
      const deltas = slots.map((slot, b) => cache?.ropeDelta(slot) ?? deltaOf(positions, b, tokens))
      return { ...out, ropeDelta: Int32Array.from(deltas), cache }
    } finally {
      if (!cache) backend.free(kv)
    }
  }

  /** [B, T] of whatever the input is. */
  #shapeOf({
    inputIds,
    batch = 1,
    tensorStream,
    inputsEmbeds,
  }: ForwardInput): readonly [batch: number, tokens: number] {
    const { hiddenSize } = this.config.text
    let shape: readonly [number, number]
    if (inputsEmbeds) {
      const [b, t, d] = inputsEmbeds.shape.length === 2 ? [1, ...inputsEmbeds.shape] : inputsEmbeds.shape
      if (inputsEmbeds.shape.length > 3 || d !== hiddenSize) {
        throw new IsaacError("bad_input", `inputsEmbeds is [${inputsEmbeds.shape}]; [B, T, ${hiddenSize}] is needed`)
      }
      shape = [b, t]
    } else if (tensorStream) shape = tensorStream.shape
    else if (inputIds) {
      if (!Number.isSafeInteger(batch) || batch < 1 || inputIds.length % batch !== 0) {
        throw new IsaacError("bad_input", `${inputIds.length} ids do not make ${batch} rows of the same length`)
      }
      shape = [batch, inputIds.length / batch]
    } else {
      throw new IsaacError("bad_input", "forward needs one of tensorStream, inputsEmbeds and inputIds")
    }
    if (shape[0] * shape[1] === 0) throw new IsaacError("bad_input", "forward was given no tokens")
    return shape
  }

  /** Stored position ids [B·T·3] of the input. */
  #positions(
    { positionIds, tensorStream, cache }: ForwardInput,
    batch: number,
    tokens: number,
    slots: readonly number[],
  ): Int32Array {
    if (!positionIds && tensorStream && slots.some((slot) => (cache?.length(slot) ?? 0) > 0)) {
      throw new IsaacError(
        "bad_input",
        "a stream counts its positions from 0, but the cache already holds tokens: pass the positionIds of these tokens " +
          "in the whole stream",
      )
    }
    const given = positionIds ?? tensorStream?.positions()
    if (given) {
      checkLength("positionIds", given.length, 3 * batch * tokens, "three for each token")
      return given
    }
    const out = new Int32Array(3 * batch * tokens)
    for (const [b, slot] of slots.entries()) {
      out.set(plainPositions(cache?.nextPosition(slot) ?? 0, tokens), 3 * b * tokens)
    }
    return out
  }

  /** [B·T, D] */
  #embeddings({ inputIds, tensorStream, inputsEmbeds }: ForwardInput, hooks: ForwardHooks): Tensor {
    const { backend } = this
    const flat = (t: Tensor) => (t.shape.length === 2 ? t : backend.reshape(t, [t.shape[0] * t.shape[1], t.shape[2]]))
    if (inputsEmbeds) return flat(inputsEmbeds)
    if (tensorStream) return flat(this.embedStream(tensorStream, hooks))
    return backend.embed(inputIds!, this.#weights.embedding)
  }

  /** x [B·T, D] → logits of the rows asked for, and the loss. */
  #head(
    x: Tensor,
    batch: number,
    wanted: "all" | "last" | "none",
    labels: Int32Array | undefined,
    hooks: ForwardHooks,
  ): Pick<ForwardOutput, "logits" | "loss"> {
    const { backend } = this
    const { norm, lmHead } = this.#weights
    const tokens = x.shape[0] / batch
    const normed = (rows: Tensor) => backend.rmsNorm(rows, norm, this.config.text.rmsEps)

    if (wanted === "all") {
      const hidden = normed(x) // [B·T, D]
      hooks.onStage?.("final_norm", backend.reshape(hidden, [batch, tokens, hidden.shape[1]]))
      const rows = backend.linear(hidden, lmHead) // [B·T, V]
      const logits = this.#batched(rows, batch) // [B, T, V]
      hooks.onStage?.("logits", logits)
      const loss = labels && this.#loss(backend.read(rows), shiftLabels(labels, batch))
      return { logits, loss }
    }

    const loss = labels && this.#lossByRows(normed(x), shiftLabels(labels, batch))
    if (wanted === "none") return { logits: undefined, loss }
    const last = Int32Array.from({ length: batch }, (_, b) => (b + 1) * tokens - 1)
    const hidden = normed(tokens === 1 ? x : backend.gatherRows(x, last)) // [B, D]
    hooks.onStage?.("final_norm", hidden)
    const logits = backend.linear(hidden, lmHead) // [B, V]
    hooks.onStage?.("logits", logits)
    return { logits, loss }
  }

  async #loss(logits: Promise<Float32Array>, targets: Int32Array): Promise<number> {
    return meanLoss([negativeLogLikelihood(await logits, targets)])
  }

  /** The loss of hidden rows [B·T, D] with the logits of a few rows at a time in memory. */
  async #lossByRows(hidden: Tensor, targets: Int32Array): Promise<number> {
    const { backend } = this
    const pieces: Promise<LossSum>[] = []
    for (let start = 0; start < targets.length; start += LOSS_ROWS) {
      const piece = targets.subarray(start, start + LOSS_ROWS)
      if (piece.every((target) => target === IGNORED_LABEL)) continue
      const read = backend.scope(() => {
        const rows = backend.rows(hidden, start, start + piece.length) // [n, D]
        // In an array: a scope must not return a promise itself, it might be waited for.
        return [backend.read(backend.linear(rows, this.#weights.lmHead))] // [n, V]
      })[0]
      pieces.push(read.then((logits) => negativeLogLikelihood(logits, piece)))
    }
    return meanLoss(await Promise.all(pieces))
  }

  /** x [B·T, D] → a tensor [B, T, D] of its own, since a view could not be freed by whoever gets it. */
  #batched(x: Tensor, batch: number): Tensor {
    const { backend } = this
    const [rows, width] = x.shape
    const tokens = rows / batch
    return backend.concatRows(
      Array.from({ length: batch }, (_, b) =>
        backend.reshape(backend.rows(x, b * tokens, (b + 1) * tokens), [1, tokens, width]),
      ),
    )
  }

  /** The same hooks, seeing [B·T, D] as [B, T, D]. */
  #batchedStages(hooks: ForwardHooks, batch: number): ForwardHooks {
    return {
      checkAbort: () => hooks.checkAbort?.(),
      onStage: (name, x) =>
        hooks.onStage?.(name, this.backend.reshape(x, [batch, x.shape[0] / batch, ...x.shape.slice(1)])),
    }
  }
}

/** An image event as the vision tower takes it. */
function imagePatches({ type, data, dimsReal }: Event): ImagePatches {
  const [frames, rows, columns] = dimsReal
  if (type !== "image" || dimsReal.length !== 3 || frames !== 1) {
    throw new IsaacError(
      "bad_input",
      `a still image of dims [1, rows, columns] is needed, not an event of type ${type} and dims [${dimsReal}]`,
    )
  }
  if (!(data.values instanceof Float32Array)) {
    throw new IsaacError("bad_input", "an image event holds patches as Float32Array, not ids")
  }
  return { rows, columns, values: data.values }
}

/** Text and padding are ids, one for each token: any other rows would shift the tokens behind them. */
function checkText(event: Event): void {
  const { type, data } = event
  const { values, rows, width } = data
  const tokens = virtualTokens(event)
  if (!(values instanceof Int32Array) || width !== 1 || rows !== tokens) {
    throw new IsaacError(
      "bad_input",
      `a ${type} event holds one id for each token as Int32Array, not ${rows} rows of ${width} for ${tokens} tokens`,
    )
  }
}

/** What types promise and callers of plain JavaScript do not: a list of NaN would give logits of NaN, silently. */
function checkInput(input: ForwardInput): void {
  for (const name of ["inputIds", "positionIds", "modality", "labels"] as const) {
    if (input[name] !== undefined && !(input[name] instanceof Int32Array)) {
      throw new IsaacError("bad_input", `${name} must be an Int32Array`)
    }
  }
  const { tensorStream, logits } = input
  if (tensorStream !== undefined && !(tensorStream instanceof TensorStream)) {
    throw new IsaacError("bad_input", "tensorStream must be a TensorStream, as the processor returns it")
  }
  if (logits !== undefined && logits !== "all" && logits !== "last" && logits !== "none") {
    throw new IsaacError("bad_input", `logits is "${String(logits)}"; all, last and none are to choose from`)
  }
}

/** Tokens of the whole event, whatever part of it is kept. */
function virtualTokens(event: Event): number {
  return eventTokens(event, { partial: false })
}

/** rope_delta of row b without a cache. */
function deltaOf(positions: Int32Array, b: number, tokens: number): number {
  let largest = 0
  for (let i = 3 * b * tokens; i < 3 * (b + 1) * tokens; i++) largest = Math.max(largest, positions[i])
  return ropeDelta(largest, tokens)
}

function checkLength(name: string, length: number, expected: number, why: string): void {
  if (length !== expected)
    throw new IsaacError("bad_input", `${name} has ${length} entries; ${expected} are needed, ${why}`)
}
