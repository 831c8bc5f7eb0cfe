/** What callers may give as an image once it is in memory, and how it becomes pixels. */

import { IsaacError } from "../errors"
import { type RawPixels, type RgbImage, toRgbImage } from "./rgb-image"

/** The bytes of an image file, and what they are called in messages. */
export interface ImageFile {
  readonly name: string
  readonly bytes: Uint8Array
}

/** Pixels already decoded, or the bytes of an image file. */
export type ImageInput = RawPixels | ImageFile | Uint8Array | ArrayBuffer | Blob

/** Image file → upright RGB pixels; one for Node (sharp) and one for browsers (canvas). */
export type DecodeImage = (bytes: Uint8Array, name: string) => Promise<RgbImage>

/**
 * The pixels of `input`; files go through `decode`.
 *
 * @param name what to call an input that brings no name of its own: "image 2"
 * @throws IsaacError `bad_image` for what cannot be decoded, `bad_input` for what is no image input at all
 */
export async function loadImage(input: ImageInput, name: string, decode: DecodeImage): Promise<RgbImage> {
  const known = await toFileOrPixels(input, name)
  return "bytes" in known ? decode(known.bytes, known.name) : known
}

/** The same, not yet decoded. */
export async function toFileOrPixels(input: ImageInput, name: string): Promise<ImageFile | RgbImage> {
  if (input instanceof Uint8Array) return { name, bytes: input }
  if (input instanceof ArrayBuffer) return { name, bytes: new Uint8Array(input) }
  if (input instanceof Blob) return { name, bytes: new Uint8Array(await input.arrayBuffer()) }
  if (typeof input === "object" && input !== null) {
    if ("bytes" in input && input.bytes instanceof Uint8Array) return { name: input.name ?? name, bytes: input.bytes }
    if ("width" in input && "height" in input && "data" in input) return toRgbImage(input, name)
  }
  throw new IsaacError(
    "bad_input",
    `${name} must be the bytes of an image file (Uint8Array, ArrayBuffer, Blob) or pixels {width, height, data}, ` +
      `but is ${describe(input)}.`,
  )
}

function describe(value: unknown): string {
  if (typeof value === "string") return `the text ${JSON.stringify(value.slice(0, 80))}`
  if (value === null || typeof value !== "object") return String(value)
  return `an object with ${Object.keys(value).slice(0, 8).join(", ") || "no fields"}`
}
