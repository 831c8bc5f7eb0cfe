/**
 * What a question gets back: a stream of events that ends with one `final` event carrying the whole answer.
 *
 * Coordinates in `points` are the model's own: integers 0 … 1000 over the width and the height of the upright
 * original. `pixels` is the same list, in the same order, in floating-point pixels of that picture.
 */

import { IsaacError, type IsaacErrorCode } from "./errors"
import type { FinishReason, GenerationReport } from "./generate/generation"
import type { JsonValue } from "./generate/json-grammar"
import type { TokenLogprob } from "./generate/logprobs"
import { type PictureSize, type PixelLeaf, toPixels } from "./perception/geometry"
import { ReasoningStream } from "./perception/reasoning"
import { TagStream } from "./perception/tag-stream"
import type { Leaf, TagIssue } from "./perception/tags"
import { countOf, type Task, wordsOf } from "./perception/tasks"

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
  /** What the text points at, collections flattened. */
  readonly points: readonly Leaf[]
  /** The same in pixels of the picture with index `image`: of several pictures the last one, which a question is about. */
  readonly pixels: readonly PixelLeaf[]
  readonly usage: Usage
  readonly finishReason: FinishReason
  /** The stop text that ended the answer, of which it is no part; null when something else did. */
  readonly stopped: string | null
  readonly timings: Timings
  /** Tags that could not be read; they stay in the text. */
  readonly issues: readonly TagIssue[]
  /**
   * Every token that the model produced, those of its reasoning, of a stop text and the end token included; there when
   * `logprobs` was asked for.
   */
  readonly logprobs?: readonly TokenLogprob[]
  /**
   * What the document says that `schema` asked for; undefined when it was not completed: the answer was aborted, ended by
   * a stop text, or `maxNewTokens` or the context had no room for even the shortest document.
   */
  readonly json?: JsonValue
}

/** What a picture shows, in words. */
export interface CaptionAnswer extends Answer {
  /** The text for people: each tag became what it mentions. */
  readonly caption: string
}

/** How many there are. */
export interface CountAnswer extends Answer {
  /** What the answer points at, counted; if nothing, the number that it says; null when it says none. */
  readonly count: number | null
}

/** One of several answers to the same question. */
export interface Candidate extends Answer {
  /** Mean of its tokens' log-probabilities at temperature 1, the end token included: higher is likelier. */
  readonly score: number
  /** Which one it was of those drawn: 0 … n-1. */
  readonly sample: number
  /** `ask` with this seed and the same options gives the same answer. */
  readonly seed: number
}

/** How well the model expects a given answer. */
export interface Score {
  /** Mean over the tokens of minus their log-probability. */
  readonly loss: number
  /** e to the loss: among how many equally likely tokens the model hesitated, on average. */
  readonly perplexity: number
  /** The answer as the model reads it. */
  readonly tokens: readonly TokenLogprob[]
  /** `completion_tokens` are those of the answer. */
  readonly usage: Usage
}

/** What `ask` yields. Joined, the text deltas are the answer's text and the reasoning deltas its reasoning. */
export type AnswerEvent<A extends Answer = Answer> =
  | { readonly type: "text.delta"; readonly text: string }
  | { readonly type: "reasoning.delta"; readonly text: string }
  /** Tags that closed just now; each leaf comes once, in the answer's order. */
  | { readonly type: "points.delta"; readonly points: readonly Leaf[]; readonly pixels: readonly PixelLeaf[] }
  | { readonly type: "final"; readonly answer: A }
  /** Followed by the same error being thrown from the iterator. */
  | { readonly type: "error"; readonly error: { readonly code: IsaacErrorCode; readonly message: string } }

/** A running answer: iterate over its events, or await it for the whole. Both at once is fine. */
export interface AnswerStream<A extends Answer = Answer> extends AsyncIterable<AnswerEvent<A>>, Promise<A> {
  /** The whole answer as a promise of its own. Rejects with the error that ended it. */
  answer(): Promise<A>
}

