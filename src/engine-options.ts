/** What callers may choose, and what an engine needs from the machine it runs on. */

import type { AbortFlag } from "./generate/abort"
import type { GenerationOptions } from "./generate/generation"
import type { Backend, StoredType } from "./ops/backend"
import type { DecodeImage, ImageFile, ProcessOptions, RgbImage, ImageInput as StoredImage } from "./processor"

/** Which implementation of the operations runs the model; "auto" takes the fastest that passes its self-test. */
export type BackendChoice = "auto" | "native" | "wasm" | "reference"

/** How the weights of linear layers are kept; "auto" keeps them as the checkpoint stores them. */
export type DtypeChoice = "auto" | StoredType

export interface LoadProgress {
  /** "notice" is for people to read before a download begins: the licence of the weights, what is waited for. */
  readonly stage: "notice" | "download" | "backend" | "weights"
  /** 0 … 1; 0 for a notice */
  readonly fraction: number
  readonly message: string
}

export interface LoadOptions {
  /** Default "auto". */
  readonly backend?: BackendChoice
  /** Default "auto". */
  readonly dtype?: DtypeChoice
  /** Threads of the backend; default: what the machine has. */
  readonly threads?: number
  /** Most tokens of one conversation, prompt and answer. Default: the model's maximum, at most 4096. */
  readonly maxContext?: number
  /**
   * Most bytes of keys and values that all sessions hold together. When one needs more, sessions that are not answering
   * lose theirs, the one used longest ago first, and compute them anew when they are asked again. Default: what the
   * backend has left, at most a quarter of the machine's memory, at least one full session.
   */
  readonly sessionMemory?: number
  /** Most bytes of image embeddings that are kept for the next question about a picture. Default 256 MiB. */
  readonly imageMemory?: number
  readonly signal?: AbortSignal
  readonly onProgress?: (progress: LoadProgress) => void
}

/**
 * A picture: a path, an http(s), file or data address, the bytes of an image file, or pixels already decoded
 * ({width, height, data}, RGB or RGBA).
 */
export type ImageInput = string | URL | StoredImage

export interface GenerateOptions extends GenerationOptions {
  /** Ends the generation with finish reason "abort". */
  readonly signal?: AbortFlag
}

/** What kind of answer is wanted: it becomes a <hint> in the prompt. "text" asks for none. */
export type Expect = "text" | "point" | "box" | "polygon"

export interface AskOptions extends GenerateOptions {
  /** Default "text". */
  readonly expect?: Expect
  /** An instruction that comes before everything else. */
  readonly system?: string
  /** A prompt that is too long: refuse it (default), or keep its last tokens. */
  readonly truncate?: ProcessOptions["truncate"]
}

/** What `processor` takes: raw text with an `<image>` for each image. */
export interface ProcessorInput {
  readonly text: string
  readonly images?: readonly ImageInput[]
  readonly truncate?: ProcessOptions["truncate"]
  readonly maxLength?: number
  readonly signal?: AbortFlag
}

/** Numbers that left the backend: row-major, `data.length` is the product of `shape`. */
export interface Numbers {
  readonly data: Float32Array
  readonly shape: readonly number[]
}

/** What runs the model, for logs and reports. */
export interface EngineInfo {
  /** Name of the checkpoint. */
  readonly model: string
  readonly backend: string
  /** Instruction set in use. */
  readonly isa: string
  readonly threads: number
  /** As asked for: "auto" is what the checkpoint stores. */
  readonly dtype: DtypeChoice
  readonly maxContext: number
  /** Faster backends that were refused, and why. */
  readonly refused: readonly { readonly name: string; readonly why: string }[]
  readonly loadMs: number
}

/** What an engine cannot know by itself: one for Node (`engine-node.ts`), one for browsers. */
export interface Platform {
  selectBackend(options: {
    readonly backend?: BackendChoice
    readonly threads?: number
    /** Looked at by kernels: word 0 not 0 ends what is being computed. */
    readonly abort: Int32Array
  }): Promise<{ readonly backend: Backend; readonly refused: EngineInfo["refused"] }>
  readImage(image: ImageInput, options: { readonly signal?: AbortSignal }): Promise<ImageFile | RgbImage>
  readonly decodeImage: DecodeImage
  /** Bytes of memory of the machine, where that is known. */
  readonly machineMemory?: number
  /** The word for `selectBackend`; in shared memory if another thread may want to abort. */
  readonly abortWord?: Int32Array
}
