/** What may be chosen for a picture that is drawn on. */

import type { DrawOptions } from "./perception"

export type DrawingFormat = "png" | "jpeg" | "webp" | "svg"

export interface DrawImageOptions extends DrawOptions {
  /** Default "png". An SVG carries the picture as a PNG, upright, and sets labels in the viewer's own font. */
  readonly format?: DrawingFormat
  /** Fetch pictures from addresses of one's own network, too (Node). Default false. */
  readonly allowPrivateUrls?: boolean
  /** Ends the reading of the picture. */
  readonly signal?: AbortSignal
}

export const DRAWING_FORMATS: readonly DrawingFormat[] = ["png", "jpeg", "webp", "svg"]
