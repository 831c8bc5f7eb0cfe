/** What a page gives as pictures, made into what a worker can read: elements become bitmaps, addresses absolute. */

import { IsaacError } from "../errors"
import type { AskOptions, ImageInput } from "../isaac"
import type { EngineService } from "./engine-service"
import { pageAddress } from "./page-address-web"
import type {
  Caller,
  CallInput,
  CallName,
  CallOptions,
  CallResult,
  StreamInput,
  StreamItem,
  StreamName,
} from "./protocol"

export class PageCaller implements Caller<EngineService> {
  readonly #caller: Caller<EngineService>

  constructor(caller: Caller<EngineService>) {
    this.#caller = caller
  }

  async call<K extends CallName<EngineService>>(
    name: K,
    input: CallInput<EngineService, K>,
    options?: CallOptions,
  ): Promise<CallResult<EngineService, K>> {
    const prepared = await prepare(input)
    try {
      return await this.#caller.call(name, prepared.input, options)
    } finally {
      prepared.free()
    }
  }

  async *iterate<K extends StreamName<EngineService>>(
    name: K,
    input: StreamInput<EngineService, K>,
    options?: CallOptions,
  ): AsyncGenerator<StreamItem<EngineService, K>, void> {
    const prepared = await prepare(input)
    try {
      yield* this.#caller.iterate(name, prepared.input, options)
    } finally {
      prepared.free()
    }
  }

  idle(): Promise<void> {
    return this.#caller.idle()
  }

  fail(error: IsaacError): void {
    this.#caller.fail(error)
  }
}

interface Prepared<T> {
  readonly input: T
  /** Give up the bitmaps that were made. */
  free(): void
}

/** Where an input has pictures. */
interface Pictured {
  readonly images?: readonly ImageInput[]
  readonly options?: Pick<AskOptions, "examples">
}

async function prepare<T>(input: T): Promise<Prepared<T>> {
  const { images, options } = (input ?? {}) as Pictured
  const made: ImageBitmap[] = []
  const free = () => {
    for (const bitmap of made) bitmap.close()
  }
  const sendable = async (image: ImageInput): Promise<ImageInput> => {
    const ready = await prepareImage(image)
    if (ready instanceof ImageBitmap && ready !== image) made.push(ready)
    return ready
  }
  let prepared = input
  try {
    if (images !== undefined) prepared = { ...prepared, images: await each(images, sendable) }
    // What is no list of examples is refused by the engine.
    if (Array.isArray(options?.examples)) {
      const examples = await each(options.examples as NonNullable<AskOptions["examples"]>, async (example) =>
        example ? { ...example, image: await sendable(example.image) } : example,
      )
      prepared = { ...prepared, options: { ...options, examples } }
    }
    return { input: prepared, free }
  } catch (error) {
    free()
    throw error
  }
}

/** One after the other: when one fails, none of the others is still on its way. */
async function each<T>(items: readonly T[], work: (item: T) => Promise<T>): Promise<T[]> {
  const done: T[] = []
  for (const item of items) done.push(await work(item))
  return done
}

/** An image as a worker can read it. A bitmap that was made for it is the caller's to close. */
export async function prepareImage(image: ImageInput): Promise<ImageInput> {
  if (typeof image === "string") return URL.canParse(image, pageAddress()) ? new URL(image, pageAddress()).href : image
  if (!isDrawable(image)) return image
  try {
    return await createImageBitmap(image, { premultiplyAlpha: "none", colorSpaceConversion: "none" })
  } catch (cause) {
    throw new IsaacError(
      "bad_image",
      `the ${Object.prototype.toString.call(image).slice(8, -1)} has no picture to read: is it loaded? ` +
        "(a canvas must have pixels, and an image of another site needs crossorigin and CORS)",
      { cause },
    )
  }
}

function isDrawable(image: ImageInput): image is HTMLImageElement | HTMLCanvasElement | OffscreenCanvas {
  const names = ["HTMLImageElement", "HTMLCanvasElement", "OffscreenCanvas", "HTMLVideoElement", "VideoFrame"]
  // Not all of them are everywhere: a worker has no elements.
  return names.some((name) => {
    const type: unknown = (globalThis as unknown as Record<string, unknown>)[name]
    return typeof type === "function" && image instanceof type
  })
}
