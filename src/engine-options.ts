/** What callers may choose, and what an engine needs from the machine it runs on. */

import type { BrowserImage, BrowserModel } from "./browser-inputs"
import type { AbortFlag } from "./generate/abort"
import type { AnswerProgress, GenerationOptions } from "./generate/generation"
import type { JsonSchema } from "./generate/json-grammar"
import type { Backend, KvType, PackedType, StoredType } from "./ops/backend"
import type { Annotation, CoordinateUnits } from "./perception/annotations"
import type { GuidedOption } from "./perception/tag-grammar"
import type { CaptionStyle, OcrFormat, TaskOptions } from "./perception/tasks"
import type { DecodeImage, ImageFile, ProcessOptions, RgbImage, ImageInput as StoredImage } from "./processor"
import type { Checkpoint } from "./weights/checkpoint"
import type { ByteSink } from "./weights/sink"
import type { ByteSource, FileSet } from "./weights/source"

export type { Annotation, CoordinateUnits } from "./perception/annotations"
export type { CaptionStyle, Expect, OcrFormat, Task, TaskOptions } from "./perception/tasks"

/** Which implementation of the operations runs the model; "auto" takes the fastest that passes its self-test. */
export type BackendChoice = "auto" | "native" | "wasm" | "reference"

/**
 * How the weights of linear layers are kept; "auto" keeps them as the checkpoint stores them, or as q8 where that does not
 * fit into the backend's memory, or as q4 where that does not fit either.
 */
export type DtypeChoice = "auto" | StoredType

/**
 * How keys and values of conversations are kept; "auto" takes f32, or bf16 where that does not fit and beside weights as
 * q8 or q4, or int8 where q8 weights and bf16 do not fit either.
 */
export type KvDtypeChoice = "auto" | KvType

export interface LoadProgress {
  /**
   * "notice" is for people to read: the licence of weights before they are downloaded, what is waited for, weights that
   * are kept smaller than they are stored. "convert" comes once for a large checkpoint that is kept as q8 or q4.
   */
  readonly stage: "notice" | "download" | "backend" | "convert" | "weights"
  /** 0 … 1; 0 for a notice */
  readonly fraction: number
  readonly message: string
}

export interface LoadOptions {
  /** Default "auto". */
  readonly backend?: BackendChoice
  /** Default "auto". */
  readonly dtype?: DtypeChoice
  /** How keys and values of conversations are kept. Default "auto". */
  readonly kvDtype?: KvDtypeChoice
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
  /**
   * Node: keep a large checkpoint's q8 or q4 form on disk, so that it is packed only once (see docs/checkpoints.md). Browsers:
   * keep what is downloaded in the browser's storage (see docs/browser.md). Default true.
   */
  readonly cache?: boolean
  /** Where ORG/NAME is downloaded from. Default in Node: what the environment says (HF_ENDPOINT, HF_TOKEN). */
  readonly hub?: HubAccess
  /**
   * Node: pictures may also be fetched from addresses of private networks and of this machine, where others' pictures
   * have no business (see docs/privacy-and-safety.md). Default false. A browser has its own rules.
   */
  readonly allowPrivateUrls?: boolean
  readonly signal?: AbortSignal
  /** Told how far loading is. */
  readonly onProgress?: (progress: LoadProgress) => void
}

export interface HubAccess {
  /** Default https://huggingface.co */
  readonly endpoint?: string
  /** For gated and private models; sent in a header, to the endpoint only. */
  readonly token?: string
}

/**
 * A model. In Node: "tiny", a checkpoint's folder, or ORG/NAME[@REVISION] of the Hugging Face Hub. In a browser: the
 * address of a checkpoint's folder, ORG/NAME, or a folder that a person picked.
 */
export type ModelInput = string | URL | BrowserModel

/**
 * A picture: a path, an http(s), file or data address, the bytes of an image file, or pixels already decoded
 * ({width, height, data}, RGB or RGBA). In a browser also an image element, a canvas, a bitmap or a frame of a video.
 */
export type ImageInput = string | URL | StoredImage | BrowserImage

export interface GenerateOptions extends GenerationOptions {
  /**
   * Keeps the answer to pointing tags that can be read: every tag is well-formed and closed, also when the answer is cut
   * by its length (not by a stop text); see docs/guided.md. Default false.
   */
  readonly guided?: GuidedOption
  /**
   * Keeps the answer to a JSON document that is valid for this schema; `json` of the answer is what it says. Not together
   * with `guided`. Which keywords are supported: see docs/guided.md.
   */
  readonly schema?: JsonSchema
  /** Ends the generation with finish reason "abort". */
  readonly signal?: AbortFlag
}

/** A picture with what should have been found in it: an example that comes before the question. */
export interface AnnotatedImage {
  readonly image: ImageInput
  /** Those of one mention are shown to the model as one collection, as it writes them itself. */
  readonly annotations: readonly Annotation[]
  /** What the annotations' coordinates are. Default "pixels", of the upright picture. */
  readonly units?: CoordinateUnits
  /** What was asked about this picture. Default: nothing, the picture alone. */
  readonly question?: string
}

export interface AskOptions extends GenerateOptions, TaskOptions {
  /** A prompt that is too long: refuse it (default), or keep its last tokens. */
  readonly truncate?: ProcessOptions["truncate"]
  /** Answered pictures that come before those of the question. */
  readonly examples?: readonly AnnotatedImage[]
  /** Told of every step, often. */
  readonly onProgress?: (progress: AnswerProgress) => void
}

export interface CaptionOptions extends AskOptions {
  /** Default "concise". */
  readonly style?: CaptionStyle
}

export interface DetectOptions extends AskOptions {
  /** What to look for. Default: everything. */
  readonly classes?: readonly string[]
}

export interface OcrOptions extends AskOptions {
  /** What the text should be written as. Default "text". */
  readonly format?: OcrFormat
}

/** `n` answers are drawn at temperature 1, unless another one is asked for. */
export interface CandidatesOptions extends Omit<AskOptions, "onProgress"> {
  /** How many answers: 1 … 64. */
  readonly n: number
}

/** How the question of `score` is put. */
export type ScoreOptions = Pick<AskOptions, keyof TaskOptions | "examples" | "truncate" | "signal">

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
  /** How the weights of linear layers are kept: for "auto" what was chosen. */
  readonly dtype: StoredType
  /** How keys and values of conversations are kept: for "auto" what was chosen. */
  readonly kvDtype: KvType
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
  /**
   * A copy of a checkpoint's files whose matrices are packed as `stored` already, made now if need be. Without it, or when it
   * gives undefined, they are packed while loading.
   */
  packedFiles?(
    files: FileSet,
    checkpoint: Checkpoint,
    stored: PackedType,
    backend: Backend,
    options: Pick<LoadOptions, "signal" | "onProgress">,
  ): Promise<FileSet | undefined>
  /** A file that a session was saved to. */
  openFile?(path: string): Promise<ByteSource>
  /** Write a file of so many bytes, whole or not at all. */
  writeFile?(path: string, bytes: number, fill: (sink: ByteSink) => Promise<void>): Promise<void>
  /** Bytes of memory of the machine, where that is known. */
  readonly machineMemory?: number
  /** The word for `selectBackend`; in shared memory if another thread may want to abort. */
  readonly abortWord?: Int32Array
}
