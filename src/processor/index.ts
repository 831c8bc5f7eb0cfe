/**
 * Text and images → TensorStream: tokenizer, chat template, image → patches. No weights, no backend. Only what runs
 * everywhere is exported here; `decode-image-node`, `decode-image-web` and `image-source-node` are imported by name.
 */

export { ChatTemplate, type RenderOptions, type TemplateMessage } from "./chat-template"
export { imageToEvent } from "./image-event"
export { type DecodeImage, type ImageFile, type ImageInput, loadImage } from "./image-input"
export {
  IsaacProcessor,
  type MessagesInput,
  type ProcessOptions,
  type ProcessorInit,
  type ProcessorOutput,
  type TextInput,
} from "./isaac-processor"
export { checkMessages, type Message, type Part, type Role } from "./messages"
export { patchify } from "./patchify"
export { PreparedImage, prepareImage } from "./prepared-image"
export { resizeBilinear } from "./resize-bilinear"
export { MAX_PIXELS, type RawPixels, type RgbImage, toRgbImage } from "./rgb-image"
export { type EncodeOptions, Tokenizer } from "./tokenizer"
export type { AddedToken } from "./tokenizer-files"
export { targetSize, type VisionSizing } from "./vision-sizing"
