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
