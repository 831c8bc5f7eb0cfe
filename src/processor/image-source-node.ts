/** Where images come from in Node: files, web addresses, data URIs, standard input, memory. */

import { createReadStream } from "node:fs"
import { stat } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { IsaacError } from "../errors"
import { parseDataUri } from "./data-uri"
import { type ImageFile, type ImageInput, toFileOrPixels } from "./image-input"
import type { RgbImage } from "./rgb-image"

/** A picture: a path, an http(s), file or data address, "-" for standard input, the bytes of a file, or pixels. */
export type ImageReference = string | URL | ImageInput

export interface ReadImageOptions {
  /** Reads standard input to its end, for "-". Without it "-" is refused. */
  readonly stdin?: () => Promise<Uint8Array>
  readonly signal?: AbortSignal
  /** For a download, from the first request to the last byte. Default 30 000. */
  readonly timeoutMs?: number
  /** Most bytes of an image file. Default 64 MiB for downloads, data URIs and standard input, 256 MiB for files. */
  readonly maxBytes?: number
  /** Default 5. */
  readonly maxRedirects?: number
  /** Makes the requests. Default: the global fetch. */
  readonly fetch?: typeof fetch
}

const MAX_BYTES = 64 << 20
/** A file on the own disk may be an uncompressed 60-megapixel TIFF with alpha. */
const MAX_FILE_BYTES = 256 << 20
const TIMEOUT_MS = 30_000
const MAX_REDIRECTS = 5

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
    const { type, bytes } = parseDataUri(address, options.maxBytes ?? MAX_BYTES)
    return { name: `the data URI (${type})`, bytes }
  }
  if (scheme === "http" || scheme === "https") return download(address, options)
  if (scheme === "file") return readFile(filePath(address), options)
  if (scheme !== undefined && /^[^:]+:\/\//.test(address)) {
    throw new IsaacError("bad_input", `${address}: ${scheme} addresses cannot be read; http, https, file and data can.`)
  }
  return readFile(address, options)
}

async function readStdin({ stdin, maxBytes = MAX_BYTES }: ReadImageOptions): Promise<ImageFile> {
  if (!stdin) throw new IsaacError("bad_input", 'The image "-" is standard input, which cannot be read here.')
  const bytes = await stdin()
  if (bytes.byteLength > maxBytes) {
    throw new IsaacError(
      "io",
      `Standard input has ${bytes.byteLength} bytes; at most ${maxBytes} are read as an image.`,
    )
  }
  return { name: "standard input", bytes }
}

function filePath(address: string): string {
  try {
    return fileURLToPath(address)
  } catch (cause) {
    throw new IsaacError("bad_input", `${address} names no local file: ${(cause as Error).message}`, { cause })
  }
}

/** A file, or a pipe (`<(curl …)`), whose size is only known at its end: hence a stream with a limit. */
async function readFile(path: string, { signal, maxBytes = MAX_FILE_BYTES }: ReadImageOptions): Promise<ImageFile> {
  const found = await stat(path).catch((cause) => {
    const missing = ["ENOENT", "ENOTDIR"].includes((cause as NodeJS.ErrnoException).code ?? "")
    throw new IsaacError(missing ? "not_found" : "io", `cannot open the image ${path}: ${(cause as Error).message}`, {
      cause,
    })
  })
  if (found.isDirectory()) throw new IsaacError("bad_input", `${path} is a folder, not an image.`)
  try {
    return { name: path, bytes: await collect(createReadStream(path, { signal }), path, maxBytes) }
  } catch (cause) {
    if (signal?.aborted) throw aborted(signal)
    if (cause instanceof IsaacError) throw cause
    throw new IsaacError("io", `cannot read the image ${path}: ${(cause as Error).message}`, { cause })
  }
}

async function download(address: string, options: ReadImageOptions): Promise<ImageFile> {
  const { signal, timeoutMs = TIMEOUT_MS, maxBytes = MAX_BYTES, maxRedirects = MAX_REDIRECTS } = options
  const timeout = AbortSignal.timeout(timeoutMs)
  const either = signal ? AbortSignal.any([signal, timeout]) : timeout
  try {
    const response = await followRedirects(address, maxRedirects, either, options.fetch ?? fetch)
    const promised = Number(response.headers.get("content-length") ?? 0)
    if (promised > maxBytes) {
      await response.body?.cancel()
      throw new IsaacError("io", `${address} has ${promised} bytes; images of at most ${maxBytes} are downloaded.`)
    }
    return { name: address, bytes: await collect(response.body ?? [], address, maxBytes) }
  } catch (cause) {
    if (signal?.aborted) throw aborted(signal)
    if (timeout.aborted) {
      throw new IsaacError("io", `${address} was not downloaded within ${timeoutMs / 1000} s.`, { cause })
    }
    if (cause instanceof IsaacError) throw cause
    // fetch says only "fetch failed"; its cause says why.
    const inner = (cause as Error).cause
    const why = inner instanceof Error ? inner.message : (cause as Error).message
    throw new IsaacError("io", `cannot download ${address}: ${why}`, { cause })
  }
}

/** GET with redirects followed by hand, so that each hop is counted and stays http or https. */
async function followRedirects(
  address: string,
  maxRedirects: number,
  signal: AbortSignal,
  request: typeof fetch,
): Promise<Response> {
  let url = new URL(address)
  for (let hop = 0; ; hop++) {
    const response = await request(url, { redirect: "manual", signal })
    const location = response.headers.get("location")
    if (response.status >= 300 && response.status < 400 && location) {
      await response.body?.cancel()
      if (hop === maxRedirects) {
        throw new IsaacError("io", `${address} redirects more than ${maxRedirects} times.`)
      }
      url = new URL(location, url)
      if (url.protocol !== "http:" && url.protocol !== "https:") {
        throw new IsaacError("io", `${address} redirects to ${url.protocol}, only http and https are followed.`)
      }
      continue
    }
    if (response.ok) return response
    await response.body?.cancel()
    const code = response.status === 404 || response.status === 410 ? "not_found" : "io"
    throw new IsaacError(code, `${address} answered ${response.status} ${response.statusText}`.trimEnd())
  }
}

/** All bytes of a stream; more than `maxBytes` end it with an error. */
async function collect(
  stream: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  name: string,
  maxBytes: number,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let total = 0
  for await (const chunk of stream) {
    total += chunk.byteLength
    if (total > maxBytes) throw new IsaacError("io", `${name} has more than ${maxBytes} bytes, too many for an image.`)
    chunks.push(chunk)
  }
  const bytes = new Uint8Array(total)
  let at = 0
  for (const chunk of chunks) {
    bytes.set(chunk, at)
    at += chunk.byteLength
  }
  return bytes
}

function aborted(signal: AbortSignal): IsaacError {
  return new IsaacError("aborted", "Reading the image was aborted.", { cause: signal.reason })
}