/** The answer with what its task asked for. */
export function answerOf(task: Task["task"], answer: Answer): Answer | CaptionAnswer | CountAnswer {
  if (task === "caption") return { ...answer, caption: wordsOf(answer.text) }
  if (task === "count") return { ...answer, count: countOf(answer.text, answer.points) }
  return answer
}

/** Turns the model's text, as it comes, into the events of an answer. */
export class AnswerWriter {
  readonly #images: readonly PictureSize[]
  readonly #reasoningStream: ReasoningStream
  readonly #json: boolean
  readonly #tags = new TagStream()
  #text = ""
  #reasoning = ""
  readonly #points: Leaf[] = []

  /**
   * @param images sizes of the upright originals, in the order of the prompt
   * @param json the text is a JSON document: no tags are looked for in its strings, and nothing is changed in them
   */
  constructor(images: readonly PictureSize[], { json = false }: { readonly json?: boolean } = {}) {
    this.#images = images
    this.#json = json
    this.#reasoningStream = new ReasoningStream({ verbatim: json })
  }

  /** The next piece of what the model writes. */
  *push(piece: string): Generator<AnswerEvent, void> {
    yield* this.#events(this.#reasoningStream.push(piece))
  }

  /**
   * The end: what was held back, then the final event.
   *
   * @param report how the generation went; without one it was aborted before it began
   * @param logprobs the tokens, if they were asked for
   */
  *end(
    engine: { readonly model: string; readonly loadMs: number },
    report?: GenerationReport,
    logprobs?: readonly TokenLogprob[],
  ): Generator<AnswerEvent, void> {
    yield* this.#events(this.#reasoningStream.end())
    const last = this.#tags.end()
    yield* this.#pointsDelta(last)
    const answer: Answer = {
      model: engine.model,
      text: this.#text,
      reasoning: this.#reasoning || null,
      points: this.#points,
      pixels: this.#pixels(this.#points),
      usage: {
        prompt_tokens: report?.promptTokens ?? 0,
        image_tokens: report?.imageTokens ?? 0,
        completion_tokens: report?.completionTokens ?? 0,
      },
      finishReason: report?.finishReason ?? "abort",
      stopped: report?.stopped ?? null,
      timings: {
        load_ms: engine.loadMs,
        vision_ms: report?.visionMs ?? 0,
        prefill_ms: report?.prefillMs ?? 0,
        decode_ms: report?.decodeMs ?? 0,
      },
      issues: [...this.#tags.issues].sort((a, b) => a.span[0] - b.span[0]),
      ...(logprobs && { logprobs }),
      ...(this.#json && report?.whole && { json: JSON.parse(this.#text) as JsonValue }),
    }
    yield { type: "final", answer }
  }

  /** The answer whose text is complete. */
  whole(
    text: string,
    engine: { readonly model: string; readonly loadMs: number },
    report: GenerationReport,
    logprobs?: readonly TokenLogprob[],
  ): Answer {
    for (const _ of this.push(text));
    for (const event of this.end(engine, report, logprobs)) {
      if (event.type === "final") return event.answer
    }
    throw new IsaacError("internal", "an answer ended without its final event")
  }

  *#events({ text, reasoning }: { text: string; reasoning: string }): Generator<AnswerEvent, void> {
    if (reasoning !== "") {
      this.#reasoning += reasoning
      yield { type: "reasoning.delta", text: reasoning }
    }
    if (text !== "") {
      this.#text += text
      yield { type: "text.delta", text }
      if (!this.#json) yield* this.#pointsDelta(this.#tags.push(text))
    }
  }

  *#pointsDelta(points: readonly Leaf[]): Generator<AnswerEvent, void> {
    if (points.length > 0) {
      this.#points.push(...points)
      yield { type: "points.delta", points, pixels: this.#pixels(points) }
    }
  }

  /** Without a picture there are no pixels. */
  #pixels(points: readonly Leaf[]): PixelLeaf[] {
    const image = this.#images.length - 1
    return image < 0 ? [] : points.map((point) => toPixels(point, this.#images[image], image))
  }
}
