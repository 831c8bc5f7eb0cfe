/** What callers may give as an image once it is in memory, and how it becomes pixels. */

import { IsaacError, plainText, shown } from "../errors"
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

/** Most bytes of a Blob: those of an uncompressed 60-megapixel TIFF with alpha. */
const MAX_BLOB_BYTES = 256 << 20

/** The same, not yet decoded. Throws IsaacError `io` when a Blob cannot be read. */
export async function toFileOrPixels(input: ImageInput, name: string): Promise<ImageFile | RgbImage> {
  if (isBytes(input)) return toFile(input, name)
  if (input instanceof ArrayBuffer) return toFile(new Uint8Array(input), name)
  if (input instanceof Blob) return toFile(await blobBytes(input, name), name)
  if (typeof input === "object" && input !== null) {
    if ("bytes" in input && isBytes(input.bytes)) {
      return toFile(input.bytes, typeof input.name === "string" && input.name !== "" ? input.name : name)
    }
    if ("width" in input && "height" in input && "data" in input) return toRgbImage(input, name)
  }
  throw new IsaacError(
    "bad_input",
    `${name} must be the bytes of an image file (Uint8Array, ArrayBuffer, Blob) or pixels {width, height, data}, ` +
      `but is ${describe(input)}.`,
  )
}

function toFile(bytes: Uint8Array, name: string): ImageFile {
  if (bytes.byteLength > 0) return { name: plainText(name.slice(0, 300)), bytes }
  throw new IsaacError("bad_image", `${name} is empty: it has 0 bytes. A buffer that was transferred is empty, too.`)
}

/** Also those of another realm (tests in a sandbox, frames), for which `instanceof` is false. */
function isBytes(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array || Object.prototype.toString.call(value) === "[object Uint8Array]"
}

async function blobBytes(blob: Blob, name: string): Promise<Uint8Array> {
  if (blob.size > MAX_BLOB_BYTES) {
    throw new IsaacError("io", `${name} has ${blob.size} bytes; image files of at most ${MAX_BLOB_BYTES} are read.`)
  }
  try {
    return new Uint8Array(await blob.arrayBuffer())
  } catch (cause) {
    throw new IsaacError("io", `${name} cannot be read: ${(cause as Error).message}`, { cause })
  }
}

function describe(value: unknown): string {
  if (typeof value === "string") return `the text ${shown(value, 80)}`
  if (typeof value === "function") return "a function"
  if (value === null || typeof value !== "object") return shown(value)
  if (ArrayBuffer.isView(value)) return `a ${Object.prototype.toString.call(value).slice(8, -1)}`
  return `an object with ${plainText(Object.keys(value).slice(0, 8).join(", ").slice(0, 80)) || "no fields"}`
}
