/**
 * TensorStream: a multimodal prompt as an ordered stream of events (text and images) that can be scheduled, grouped,
 * merged, sliced by token and viewed as the arrays a decoder needs. Import it as `isaac-vlm/stream`.
 *
 * ```ts
 * const question = createEvent({ type: "text", time: 0, data: [52, 383, 277] })
 * const picture = createEvent({
 *   type: "image",
 *   time: 1,
 *   data: { values: patches, rows: 16, width: 768 }, // Float32Array of 4 × 4 patches of 16 × 16 × 3 numbers
 *   dimsReal: [1, 4, 4], // patches
 *   dimsVirtual: [1, 2, 2], // tokens, after a pixel shuffle of 2
 * })
 * const batch = new TensorStream([Stream.create([question, picture], ["text", "image"])])
 * batch.shape // [1, 7]
 * batch.modalityMask() // 1 1 1 0 0 0 0
 * batch.slice(4, 7).positions() // the picture without its first token: (0,0,1) (0,1,0) (0,1,1)
 * ```
 */

/** Making one batch out of several, and streams of different lengths equally long. */
export { collate, padStream } from "./collate"
/** Compact data: matrices below each other, and the row of each token in them. */
export { concatRows, tokenRows } from "./compact"
/** Equality of batches, float data within a tolerance. */
export { equalTensorStreams } from "./equal"
/** Events: their parts, their checks and their token counts. */
export {
  createEvent,
  type Event,
  type EventInit,
  type EventType,
  eventTokens,
  Modality,
  RoleIndex,
  type Rows,
} from "./event"
/** Grouping one stream by a key, and merging several streams into one. */
export { groupStream, mergeStreams, modalityOf, type NamedKeys } from "./group"
/** Masks: one number per token that says which event it came from. */
export { eventMask, eventMaskByTag, modalityMask, roleIndex, roleMask } from "./masks"
/** A batch as plain objects and typed arrays, which messages between threads can carry. */
export { fromPlain, type PlainTensorStream, toPlain } from "./plain"
/** The (time, row, column) position of every token. */
export { positions } from "./positions"
/** Compact data, one matrix per type, back into the events of a stream. */
export { type CompactByType, reconstruct } from "./reconstruct"
/** The order in which the events of a stream are read. */
export { scheduleEvents } from "./schedule"
/** Token ids of chosen types and roles at their places, and training labels. */
export { ignoredLabel, type KnownRole, labels, type SelectedData, setData } from "./set-data"
/** Slicing by token range, also through the middle of an event. */
export { sliceStream, sliceTokens } from "./slice"
/** An ordered list of events, one sample of a batch. */
export { type EventChanges, Stream } from "./stream"
/** A batch of streams with the same number of tokens, the input of the model. */
export { TensorStream } from "./tensor-stream"
/** One number per token: ids for text, garbage for images. */
export { tokenView } from "./token-view"
