/** Where images come from in Node: files, web addresses, data URIs, standard input, memory. */

import { fileURLToPath } from "node:url"
import { IsaacError } from "../errors"
import { parseDataUri } from "./data-uri"
import { type FetchImageOptions, fetchImage, MAX_DOWNLOAD_BYTES, shortAddress } from "./fetch-image-node"
import { type ImageFile, type ImageInput, toFileOrPixels } from "./image-input"
import { type ReadFileOptions, readImageFile, shortPath } from "./read-image-file-node"
import type { RgbImage } from "./rgb-image"

/** A picture: a path, an http(s), file or data address, "-" for standard input, the bytes of a file, or pixels. */
export type ImageReference = string | URL | ImageInput

export interface ReadImageOptions extends FetchImageOptions, ReadFileOptions {
  /** Reads standard input, for "-": at least `maxBytes` + 1 bytes, or to its end. Without it "-" is refused. */
  readonly stdin?: (maxBytes: number) => Promise<Uint8Array>
  /** Most bytes of an image file. Default 64 MiB for downloads, data URIs and standard input, 256 MiB for files. */
  readonly maxBytes?: number
}

/**
 * What a reference stands for: the bytes of an image file, not yet decoded, with a name for messages; or the pixels
 * that were given.
 *
 * @throws IsaacError `not_found` for a path or address that does not exist, `io` for a read that fails, is too large
 *   or takes too long, `bad_input` for what is no reference, `aborted` when the signal fires
 */
export async function readImage(
  reference: ImageReference,
  options: ReadImageOptions = {},
): Promise<ImageFile | RgbImage> {
  if (options.signal?.aborted) throw aborted(options.signal)
  if (typeof reference !== "string" && !(reference instanceof URL)) return toFileOrPixels(reference, "the image")
  const address = String(reference)
  if (address === "") throw new IsaacError("bad_input", "The image's path is empty.")
  if (address === "-") return readStdin(options)
  // A single letter before the colon is a drive, not a scheme.
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(address)?.[1].toLowerCase()
  if (scheme === "data") {
    const { type, bytes } = parseDataUri(address, options.maxBytes ?? MAX_DOWNLOAD_BYTES)
    return { name: `the data URI (${type})`, bytes }
  }
  if (scheme === "http" || scheme === "https") {
    return { name: shortAddress(address), bytes: await fetchImage(address, options) }
  }
  if (scheme === "file") return readFile(filePath(address), options)
  if (scheme !== undefined && /^[^:]+:\/\//.test(address)) {
    throw new IsaacError(
      "bad_input",
      `${shortAddress(address)}: ${scheme} addresses cannot be read; http, https, file and data can.`,
    )
  }
  return readFile(address, options)
}

async function readStdin({ stdin, maxBytes = MAX_DOWNLOAD_BYTES }: ReadImageOptions): Promise<ImageFile> {
  if (!stdin) throw new IsaacError("bad_input", 'The image "-" is standard input, which cannot be read here.')
  const bytes = await stdin(maxBytes)
  if (bytes.byteLength > maxBytes) {
    throw new IsaacError("io", `Standard input has more than ${maxBytes} bytes, too many for an image.`)
  }
  return { name: "standard input", bytes }
}

function filePath(address: string): string {
  try {
    return fileURLToPath(address)
  } catch (cause) {
    throw new IsaacError("bad_input", `${shortAddress(address)} names no local file: ${(cause as Error).message}`, {
      cause,
    })
  }
}

async function readFile(path: string, options: ReadFileOptions): Promise<ImageFile> {
  return { name: shortPath(path), bytes: await readImageFile(path, options) }
}

function aborted(signal: AbortSignal): IsaacError {
  return new IsaacError("aborted", "Reading the image was aborted.", { cause: signal.reason })
}
