/** An image ready for prompts: resized and cut into patches, without a place among other events yet. */

import { createEvent, type Event, type Rows } from "../stream"
import { patchify } from "./patchify"
import { resizeBilinear } from "./resize-bilinear"
import type { RgbImage } from "./rgb-image"
import { targetSize, type VisionSizing } from "./vision-sizing"

export class PreparedImage {
  constructor(
    /** Of the upright original, in pixels. */
    readonly width: number,
    readonly height: number,
    /** [1, H, W] patches. */
    readonly dimsReal: readonly [frames: number, rows: number, columns: number],
    /** [1, H/r, W/r] tokens. */
    readonly dimsVirtual: readonly [frames: number, rows: number, columns: number],
    /** [H·W, 3·patchSize²]; [H·W, 0] when they are not kept. */
    readonly patches: Rows,
  ) {}

  /**
   * The picture as an event of a prompt.
   *
   * @param time the event's place among the others (its start and end)
   */
  event(time = 0): Event {
    const { dimsReal, dimsVirtual, patches } = this
    return createEvent({ type: "image", time, data: patches, dimsReal, dimsVirtual })
  }

  /** The same image for prompts whose reader knows its tokens already, or how to get the patches. */
  withoutPatches(): PreparedImage {
    const { width, height, dimsReal, dimsVirtual, patches } = this
    const none: Rows = { values: new Float32Array(0), rows: patches.rows, width: 0 }
    return new PreparedImage(width, height, dimsReal, dimsVirtual, none)
  }
}

/** H × W patches, which become H/r × W/r tokens through pixel shuffle r. */
export function prepareImage(image: RgbImage, sizing: VisionSizing): PreparedImage {
  const size = targetSize(image.height, image.width, sizing)
  const resized = resizeBilinear(image, size.height, size.width)
  const patches = patchify(resized, sizing.patchSize)
  const [h, w] = [size.height / sizing.patchSize, size.width / sizing.patchSize]
  const tokens = [1, h / sizing.pixelShuffle, w / sizing.pixelShuffle] as const
  return new PreparedImage(image.width, image.height, [1, h, w], tokens, patches)
}
