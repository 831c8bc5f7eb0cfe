/**
 * From logits to the next token: greedy, or drawn at a temperature from the top-k, top-p and min-p candidates.
 *
 * The steps, in this order: logit bias and penalties (`penalties.ts`; they count when greedy too), temperature, top-k,
 * top-p, min-p, draw. The logits come as plain numbers and everything here is double arithmetic, so that a seed gives
 * the same tokens on every backend whose logits agree.
 */

import { IsaacError } from "../errors"
import { numberIn } from "./option-ranges"
import { Penalties, type PenaltyOptions, type TokenLookup } from "./penalties"
import { Random } from "./random"
import type { TokenSet } from "./token-trie"

export interface SamplingOptions extends PenaltyOptions {
  /** 0 (the default) takes the likeliest token; higher draws more freely. */
  readonly temperature?: number
  /** Draw from the k likeliest tokens only; 0 (the default) sets no limit. */
  readonly topK?: number
  /** Draw from the fewest tokens whose probabilities reach this sum; 1 (the default) sets no limit, 0 leaves one. */
  readonly topP?: number
  /** Draw from tokens at least this fraction as likely as the likeliest; 0 (the default) sets no limit. */
  readonly minP?: number
  /** Same seed, same tokens; default: a random one. */
  readonly seed?: number
}

/** Candidates in descending order of logit, ties by lower id. */
interface Candidates {
  readonly ids: Int32Array
  /** Unnormalised probabilities: exp((logit − max) / temperature). */
  readonly weights: Float64Array
}

/** What a sampler may know of its answer's surroundings. */
export interface SamplerContext {
  /** Ids of the prompt's text; asked for only when they matter. */
  readonly prompt?: () => Iterable<number>
  /** Finds the tokens that `logitBias` names by their text. */
  readonly idsOf?: TokenLookup
}

/** What a guide leaves to choose from. */
export interface Choice {
  readonly tokens: TokenSet
  /** Ids that end the answer: they may come when it may end here, and else not, whatever `tokens` has. */
  readonly stopIds: readonly number[]
  readonly mayEnd: boolean
}

/** Picks tokens from rows of logits. Holds the random state and the tokens seen: one sampler belongs to one answer. */
export class Sampler {
  readonly temperature: number
  readonly topK: number
  readonly topP: number
  readonly minP: number
  /** The seed in use, also when it was drawn at random: give it again to repeat the answer. */
  readonly seed: number
  /** Ids 0 … size-1 may be picked. */
  readonly size: number
  readonly #random: Random
  readonly #penalties: Penalties

  /**
   * @param size ids that the tokenizer has: the embedding has more rows than that, which are never sampled
   * Throws bad_input for options out of range.
   */
  constructor(size: number, options: SamplingOptions = {}, context: SamplerContext = {}) {
    this.size = size
    this.temperature = numberIn("temperature", options.temperature ?? 0, { low: 0, high: 100 })
    this.topK = numberIn("topK", options.topK ?? 0, { low: 0, high: Number.MAX_SAFE_INTEGER, integer: true })
    this.topP = numberIn("topP", options.topP ?? 1, { low: 0, high: 1 })
    this.minP = numberIn("minP", options.minP ?? 0, { low: 0, high: 1 })
    this.seed = checkSeed(options.seed)
    this.#random = new Random(this.seed)
    this.#penalties = new Penalties(size, options, context.prompt ?? (() => []), context.idsOf)
  }

  /**
   * The next token for one row of logits; from then on it counts as seen.
   *
   * @param logits [V], V ≥ size
   * @param choice without it every token may come
   * Throws not_finite when a logit that may be picked is NaN or +∞, or all are −∞; bad_input when `logitBias` bans all
   * tokens of the choice.
   */
  next(logits: Float32Array, choice?: Choice): number {
    if (logits.length < this.size) {
      throw new IsaacError("bad_input", `${logits.length} logits for a tokenizer of ${this.size} ids`)
    }
    const adjusted = this.#penalties.adjust(logits)
    const id = this.#pick(choice === undefined ? adjusted : chosenFrom(adjusted, this.size, choice, this.#penalties))
    this.#penalties.add(id)
    return id
  }

  /** A token that comes without being picked: from now on it counts as seen. */
  take(id: number): void {
    this.#penalties.add(id)
  }

  /** Whether a bias rules a token out. */
  bans(id: number): boolean {
    return this.#penalties.bans(id)
  }

