/**
 * A second entry for people who look inside: the pieces that `isaac trace`, `inspect` and `doctor` are made of.
 * Unstable: names here may change with any version. Import it as `isaac-vlm/internal`.
 */

export { CONVERTED_TYPES, type ConvertModelOptions, type ConvertReport, convertModel } from "./convert-node"
export { loadEngine, nodePlatform, openModel } from "./engine-node"
export { IsaacError, isIsaacError, plainText } from "./errors"
export {
  type Answered,
  type Asked,
  type AskingOptions,
  checkTasks,
  type Dataset,
  type DatasetImage,
  EVAL_TASKS,
  type EvalCase,
  type EvalReport,
  type EvalTask,
  type Evaluation,
  leafConfidences,
  type Prediction,
  type Predictions,
  questionsAbout,
  readDataset,
  readPredictions,
  reportMarkdown,
  reportText,
  scoreDataset,
  tasksOf,
} from "./evaluate"
export { checkAborted, orAborted } from "./generate/abort"
export { Generation, type GenerationReport, type Vocabulary } from "./generate/generation"
export { Sampler, type SamplingOptions } from "./generate/sampler"
export { LARGEST_CHUNK, Session } from "./generate/session"
export { SessionPool } from "./generate/session-pool"
export { IsaacEngine } from "./isaac"
export {
  type DecoderCache,
  type ForwardHooks,
  type ForwardInput,
  type IsaacConfig,
  IsaacModel,
  parseConfig,
  planMemory,
} from "./model"
export { checkParameters } from "./model/parameters"
export type { Backend, BackendInfo, StoredType, Tensor } from "./ops/backend"
export { CpuBackend } from "./ops/cpu/cpu-backend"
export { enableRelaxedSimd } from "./ops/cpu/load-wasm-node"
export { OperationLog, type OperationTotal, type ProfiledBackend, profiledBackend } from "./ops/profiled-backend"
export { createReferenceBackend } from "./ops/reference"
export { type MachineLimits, rooflineOf } from "./ops/roofline"
export type { Refusal } from "./ops/select"
export { selectBackend } from "./ops/select-node"
export { type ContactTile, contactSheet, drawRaster, drawSvg, PUBLISHED_PROFILE, toDataUri } from "./perception"
export { resample } from "./perception/draw-resample"
export {
  encodeDrawing,
  encodeImage,
  writeDrawing,
  writeFileAtomically,
  writeImage,
} from "./perception/write-image-node"
export {
  ChatTemplate,
  IsaacProcessor,
  imageToEvent,
  loadImage,
  type RgbImage,
  Tokenizer,
  type VisionSizing,
} from "./processor"
export { decodeImage } from "./processor/decode-image-node"
export { type ReadImageOptions, readImage } from "./processor/image-source-node"
export { MAX_PIXELS } from "./processor/rgb-image"
export { createEvent, type Event, Stream, TensorStream } from "./stream"
export { PRESETS } from "./synth/presets"
export type { SynthDtype } from "./synth/random-weights"
export { type SynthesizeOptions, synthesize } from "./synth/synthesize-node"
export { type Checkpoint, type CheckpointTensor, openCheckpoint } from "./weights/checkpoint"
export type { ConvertedType } from "./weights/conversion"
export { openFile } from "./weights/files-node"
export { type Lock, takeLock } from "./weights/lock-node"
export { encodeSafetensors, readSafetensorsHeader, type TensorData } from "./weights/safetensors"
