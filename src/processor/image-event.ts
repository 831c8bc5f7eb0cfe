/** Image → resized → patches → one event of the stream. */

import type { Event } from "../stream"
import { prepareImage } from "./prepared-image"
import type { RgbImage } from "./rgb-image"
import type { VisionSizing } from "./vision-sizing"

/**
 * The event of one image: H × W patches that become H/r × W/r tokens through pixel shuffle r.
 *
 * @param time the event's place among the others (its start and end)
 */
export function imageToEvent(image: RgbImage, sizing: VisionSizing, time = 0): Event {
  return prepareImage(image, sizing).event(time)
}
