export type {
  Answer,
  AnswerEvent,
  AnswerIssue,
  AnswerPixels,
  AnswerPoint,
  AnswerStream,
  BoxLeaf,
  FinishReason,
  PointLeaf,
  PolygonLeaf,
  Timings,
  Usage,
} from "./answer"
export { IsaacError, type IsaacErrorCode, isIsaacError } from "./errors"
export type { SamplingOptions } from "./generate/sampler"
export type {
  AskOptions,
  BackendChoice,
  DtypeChoice,
  EngineInfo,
  Expect,
  GeneratedToken,
  GenerateOptions,
  ImageInput,
  LoadOptions,
  LoadProgress,
  Numbers,
  RgbPixels,
  TokenStream,
  Truncation,
} from "./isaac"
export { Isaac, type IsaacLoadOptions } from "./worker/isaac-node"
