/** isaac-vlm: run Isaac, a small vision-language model, on your own machine. */

/** What a question gets back. */
export type {
  Answer,
  AnswerEvent,
  AnswerStream,
  Candidate,
  CaptionAnswer,
  CountAnswer,
  Score,
  Timings,
  Usage,
} from "./answer"
/** Pictures and checkpoints that a page has. */
export type { BrowserImage, BrowserModel } from "./browser-inputs"
/** Answers drawn on pictures. */
export type { DrawImageOptions, DrawingFormat } from "./draw-image"
export { drawImage } from "./draw-image-node"
/** What callers may choose. */
export type {
  AnnotatedImage,
  Annotation,
  AskOptions,
  BackendChoice,
  CandidatesOptions,
  CaptionOptions,
  CaptionStyle,
  CoordinateUnits,
  DetectOptions,
  DtypeChoice,
  EngineInfo,
  Expect,
  GenerateOptions,
  HubAccess,
  ImageInput,
  KvDtypeChoice,
  LoadOptions,
  LoadProgress,
  ModelInput,
  Numbers,
  OcrFormat,
  OcrOptions,
  ProcessorInput,
  ScoreOptions,
  TaskOptions,
} from "./engine-options"
/** The only error that this library throws on purpose. */
export { IsaacError, type IsaacErrorCode, isIsaacError } from "./errors"
export type { AbortFlag } from "./generate/abort"
/** How to generate: sampling, length, stop ids. */
export type {
  AnswerProgress,
  FinishReason,
  GeneratedToken,
  GenerationOptions,
  GenerationReport,
} from "./generate/generation"
/** What a schema is, and what a document says. */
export type { JsonSchema, JsonValue } from "./generate/json-grammar"
/** What is told of single tokens. */
export type { TokenAlternative, TokenLogprob } from "./generate/logprobs"
export type { LogitBias } from "./generate/penalties"
/** What `isaac.memory()` tells. */
export type { EngineMemory } from "./isaac"
/** Prompts of one's own, piece by piece, for `isaac.prompt`. */
export {
  assistant,
  box,
  type ContentNode,
  collection,
  type ImageNode,
  image,
  type PromptNode,
  point,
  polygon,
  system,
  type TextNode,
  type TurnNode,
  text,
  user,
} from "./message-builder"
/** The architecture itself, in the calling thread, on a backend of your own; `isaac.model` has the same calls. */
export {
  type DecoderCache,
  type DecoderCacheOptions,
  type EmbedOptions,
  type ForwardHooks,
  type ForwardInput,
  type ForwardOutput,
  type IsaacConfig,
  IsaacModel,
  type LoadModelOptions,
  type MemoryPlan,
  type PlanOptions,
  type StorageChoice,
  type TextConfig,
  type VisionConfig,
} from "./model"
/** How numbers are kept; the seam between the model and the machine itself is in `isaac-vlm/internal`. */
export type { KvType, StoredType } from "./ops/backend"
/** Drawings without files: on pixels, as SVG, many on one sheet. */
export { type ContactSheetOptions, type ContactTile, contactSheet } from "./perception/contact-sheet"
export type { DrawOptions } from "./perception/draw-layout"
export { drawOnPixels, type RgbaImage } from "./perception/draw-raster"
export { drawSvg, type SvgPicture, toDataUri } from "./perception/draw-svg"
/** What an answer points at. */
export type { PixelLeaf } from "./perception/geometry"
export type { Colour } from "./perception/label-colour"
/** How an answer is kept to tags that can be read. */
export type { GuidedOption, GuidedTags } from "./perception/tag-grammar"
export type { Leaf, TagIssue } from "./perception/tags"
/** Text and pictures → TensorStream; a loaded model has one as `isaac.processor`. */
export {
  type AddedToken,
  type ChatTemplate,
  type DecodeImage,
  type EncodeOptions,
  type ImageFile,
  type ImageInput as StoredImage,
  IsaacProcessor,
  type Message,
  type MessagesInput,
  type Part,
  type PreparedImage,
  type ProcessorInit,
  type ProcessorOutput,
  type RawPixels,
  type RenderOptions,
  type RgbImage,
  type TemplateMessage,
  type TextInput,
  type Tokenizer,
  type VisionSizing,
} from "./processor"
/** The prompt as a stream of events; all its operations are in `isaac-vlm/stream`. */
export { createEvent, type Event, Stream, TensorStream } from "./stream"
/** The calls of a loaded model, and its parts. */
export type {
  ForwardRequest,
  ForwardResult,
  IsaacClient,
  IsaacSession,
  IsaacView,
  ModelCache,
  ModelClient,
  Pictures,
  TokenStream,
} from "./worker/isaac-client"
/** Load a model and ask it about pictures. */
export { Isaac, type IsaacLoadOptions } from "./worker/isaac-node"
export type { PictureTasks } from "./worker/picture-tasks"
