/**
 * Text and images → TensorStream: tokenizer, chat template, image → patches. No weights, no backend. Only what runs
 * everywhere is exported here; `decode-image-node`, `decode-image-web` and `image-source-node` are imported by name.
 */

export { imageToEvent } from "./image-event"
export { type DecodeImage, type ImageFile, type ImageInput, loadImage } from "./image-input"
export { patchify } from "./patchify"
export { resizeBilinear } from "./resize-bilinear"
export { MAX_PIXELS, type RawPixels, type RgbImage, toRgbImage } from "./rgb-image"
export { targetSize, type VisionSizing } from "./vision-sizing"
