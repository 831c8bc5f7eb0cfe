/**
 * What a question gets back: a stream of events that ends with one `final` event carrying the whole answer.
 *
 * Coordinates in `points` are the model's own: integers 0 … 1000 over the width and the height of the upright
 * original. `pixels` is the same list, in the same order, in floating-point pixels of that picture.
 */

import type { IsaacErrorCode } from "./errors"

/** What every pointing leaf may carry, inherited from an enclosing collection too; null when absent. */
export interface Mentioned {
  readonly mention: string | null
  /** Seconds into a video. */
  readonly t: number | null
}

export interface PointLeaf extends Mentioned {
  readonly type: "point"
  readonly x: number
  readonly y: number
}

export interface BoxLeaf extends Mentioned {
  readonly type: "box"
  readonly x1: number
  readonly y1: number
  readonly x2: number
  readonly y2: number
}

export interface PolygonLeaf extends Mentioned {
  readonly type: "polygon"
  readonly points: readonly (readonly [x: number, y: number])[]
}

/** One thing the model pointed at; collections are flattened into their leaves. */
export type AnswerPoint = PointLeaf | BoxLeaf | PolygonLeaf

/** The same in pixels, clamped to the picture, with the index of the picture it lies in. */
export type AnswerPixels = AnswerPoint & { readonly image: number }

/** A tag that could not be read; it stays in the text. */
export interface AnswerIssue {
  readonly message: string
}

/** stop: the model ended; length: `maxNewTokens` or the context was reached; abort: the caller's signal fired. */
export type FinishReason = "stop" | "length" | "abort"

export interface Usage {
  /** Tokens of the prompt, those of images included. */
  readonly prompt_tokens: number
  readonly image_tokens: number
  /** Tokens the model produced, its end token included. */
  readonly completion_tokens: number
}

/** Wall-clock milliseconds of each stage. */
export interface Timings {
  /** Loading the model (once, whatever the number of answers). */
  readonly load_ms: number
  /** Vision tower and projector; 0 when every image was known already. */
  readonly vision_ms: number
  /** The decoder over the prompt (what a session could not reuse). */
  readonly prefill_ms: number
  /** All decode steps. */
  readonly decode_ms: number
}

export interface Answer {
  /** Name of the model that answered. */
  readonly model: string
  /** What the model wrote, pointing tags included, its reasoning left out. */
  readonly text: string
  /** What stood between <think> and </think>; null when that was blank. */
  readonly reasoning: string | null
  readonly points: readonly AnswerPoint[]
  readonly pixels: readonly AnswerPixels[]
  readonly usage: Usage
  readonly finishReason: FinishReason
  readonly timings: Timings
  readonly issues: readonly AnswerIssue[]
}

/** What `ask` yields. Joined, the text deltas are the answer's text and the reasoning deltas its reasoning. */
export type AnswerEvent =
  | { readonly type: "text.delta"; readonly text: string }
  | { readonly type: "reasoning.delta"; readonly text: string }
  /** Tags that closed just now; each leaf comes once, in the answer's order. */
  | { readonly type: "points.delta"; readonly points: readonly AnswerPoint[]; readonly pixels: readonly AnswerPixels[] }
  | { readonly type: "final"; readonly answer: Answer }
  /** Followed by the same error being thrown from the iterator. */
  | { readonly type: "error"; readonly error: { readonly code: IsaacErrorCode; readonly message: string } }

/** A running answer: iterate over its events, or await it for the whole. Both at once is fine. */
export interface AnswerStream extends AsyncIterable<AnswerEvent>, PromiseLike<Answer> {}
