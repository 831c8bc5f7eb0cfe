/** Answers as commands write them. */

import type { Answer, Candidate, TokenLogprob } from "../index"
import type { SamplingFlags } from "./sampling-options"

/** The fields of `--json`, in this order and no others but those that other flags ask for. */
export function answerJson(answer: Answer, flags: SamplingFlags): Record<string, unknown> {
  const { model, timings } = answer
  return { model, ...answerFields(answer), timings, ...extraFields(answer, flags) }
}

function answerFields({ text, reasoning, points, pixels, usage, finishReason }: Answer): Record<string, unknown> {
  return { text, reasoning, points, pixels, usage, finish_reason: finishReason }
}

/** What a document says with --schema, what ended the answer with --stop, its tokens with --logprobs. */
function extraFields({ stopped, logprobs, json }: Answer, flags: SamplingFlags): Record<string, unknown> {
  return {
    ...(json !== undefined && { json }),
    ...(flags.stop && { stopped }),
    ...(logprobs && { logprobs: logprobs.map(tokenJson) }),
  }
}

/** Bytes as numbers, as JSON has no others. */
export function tokenJson({ id, text, bytes, logprob, top }: TokenLogprob): Record<string, unknown> {
  return { id, text, bytes: [...bytes], logprob, ...(top && { top: top.map(tokenJson) }) }
}

/** One line for all of them; what they have in common stands outside. */
export function candidatesJson(candidates: readonly Candidate[], flags: SamplingFlags): Record<string, unknown> {
  const [{ model, timings }] = candidates
  const decode = Math.max(...candidates.map(({ timings }) => timings.decode_ms))
  return {
    model,
    candidates: candidates.map((candidate) => {
      const { score, sample, seed } = candidate
      return { ...answerFields(candidate), score, sample, seed, ...extraFields(candidate, flags) }
    }),
    timings: { ...timings, decode_ms: decode },
  }
}

/** A line with the score above each. */
export function candidatesText(candidates: readonly Candidate[]): string {
  return candidates
    .map(({ text, score, seed }, i) => `# ${i + 1}: score ${score.toFixed(4)}, seed ${seed}\n${text}\n`)
    .join("\n")
}
