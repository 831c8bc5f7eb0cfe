/** Image → resized → patches → one event of the stream. */

import { createEvent, type Event } from "../stream"
import { patchify } from "./patchify"
import { resizeBilinear } from "./resize-bilinear"
import type { RgbImage } from "./rgb-image"
import { targetSize, type VisionSizing } from "./vision-sizing"

/**
 * The event of one image: H × W patches that become H/r × W/r tokens through pixel shuffle r.
 *
 * @param time the event's place among the others (its start and end)
 */
export function imageToEvent(image: RgbImage, sizing: VisionSizing, time = 0): Event {
  const size = targetSize(image.height, image.width, sizing)
  const resized = resizeBilinear(image, size.height, size.width)
  const patches = patchify(resized, sizing.patchSize) // [H·W, 3·patchSize²]
  const [h, w] = [size.height / sizing.patchSize, size.width / sizing.patchSize]
  return createEvent({
    type: "image",
    time,
    data: patches,
    dimsReal: [1, h, w],
    dimsVirtual: [1, h / sizing.pixelShuffle, w / sizing.pixelShuffle],
  })
}
