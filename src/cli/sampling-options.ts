/** Options that choose how an answer is drawn, what ends it and what is told of it. */

import { type Command, InvalidArgumentError } from "commander"
import type { GenerationOptions } from "../index"
import { numberWithin, wholeNumber } from "./option-values"

export interface SamplingFlags {
  readonly maxNewTokens?: number
  readonly temperature?: number
  readonly topP?: number
  readonly topK?: number
  readonly minP?: number
  readonly seed?: number
  readonly repetitionPenalty?: number
  readonly frequencyPenalty?: number
  readonly presencePenalty?: number
  readonly logitBias?: ReadonlyMap<number | string, number>
  readonly stop?: readonly string[]
  readonly logprobs?: true | number
}

export function addSamplingOptions(command: Command): Command {
  return command
    .option("--max-new-tokens <n>", "longest answer", wholeNumber(1))
    .option("--temperature <t>", "0 takes the likeliest token", numberWithin(0, 100))
    .option("--top-p <p>", "draw from the likeliest tokens that reach this probability", numberWithin(0, 1))
    .option("--top-k <k>", "draw from the k likeliest tokens; 0: all", wholeNumber(0))
    .option("--min-p <p>", "draw from tokens so likely as a fraction of the likeliest; 0: all", numberWithin(0, 1))
    .option("--seed <n>", "same seed, same answer", wholeNumber(0))
    .option("--repetition-penalty <p>", "above 1: fewer tokens of the prompt and answer", numberWithin(0, 100, true))
    .option("--frequency-penalty <p>", "off a token's logit for each time the answer has it", numberWithin(-2, 2))
    .option("--presence-penalty <p>", "off the logits of tokens that the answer has", numberWithin(-2, 2))
    .option("--logit-bias <token=bias>", "add to the logit of an id or a token; -100 bans it; repeatable", tokenBias)
    .option("--stop <text>", "end the answer before this text; repeatable", stopText)
    .option("--logprobs [n]", "with --json: log-probabilities, and n alternatives for each token", alternatives)
}

/** What the flags ask of a generation. */
export function samplingOf(flags: SamplingFlags): GenerationOptions {
  const { maxNewTokens, temperature, topP, topK, minP, seed, logitBias, stop, logprobs } = flags
  const { repetitionPenalty, frequencyPenalty, presencePenalty } = flags
  return {
    ...{ maxNewTokens, temperature, topP, topK, minP, seed, logitBias, stop, logprobs },
    ...{ repetitionPenalty, frequencyPenalty, presencePenalty },
  }
}

/** `42=-100` or `" red"=5`; the bias stands behind the last equals sign. */
function tokenBias(text: string, before: ReadonlyMap<number | string, number> = new Map()) {
  const at = text.lastIndexOf("=")
  const token = text.slice(0, Math.max(at, 0))
  if (token === "") throw new InvalidArgumentError("An id or a token is needed, then = and a bias.")
  const bias = numberWithin(-100, 100)(text.slice(at + 1))
  return new Map(before).set(/^\d+$/.test(token) ? Number(token) : token, bias)
}

function stopText(text: string, before: readonly string[] = []): string[] {
  if (text === "") throw new InvalidArgumentError("A text of at least one character is needed.")
  return [...before, text]
}

function alternatives(text: string): number {
  const n = wholeNumber(0)(text)
  if (n > 20) throw new InvalidArgumentError("At most 20 alternatives are given.")
  return n
}
