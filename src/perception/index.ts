/** What a model's answer says: tags, geometry, reasoning, prompts, drawing. Files are written by `write-image-node`. */

export { type ContactSheetOptions, type ContactTile, contactSheet } from "./contact-sheet"
export type { DrawOptions } from "./draw-layout"
export { drawOnPixels, drawRaster, type RgbaImage } from "./draw-raster"
export { drawSvg, type SvgPicture, toDataUri } from "./draw-svg"
export * from "./parse"
export {
  buildMessages,
  type Example,
  HINTS,
  type Hint,
  PROMPT_NAMES,
  PROMPT_PROFILE_FILE,
  type Prompt,
  type PromptName,
  type PromptProfile,
  type PromptText,
  PUBLISHED_PROFILE,
  promptProfileOf,
  readyPrompt,
} from "./prompt-profile"
export {
  type CaptionStyle,
  type Expect,
  type OcrFormat,
  type Task,
  type TaskOptions,
  taskGuide,
  taskMessages,
} from "./tasks"
