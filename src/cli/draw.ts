/** `--draw`: the picture with what the answer points at. */

import type { Answer } from "../index"
import { type RgbImage, writeDrawing } from "../internal"

/**
 * Write the picture that the answer points into (the first one when it points nowhere); the ending of `file` chooses
 * the form: .png, .jpg, .jpeg, .webp or .svg. Throws io.
 */
export async function drawAnswer(file: string, { pixels }: Answer, pictures: readonly RgbImage[]): Promise<void> {
  const image = pixels[0]?.image ?? 0
  await writeDrawing(file, pictures[image], pixels, { image })
}
