/**
 * How sure a model was of each thing that it pointed at. Isaac gives no scores, but metrics such as average precision
 * rank what was found: the mean log-probability of the tokens that a tag is made of ranks it by what the model itself
 * thought of the class and the place.
 */

import { ReasoningStream, TagStream } from "../perception/parse"

export interface AnswerToken {
  /** UTF-8 of the token; empty for one that stands for no text. */
  readonly bytes: Uint8Array
  readonly logprob: number
}

/**
 * For each leaf of an answer, in its order, e to the mean log-probability of its tokens, 0 … 1: those since the leaf
 * before it closed. The first one of a collection has the collection's mention among its own.
 */
export function leafConfidences(tokens: readonly AnswerToken[]): number[] {
  const decoder = new TextDecoder()
  const reasoning = new ReasoningStream()
  const tags = new TagStream()
  const confidences: number[] = []
  let sum = 0
  let count = 0
  for (const { bytes, logprob } of tokens) {
    const { text } = reasoning.push(decoder.decode(bytes, { stream: true }))
    sum += logprob
    count++
    const closed = tags.push(text).length
    if (closed === 0) continue
    for (let i = 0; i < closed; i++) confidences.push(Math.exp(sum / count))
    sum = 0
    count = 0
  }
  const rest = [...tags.push(reasoning.end().text), ...tags.end()]
  for (const _ of rest) confidences.push(Math.exp(sum / Math.max(count, 1)))
  return confidences
}
