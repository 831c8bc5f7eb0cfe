/** Several answers that are one to their reader: what they say stands one after another. */

import type { Answer, AnswerEvent } from "./answer"
import { IsaacError } from "./errors"

/** Between the texts. */
const SEAM = " "

/**
 * The events of all answers, the next one being started when the one before has ended, and one `final` event. An answer
 * that was broken off is the last one.
 */
export async function* oneByOne(
  answers: readonly (() => AsyncIterable<AnswerEvent>)[],
): AsyncGenerator<AnswerEvent, void> {
  let whole: Answer | undefined
  for (const start of answers) {
    let written = false
    let ended: Answer | undefined
    try {
      for await (const event of start()) {
        if (event.type === "final") {
          ended = event.answer
          continue
        }
        if (event.type === "text.delta" && !written) {
          written = true
          if (whole && whole.text !== "") yield { type: "text.delta", text: SEAM }
        }
        yield event
      }
    } catch (error) {
      // Aborted before this one began: the reader has the others already.
      if (!(whole && !written && error instanceof IsaacError && error.code === "aborted")) throw error
      whole = { ...whole, finishReason: "abort" }
      break
    }
    if (ended) whole = whole ? joined(whole, ended) : ended
    if (ended?.finishReason === "abort") break
  }
  if (whole) yield { type: "final", answer: whole }
}

function joined(first: Answer, next: Answer): Answer {
  const seam = first.text !== "" && next.text !== "" ? SEAM : ""
  const offset = [...first.text].length + seam.length // spans count code points
  return {
    ...next,
    text: first.text + seam + next.text,
    reasoning: [first.reasoning, next.reasoning].filter((text) => text !== null).join("\n") || null,
    points: [...first.points, ...next.points],
    pixels: [...first.pixels, ...next.pixels],
    usage: {
      prompt_tokens: first.usage.prompt_tokens + next.usage.prompt_tokens,
      image_tokens: first.usage.image_tokens + next.usage.image_tokens,
      completion_tokens: first.usage.completion_tokens + next.usage.completion_tokens,
    },
    // The one that did not come to its own end counts.
    finishReason: next.finishReason === "stop" ? first.finishReason : next.finishReason,
    timings: {
      load_ms: first.timings.load_ms,
      vision_ms: first.timings.vision_ms + next.timings.vision_ms,
      prefill_ms: first.timings.prefill_ms + next.timings.prefill_ms,
      decode_ms: first.timings.decode_ms + next.timings.decode_ms,
    },
    issues: [
      ...first.issues,
      ...next.issues.map((issue) => ({ ...issue, span: [issue.span[0] + offset, issue.span[1] + offset] as const })),
    ],
    ...(first.logprobs && next.logprobs && { logprobs: [...first.logprobs, ...next.logprobs] }),
  }
}
