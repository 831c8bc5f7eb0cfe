/** Where images come from in a browser's worker: addresses, data URIs, memory, and bitmaps that the page made. */

import { IsaacError } from "../errors"
import { pixelsOf } from "./bitmap-pixels-web"
import { parseDataUri } from "./data-uri"
import { type ImageFile, type ImageInput, toFileOrPixels } from "./image-input"
import type { RgbImage } from "./rgb-image"

const MAX_BYTES = 64 << 20
const TIMEOUT_MS = 30_000

/**
 * What an image stands for: the bytes of an image file, not yet decoded, with a name for messages; or pixels.
 *
 * An address is fetched as the browser fetches for the page: another site's server must allow it by CORS.
 *
 * @throws IsaacError `not_found` for an address that does not exist, `io` for a download that fails, is too large or
 *   takes too long, `bad_input` for what is no image, `aborted` when the signal fires
 */
export async function readImage(
  image: string | URL | ImageInput | ImageBitmap,
  { signal, timeoutMs = TIMEOUT_MS }: { readonly signal?: AbortSignal; readonly timeoutMs?: number } = {},
): Promise<ImageFile | RgbImage> {
  if (signal?.aborted) throw aborted(signal)
  if (image instanceof ImageBitmap) return pixelsOf(image, "the image")
  if (typeof image !== "string" && !(image instanceof URL)) return toFileOrPixels(image, "the image")
  const address = String(image)
  if (/^data:/i.test(address)) {
    const { type, bytes } = parseDataUri(address, MAX_BYTES)
    return { name: `the data URI (${type})`, bytes }
  }
  if (!/^(?:https?|blob):/i.test(address)) {
    throw new IsaacError("bad_input", `${address}: only http, https, blob and data addresses are read in a browser`)
  }
  const timeout = AbortSignal.timeout(timeoutMs)
  try {
    const response = await fetch(address, {
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      referrerPolicy: "no-referrer",
    })
    if (!response.ok) {
      const code = response.status === 404 || response.status === 410 ? "not_found" : "io"
      throw new IsaacError(code, `${address} answered ${response.status} ${response.statusText}`.trimEnd())
    }
    return { name: address, bytes: await limitedBytes(response, address) }
  } catch (cause) {
    if (cause instanceof IsaacError) throw cause
    if (signal?.aborted) throw aborted(signal)
    if (timeout.aborted) {
      throw new IsaacError("io", `${address} was not downloaded within ${timeoutMs / 1000} s`, { cause })
    }
    const why = `${(cause as Error).message}. A server of another site must allow this page by CORS`
    throw new IsaacError("io", `cannot download ${address}: ${why}`, { cause })
  }
}

async function limitedBytes(response: Response, address: string): Promise<Uint8Array> {
  const reader = response.body?.getReader()
  const pieces: Uint8Array<ArrayBuffer>[] = []
  let bytes = 0
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true }
    if (done || value === undefined) break
    pieces.push(value)
    bytes += value.length
    if (bytes > MAX_BYTES) {
      await reader?.cancel()
      throw new IsaacError("io", `${address} has more than ${MAX_BYTES} bytes, too many for an image`)
    }
  }
  return new Uint8Array(await new Blob(pieces).arrayBuffer())
}

function aborted(signal: AbortSignal): IsaacError {
  return new IsaacError("aborted", "Reading the image was aborted.", { cause: signal.reason })
}