  #pick(logits: Float32Array | Float64Array): number {
    const best = largest(logits, this.size)
    if (this.temperature === 0 || this.topK === 1) {
      return best
    }
    const { ids, weights } = this.#candidates(logits, logits[best])
    // Walk down the candidates until their probabilities pass a uniform draw.
    let total = 0
    for (const weight of weights) {
      total += weight
    }
    let left = this.#random.next() * total
    for (let i = 0; i < ids.length; i++) {
      left -= weights[i]
      if (left < 0) {
        return ids[i]
      }
    }
    return ids[ids.length - 1] // rounding left a crumb behind the last one
  }

  #candidates(logits: Float32Array | Float64Array, max: number): Candidates {
    // 1. Probabilities up to a factor, that of the likeliest token being 1: weights [size].
    const weights = new Float64Array(this.size)
    for (let id = 0; id < this.size; id++) {
      weights[id] = Math.exp((logits[id] - max) / this.temperature)
    }
    // 2. Sort those that can be among the chosen; sorting all 150k for each token would cost more than a decode step.
    const floor =
      this.topK > 0 && this.topK < this.size
        ? kthLargest(weights, this.topK)
        : Math.max(nucleusFloor(weights, this.topP), this.minP)
    const chosen: number[] = []
    for (let id = 0; id < this.size; id++) {
      if (weights[id] >= floor && weights[id] > 0) {
        chosen.push(id)
      }
    }
    chosen.sort((a, b) => weights[b] - weights[a] || a - b)
    if (this.topK > 0) {
      chosen.length = Math.min(chosen.length, this.topK) // ties at the k-th place: the lower ids stay
    }
    // 3. The nucleus: the shortest head whose share reaches topP (of what topK left).
    if (this.topP < 1) {
      const total =
        this.topK > 0
          ? chosen.reduce((sum, id) => sum + weights[id], 0)
          : weights.reduce((sum, weight) => sum + weight, 0)
      let sum = 0
      let count = 0
      while (count < chosen.length && sum < this.topP * total) {
        sum += weights[chosen[count++]]
      }
      chosen.length = Math.max(count, 1)
    }
    // 4. Nothing that is much less likely than the likeliest, which is the first.
    while (weights[chosen[chosen.length - 1]] < this.minP) {
      chosen.pop()
    }
    return { ids: Int32Array.from(chosen), weights: Float64Array.from(chosen, (id) => weights[id]) }
  }
}

/** The logits of a choice's tokens, those of all others −∞: [size]. */
function chosenFrom(
  logits: Float32Array | Float64Array,
  size: number,
  { tokens, stopIds, mayEnd }: Choice,
  penalties: Penalties,
): Float32Array | Float64Array {
  const chosen = new (logits instanceof Float32Array ? Float32Array : Float64Array)(size).fill(Number.NEGATIVE_INFINITY)
  const { ids } = tokens
  for (let i = 0; i < ids.length; i++) chosen[ids[i]] = logits[ids[i]]
  for (const id of stopIds) if (id < size) chosen[id] = mayEnd ? logits[id] : Number.NEGATIVE_INFINITY
  const free = (id: number) => id < size && !penalties.bans(id)
  if (!(mayEnd && stopIds.some(free)) && !ids.some((id) => free(id) && (mayEnd || !stopIds.includes(id)))) {
    throw new IsaacError("bad_input", "logitBias bans every token that may come here in a guided answer; leave some")
  }
  return chosen
}

/** Index of the largest of the first `size` numbers, the first one on a tie. Throws not_finite on NaN. */
export function largest(logits: Float32Array | Float64Array, size: number): number {
  let best = -1
  let max = Number.NEGATIVE_INFINITY
  for (let id = 0; id < size; id++) {
    const logit = logits[id]
    if (logit > max) {
      max = logit
      best = id
    } else if (Number.isNaN(logit)) {
      throw new IsaacError("not_finite", `the logit of token ${id} is NaN: the weights or the arithmetic are broken`)
    }
  }
  if (best < 0 || max === Number.POSITIVE_INFINITY) {
    throw new IsaacError(
      "not_finite",
      `the largest of ${size} logits is ${max}: the weights or the arithmetic are broken`,
    )
  }
  return best
}

/**
 * A weight below which no token can belong to the nucleus: if n tokens were all below (1 − topP)·Σ/n, together they
 * would hold less than the 1 − topP that the nucleus may leave out.
 */
function nucleusFloor(weights: Float64Array, topP: number): number {
  if (topP === 1) {
    return 0
  }
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  return ((1 - topP) * total) / weights.length
}

/** The k-th largest value, 1 ≤ k ≤ n, by quickselect on a copy. */
function kthLargest(values: Float64Array, k: number): number {
  const v = values.slice()
  let low = 0
  let high = v.length - 1
  const target = k - 1 // its index in descending order
  while (low < high) {
    const pivot = v[(low + high) >>> 1]
    let i = low
    let j = high
    while (i <= j) {
      while (v[i] > pivot) {
        i++
      }
      while (v[j] < pivot) {
        j--
      }
      if (i <= j) {
        const t = v[i]
        v[i++] = v[j]
        v[j--] = t
      }
    }
    if (target <= j) {
      high = j
    } else if (target >= i) {
      low = i
    } else {
      break // between j and i everything equals the pivot
    }
  }
  return v[target]
}

/** A seed that was given, or one drawn at random. Throws bad_input. */
export function checkSeed(seed: number | undefined): number {
  return numberIn("seed", seed ?? crypto.getRandomValues(new Uint32Array(1))[0], {
    low: 0,
    high: Number.MAX_SAFE_INTEGER,
    integer: true,
  })
}
