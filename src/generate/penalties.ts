/**
 * What changes logits before a token is chosen: a bias for single tokens, and penalties for those that were seen.
 *
 *     1. logitBias           logit + bias; a ban makes it −∞
 *     2. repetitionPenalty   logit / p if positive, logit · p if negative, for tokens of the prompt and the answer
 *     3. frequencyPenalty    logit − p · (how often the answer has the token)
 *     4. presencePenalty     logit − p, once, for tokens that the answer has
 *
 * in this order, which is vLLM's. Tokens of the prompt's pictures are no ids and do not count as seen.
 */

import { IsaacError } from "../errors"
import { numberIn } from "./option-ranges"

/**
 * Biases by token: an id, or the exact text of a token, special tokens included. In a plain object every key of digits
 * alone is an id; in a Map numbers are ids and strings are texts.
 */
export type LogitBias = Readonly<Record<string, number>> | ReadonlyMap<number | string, number>

export interface PenaltyOptions {
  /**
   * Above 1 makes tokens of the prompt and the answer less likely: it divides a positive logit and multiplies a
   * negative one. Up to 100; 1 (the default) does nothing, less than 1 favours them.
   */
  readonly repetitionPenalty?: number
  /** Taken off a token's logit for each time that the answer has it. −2 … 2; default 0. */
  readonly frequencyPenalty?: number
  /** Taken off a token's logit once if the answer has it. −2 … 2; default 0. */
  readonly presencePenalty?: number
  /** Added to the logits of single tokens. −100 … 100; −100 and −Infinity ban a token. */
  readonly logitBias?: LogitBias
}

/** The ids of a text, as the model reads it. */
export type TokenLookup = (text: string) => ArrayLike<number>

/** Keeps the books on tokens seen and changes rows of logits. Belongs to one answer. */
export class Penalties {
  readonly #size: number
  readonly #repetition: number
  readonly #frequency: number
  readonly #presence: number
  readonly #bias: ReadonlyMap<number, number>
  readonly #prompt: ReadonlySet<number>
  /** How often the answer has each of its tokens. */
  readonly #counts = new Map<number, number>()

  /**
   * @param size ids 0 … size-1 exist
   * @param prompt ids of the prompt's text
   * @param idsOf finds the tokens that `logitBias` names by their text
   * Throws bad_input for what is out of range or no token.
   */
  constructor(size: number, options: PenaltyOptions, prompt: () => Iterable<number>, idsOf?: TokenLookup) {
    this.#size = size
    const { repetitionPenalty = 1, frequencyPenalty = 0, presencePenalty = 0, logitBias } = options
    this.#repetition = numberIn("repetitionPenalty", repetitionPenalty, { low: 0, high: 100, above: true })
    this.#frequency = numberIn("frequencyPenalty", frequencyPenalty, { low: -2, high: 2 })
    this.#presence = numberIn("presencePenalty", presencePenalty, { low: -2, high: 2 })
    this.#bias = resolveBias(logitBias, size, idsOf)
    this.#prompt = new Set(this.#repetition === 1 ? [] : prompt())
  }

  /** A token that the answer now has. */
  add(id: number): void {
    this.#counts.set(id, (this.#counts.get(id) ?? 0) + 1)
  }

  /** Whether a bias rules a token out. */
  bans(id: number): boolean {
    return this.#bias.get(id) === Number.NEGATIVE_INFINITY
  }

  /**
   * One row of logits as a token is chosen from: the row itself when there is nothing to change, else a copy [size].
   *
   * @param logits [V], V ≥ size
   */
  adjust(logits: Float32Array): Float32Array | Float64Array {
    const repetition = this.#repetition !== 1
    const counted = this.#frequency !== 0 || this.#presence !== 0
    if (!repetition && !counted && this.#bias.size === 0) {
      return logits
    }
    const out = Float64Array.from(logits.subarray(0, this.#size))
    for (const [id, bias] of this.#bias) {
      out[id] = bias === Number.NEGATIVE_INFINITY ? bias : out[id] + bias
    }
    if (repetition) {
      for (const id of this.#prompt) {
        out[id] = this.#repeated(out[id])
      }
      for (const id of this.#counts.keys()) {
        out[id] = this.#prompt.has(id) ? out[id] : this.#repeated(out[id])
      }
    }
    if (counted) {
      for (const [id, count] of this.#counts) {
        out[id] -= this.#frequency * count + this.#presence
      }
    }
    return out
  }

  #repeated(logit: number): number {
    return logit > 0 ? logit / this.#repetition : logit * this.#repetition
  }
}

/** Biases by id; −∞ for a ban. */
function resolveBias(bias: LogitBias | undefined, size: number, idsOf?: TokenLookup): ReadonlyMap<number, number> {
  const resolved = new Map<number, number>()
  if (bias === undefined) {
    return resolved
  }
  if (typeof bias !== "object" || bias === null || Array.isArray(bias)) {
    throw new IsaacError("bad_input", `logitBias is ${String(bias)}; it must be an object or a Map, token → bias`)
  }
  const entries: Iterable<readonly [unknown, unknown]> =
    bias instanceof Map
      ? bias
      : Object.entries(bias).map(([key, value]) => [/^\d+$/.test(key) ? Number(key) : key, value])
  for (const [token, value] of entries) {
    const id = typeof token === "string" ? idOf(token, idsOf) : token
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= size) {
      throw new IsaacError("bad_input", `logitBias has the token ${String(id)}; ids go from 0 to ${size - 1}`)
    }
    const named = `logitBias of ${typeof token === "string" ? JSON.stringify(token) : `token ${id}`}`
    const banned = value === Number.NEGATIVE_INFINITY || value === -100
    const number = banned ? Number.NEGATIVE_INFINITY : numberIn(named, value, { low: -100, high: 100 })
    if (resolved.has(id)) {
      throw new IsaacError("bad_input", `logitBias names token ${id} twice`)
    }
    resolved.set(id, number)
  }
  if (resolved.size >= size && [...resolved.values()].every((value) => value === Number.NEGATIVE_INFINITY)) {
    throw new IsaacError("bad_input", `logitBias bans all ${size} tokens; leave one`)
  }
  return resolved
}

function idOf(text: string, idsOf: TokenLookup | undefined): number {
  const ids = text === "" ? [] : idsOf?.(text)
  if (ids?.length !== 1) {
    const why = ids === undefined ? "tokens are known by their ids only here" : `that is ${ids.length} tokens, not one`
    throw new IsaacError("bad_input", `logitBias has ${JSON.stringify(text)}: ${why}; give ids`)
  }
  return ids[0]
}
