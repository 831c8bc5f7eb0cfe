/** isaac-vlm: run Isaac, a small vision-language model, on your own machine. */

/** What a question gets back. */
export type { Answer, AnswerEvent, AnswerStream, Timings, Usage } from "./answer"
/** What callers may choose. */
export type {
  AskOptions,
  BackendChoice,
  DtypeChoice,
  EngineInfo,
  Expect,
  GenerateOptions,
  ImageInput,
  LoadOptions,
  LoadProgress,
  Numbers,
  ProcessorInput,
} from "./engine-options"
/** The only error that this library throws on purpose. */
export { IsaacError, type IsaacErrorCode, isIsaacError } from "./errors"
/** How to generate: sampling, length, stop ids. */
export type { FinishReason, GeneratedToken, GenerationOptions, GenerationReport } from "./generate/generation"
/** The calls of a loaded model, and its parts. */
export type {
  ForwardRequest,
  ForwardResult,
  IsaacClient,
  IsaacSession,
  ModelCache,
  ModelClient,
  TokenStream,
} from "./worker/isaac-client"
/** Load a model and ask it about pictures. */
export { Isaac, type IsaacLoadOptions } from "./worker/isaac-node"
