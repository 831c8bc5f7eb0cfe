/** `isaac-vlm/parse`: pointing tags, reasoning and geometry, for texts from anywhere. No weights, no backend. */

export { IsaacError, type IsaacErrorCode, isIsaacError } from "../errors"
export { COORDINATE_RANGE, fromPixels, type PictureSize, type PixelLeaf, toPixels } from "./geometry"
export {
  type ExtractedReasoning,
  extractReasoning,
  ReasoningCleaner,
  type ReasoningDelta,
  ReasoningStream,
  type SplitReasoning,
  splitReasoning,
} from "./reasoning"
export { TagStream } from "./tag-stream"
export * from "./tags"
