/** isaac-vlm in a browser: the same names as index.ts, whose types are those of both. */

export { drawImage } from "./draw-image-web"
export { IsaacError, isIsaacError } from "./errors"
export { assistant, box, collection, image, point, polygon, system, text, user } from "./message-builder"
export { IsaacModel } from "./model"
export { contactSheet } from "./perception/contact-sheet"
export { drawOnPixels } from "./perception/draw-raster"
export { drawSvg, toDataUri } from "./perception/draw-svg"
export { IsaacProcessor } from "./processor"
export { createEvent, Stream, TensorStream } from "./stream"
export { Isaac } from "./worker/isaac-web"
