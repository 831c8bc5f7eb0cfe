/** The prompt that `isaac bench` measures: a picture of any size and any number of text tokens, the same every time. */

import {
  createEvent,
  type Event,
  imageToEvent,
  type RgbImage,
  Stream,
  TensorStream,
  type VisionSizing,
} from "../internal"

export interface PictureSize {
  readonly height: number
  readonly width: number
}

export interface BenchPrompt {
  readonly stream: TensorStream
  /** The picture, if there is one. */
  readonly image: Event | undefined
  /** Patches that the vision tower sees, and tokens that they become; 0 without a picture. */
  readonly patches: number
  readonly imageTokens: number
  /** All of the prompt. */
  readonly tokens: number
}

/** The picture, resized to what the model sees as any other picture would be, then exactly `textTokens` ids. */
export function benchPrompt(
  vision: VisionSizing,
  vocabulary: number,
  textTokens: number,
  size?: PictureSize,
): BenchPrompt {
  const events: Event[] = []
  const image = size && imageToEvent(picture(size), vision, 0)
  if (image) events.push(image)
  if (textTokens > 0) events.push(createEvent({ type: "text", time: 1, data: randomIds(textTokens, vocabulary) }))
  const stream = new TensorStream([Stream.create(events, ["text", "image"])])
  const tokens = stream.shape[1]
  const patches = image ? image.dimsReal.reduce((product, n) => product * n, 1) : 0
  return { stream, image, patches, imageTokens: tokens - textTokens, tokens }
}

/** Slopes of colour with some noise. */
function picture({ height, width }: PictureSize): RgbImage {
  const data = new Uint8Array(height * width * 3)
  const next = numbers()
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (const slope of [(x * 191) / width, (y * 191) / height, ((x + y) * 191) / (width + height)]) {
        data[at++] = slope + (next() % 64)
      }
    }
  }
  return { width, height, data }
}

function randomIds(count: number, vocabulary: number): Int32Array {
  const next = numbers()
  return Int32Array.from({ length: count }, () => next() % vocabulary)
}

/** Whole numbers of 31 bits that look random (xorshift), the same ones every time. */
function numbers(): () => number {
  let state = 2463534242
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return state >>> 1
  }
}
