/**
 * START HERE: load → process → embed → decode → sample → parse.
 */

import type { FinishReason } from "./answer"
import type { SamplingOptions } from "./generate/sampler"

export type { Answer, AnswerEvent, AnswerStream, FinishReason } from "./answer"

/** Which implementation of the operations runs the model; "auto" takes the fastest that passes its self-test. */
export type BackendChoice = "auto" | "native" | "wasm" | "reference"

/** How the weights of linear layers are kept; "auto" keeps them as the checkpoint stores them. */
export type DtypeChoice = "auto" | "f32" | "bf16" | "q8" | "q4"

export interface LoadProgress {
  readonly stage: "backend" | "weights"
  /** 0 … 1 */
  readonly fraction: number
  readonly message: string
}

export interface LoadOptions {
  readonly backend?: BackendChoice
  readonly dtype?: DtypeChoice
  /** Threads of the backend; default: what the machine has. */
  readonly threads?: number
  /** Most tokens of one conversation, prompt and answer. Default: the model's maximum, at most 4096. */
  readonly maxContext?: number
  readonly signal?: AbortSignal
  readonly onProgress?: (progress: LoadProgress) => void
}

/** A picture: a path, an http(s) or data URI, the bytes of an image file, or pixels already decoded. */
export type ImageInput = string | URL | Uint8Array | ArrayBuffer | RgbPixels

/** Decoded pixels, RGB, row-major: data is [height, width, 3]. */
export interface RgbPixels {
  readonly width: number
  readonly height: number
  readonly data: Uint8Array
}

/** What to do with a prompt longer than the model takes: refuse it, or keep the rightmost tokens. */
export type Truncation = "error" | "left"

export interface GenerateOptions extends SamplingOptions {
  /** Default 256. */
  readonly maxNewTokens?: number
  /** Ids that end the answer; default: those of the checkpoint. */
  readonly stopIds?: readonly number[]
  /** Also give each token's log-probability. */
  readonly logprobs?: boolean
  readonly signal?: AbortSignal
}

/** What kind of answer is wanted: it becomes a <hint> in the prompt. "text" asks for none. */
export type Expect = "text" | "point" | "box" | "polygon"

export interface AskOptions extends GenerateOptions {
  readonly expect?: Expect
  readonly truncate?: Truncation
}

/** Numbers that left the backend: row-major, `data.length` is the product of `shape`. */
export interface Numbers {
  readonly data: Float32Array
  readonly shape: readonly number[]
}

/** What runs the model, for `--json`, `doctor` and logs. */
export interface EngineInfo {
  /** Name of the checkpoint. */
  readonly model: string
  readonly backend: string
  /** Instruction set in use. */
  readonly isa: string
  readonly threads: number
  readonly dtype: string
  readonly maxContext: number
  /** Faster backends that were refused, and why. */
  readonly refused: readonly { readonly name: string; readonly why: string }[]
  readonly loadMs: number
}

/** One generated token. */
export interface GeneratedToken {
  readonly id: number
  /** The text that became complete with this token: never half a character, empty while one is still open. */
  readonly text: string
  /** Natural logarithm of the token's probability at temperature 1; only with `logprobs`. */
  readonly logprob?: number
}

/** A running generation: iterate over it once; `finishReason` is known when the iteration has ended. */
export interface TokenStream extends AsyncIterable<GeneratedToken> {
  readonly finishReason: FinishReason | undefined
}
