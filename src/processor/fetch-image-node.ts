/** Pictures from web addresses, within limits, and not from inside somebody's network. */

import { type LookupAddress, type LookupOptions, lookup } from "node:dns"
import { get as httpGet, type IncomingMessage } from "node:http"
import { get as httpsGet } from "node:https"
import { isIP, type LookupFunction } from "node:net"
import type { Transform } from "node:stream"
import { pipeline } from "node:stream/promises"
import { createBrotliDecompress, createGunzip, createInflate } from "node:zlib"
import { IsaacError, isIsaacError, plainText } from "../errors"
import { joinBytes } from "./collect-bytes"
import { FORMAT_BYTES, FORMATS_READ, formatOf } from "./image-format"
import { whyNotPublic } from "./private-address"

export interface FetchImageOptions {
  readonly signal?: AbortSignal
  /** From the first request to the last byte. Default 30 000. */
  readonly timeoutMs?: number
  /** Longest wait for the next byte, or for an answer. Default 10 000. */
  readonly stallMs?: number
  /** Most bytes, as sent and as decompressed. Default 64 MiB. */
  readonly maxBytes?: number
  /** Default 5. */
  readonly maxRedirects?: number
  /** Connect to addresses of private networks and of this machine as well. Default false. */
  readonly allowPrivateUrls?: boolean
  /** The addresses of a name. Default: the system's. */
  readonly resolve?: (host: string) => Promise<readonly LookupAddress[]>
  /** Why an address may not be connected to; undefined when it may. Default: `whyNotPublic`. */
  readonly judge?: (address: string) => string | undefined
}

export const MAX_DOWNLOAD_BYTES = 64 << 20
const TIMEOUT_MS = 30_000
const STALL_MS = 10_000
const MAX_REDIRECTS = 5
/** Servers that do not know better say one of these; the bytes tell. */
const UNTOLD_TYPES = new Set(["", "application/octet-stream", "binary/octet-stream"])
const DECOMPRESSORS: Readonly<Record<string, () => Transform>> = {
  gzip: createGunzip,
  "x-gzip": createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
}

/**
 * GET a picture's bytes. Sends no cookies, logins or referrer, keeps nothing, goes through no proxy.
 *
 * Every name is resolved once per hop; all its addresses are judged, and only those are connected to: a name that
 * means something else a moment later changes nothing.
 *
 * @throws IsaacError `bad_input` for addresses that are malformed or not public, `not_found` for 404, 410 and unknown
 *   hosts, `bad_image` for what the server does not call a picture, `io` for limits and failures, `aborted`
 */
export async function fetchImage(address: string, options: FetchImageOptions = {}): Promise<Uint8Array> {
  const { signal, timeoutMs = TIMEOUT_MS, stallMs = STALL_MS } = options
  const stalled = new AbortController()
  const total = AbortSignal.timeout(timeoutMs)
  let timer: NodeJS.Timeout | undefined
  const touch = () => {
    clearTimeout(timer)
    timer = setTimeout(() => stalled.abort(), stallMs)
  }
  const name = shortAddress(address)
  try {
    const first = checkedUrl(address, name)
    const either = AbortSignal.any(signal ? [signal, total, stalled.signal] : [total, stalled.signal])
    const download = new Download(name, options, either, touch)
    return await download.bytes(await download.follow(first))
  } catch (cause) {
    if (signal?.aborted) throw new IsaacError("aborted", "Reading the image was aborted.", { cause: signal.reason })
    if (total.aborted) {
      throw new IsaacError("io", `${name} was not downloaded within ${timeoutMs / 1000} s.`, { cause })
    }
    if (stalled.signal.aborted) {
      throw new IsaacError("io", `${name} sent nothing for ${stallMs / 1000} s: the download was given up.`, { cause })
    }
    if (isIsaacError(cause)) throw cause
    throw explained(cause as NodeJS.ErrnoException, name)
  } finally {
    clearTimeout(timer)
  }
}

class Download {
  readonly #name: string
  readonly #options: FetchImageOptions
  readonly #signal: AbortSignal
  /** Something has arrived. */
  readonly #touch: () => void

  constructor(name: string, options: FetchImageOptions, signal: AbortSignal, touch: () => void) {
    this.#name = name
    this.#options = options
    this.#signal = signal
    this.#touch = touch
  }

  /** The response to a GET, behind all redirects. */
  async follow(first: URL): Promise<IncomingMessage> {
    const { maxRedirects = MAX_REDIRECTS } = this.#options
    const name = this.#name
    let url = first
    for (let hop = 0; ; hop++) {
      const response = await this.#get(url)
      const { statusCode = 0, statusMessage = "", headers } = response
      if (statusCode >= 200 && statusCode < 300) return response
      response.destroy()
      if (statusCode >= 300 && statusCode < 400 && headers.location !== undefined) {
        if (hop === maxRedirects) throw new IsaacError("io", `${name} redirects more than ${maxRedirects} times.`)
        url = nextUrl(headers.location, url, name)
        continue
      }
      const code = statusCode === 404 || statusCode === 410 ? "not_found" : "io"
      throw new IsaacError(code, `${name} answered ${statusCode} ${plainText(statusMessage.slice(0, 80))}`.trimEnd())
    }
  }

  /** All bytes of a response, decompressed. */
  async bytes(response: IncomingMessage): Promise<Uint8Array> {
    const name = this.#name
    const { maxBytes = MAX_DOWNLOAD_BYTES } = this.#options
    const touch = this.#touch
    try {
      const { type, decompress } = checkedHeaders(response, name, maxBytes)
      const chunks: Uint8Array[] = []
      let total = 0
      let told = !UNTOLD_TYPES.has(type)
      const tooMany = () =>
        new IsaacError("io", `${name} has more than ${maxBytes} bytes; images of at most that many are downloaded.`)

      async function* received(source: AsyncIterable<Uint8Array>) {
        let sent = 0
        for await (const chunk of source) {
          touch()
          sent += chunk.byteLength
          // Compressed data may be endless and hold nothing.
          if (sent > maxBytes) throw tooMany()
          yield chunk
        }
      }
      async function collect(source: AsyncIterable<Uint8Array>) {
        for await (const chunk of source) {
          total += chunk.byteLength
          if (total > maxBytes) throw tooMany()
          chunks.push(chunk)
          if (!told && total >= FORMAT_BYTES) {
            checkFormat(joinBytes(chunks), name)
            told = true
          }
        }
      }
      await (decompress === undefined
        ? pipeline(response, received, collect)
        : pipeline(response, received, decompress(), collect))
      const bytes = joinBytes(chunks)
      if (!told) checkFormat(bytes, name)
      return bytes
    } finally {
      response.destroy()
    }
  }

  #get(url: URL): Promise<IncomingMessage> {
    this.#touch()
    return new Promise((resolve, reject) => {
      const host = url.hostname.replace(/^\[(.*)\]$/, "$1")
      // Node looks up no name that is an address already.
      if (isIP(host)) this.#judge(url, [{ address: host, family: isIP(host) }])
      // Whatever a resolver makes of it.
      if (/(^|\.)localhost\.?$/.test(host)) this.#judge(url, [{ address: "127.0.0.1", family: 4 }])
      const request = (url.protocol === "https:" ? httpsGet : httpGet)(url, {
        // A connection of its own: one that others keep open may lead anywhere.
        agent: false,
        lookup: this.#lookup(url),
        signal: this.#signal,
        headers: { accept: "image/*", "accept-encoding": "identity", "user-agent": "isaac-vlm" },
      })
      request.on("response", resolve)
      request.on("error", reject) // stays: an error after the response must have a listener
    })
  }

  /** What Node asks for the addresses to connect to. */
  #lookup(url: URL): LookupFunction {
    const { resolve = systemAddresses } = this.#options
    return (host: string, { all }: LookupOptions, callback) => {
      resolve(host).then(
        (found) => {
          try {
            this.#judge(url, found)
          } catch (error) {
            callback(error as Error, "")
            return
          }
          if (all) callback(null, [...found])
          else callback(null, found[0].address, found[0].family)
        },
        (error) => callback(error, ""),
      )
    }
  }

  /** Throws bad_input unless all addresses may be connected to. */
  #judge(url: URL, found: readonly LookupAddress[]): void {
    const { allowPrivateUrls = false, judge = whyNotPublic } = this.#options
    if (found.length === 0) throw new IsaacError("not_found", `${this.#name}: the host ${url.hostname} has no address.`)
    if (allowPrivateUrls) return
    for (const { address } of found) {
      const why = judge(address)
      if (why === undefined) continue
      const host = url.hostname.replace(/^\[(.*)\]$/, "$1")
      const at = host === address ? address : `${shortAddress(host)} (${address})`
      throw new IsaacError(
        "bad_input",
        `${this.#name} is not fetched: ${at} is ${why}. A picture's address could be made to reach what only your ` +
          "machine or network may reach. If you trust it, allow private addresses: load with allowPrivateUrls: true " +
          "(isaac ask --allow-private-urls).",
      )
    }
  }
}

/** A parsed http(s) address without a login in it. */
function checkedUrl(address: string, name: string): URL {
  let url: URL
  try {
    url = new URL(address)
  } catch (cause) {
    throw new IsaacError("bad_input", `${name} is no valid address; it should read https://HOST/PATH.`, { cause })
  }
  if (url.username !== "" || url.password !== "") {
    throw new IsaacError(
      "bad_input",
      `${name} has a user name or password in it; pictures are fetched without logins. Download it and give the file.`,
    )
  }
  return url
}

/** Where a redirect leads. */
function nextUrl(location: string, from: URL, name: string): URL {
  let url: URL
  try {
    url = new URL(location, from)
  } catch (cause) {
    throw new IsaacError("io", `${name} redirects to ${shortAddress(location)}, which is no valid address.`, { cause })
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new IsaacError("io", `${name} redirects to ${url.protocol}, only http and https are followed.`)
  }
  if (url.username !== "" || url.password !== "") {
    throw new IsaacError("io", `${name} redirects to an address with a user name or password, which is not followed.`)
  }
  return url
}

/** What the headers promise. Throws for too much, for no picture, and for a compression that is not known. */
function checkedHeaders({ headers }: IncomingMessage, name: string, maxBytes: number) {
  const promised = Number(headers["content-length"] ?? 0)
  if (promised > maxBytes) {
    throw new IsaacError("io", `${name} has ${promised} bytes; images of at most ${maxBytes} are downloaded.`)
  }
  const type = (headers["content-type"] ?? "").split(";")[0].trim().toLowerCase()
  if (type === "text/html" || type === "application/xhtml+xml") {
    throw new IsaacError(
      "bad_image",
      `${name} is a web page, not a picture. Open it, and copy the address of the picture itself.`,
    )
  }
  if (type === "image/svg+xml") {
    throw new IsaacError("bad_image", `${name} is an SVG drawing; ${FORMATS_READ}. Export it as PNG.`)
  }
  if (!type.startsWith("image/") && !UNTOLD_TYPES.has(type)) {
    throw new IsaacError("bad_image", `${name} is ${plainText(type.slice(0, 80))}, not a picture; ${FORMATS_READ}.`)
  }
  const encoding = (headers["content-encoding"] ?? "identity").trim().toLowerCase()
  if (encoding === "" || encoding === "identity") return { type }
  if (!Object.hasOwn(DECOMPRESSORS, encoding)) {
    throw new IsaacError(
      "io",
      `${name} came compressed as ${plainText(encoding.slice(0, 80))}, though it was asked not to; ` +
        `only ${Object.keys(DECOMPRESSORS).join(", ")} are undone.`,
    )
  }
  return { type, decompress: DECOMPRESSORS[encoding] }
}

/** Throws unless the bytes begin like an image. */
function checkFormat(bytes: Uint8Array, name: string): void {
  const { image, other } = formatOf(bytes)
  if (image === undefined) {
    throw new IsaacError("bad_image", `${name} is ${other ?? "no picture that is known here"}; ${FORMATS_READ}.`)
  }
}

/** A failure of the network or of the compression, in words. */
function explained(cause: NodeJS.ErrnoException, name: string): IsaacError {
  if (cause.code === "ENOTFOUND") {
    return new IsaacError("not_found", `cannot download ${name}: no host of that name is known.`, { cause })
  }
  const why =
    cause.code === "ECONNRESET"
      ? "the connection broke off"
      : cause.code?.startsWith("Z_") || cause.code?.startsWith("ERR__ERROR_FORMAT")
        ? `its compression is damaged or cut short (${cause.message})`
        : // A host with several addresses gives one failure for each.
          cause instanceof AggregateError && cause.errors.length > 0
          ? cause.errors.map((error: Error) => error.message).join(", ")
          : cause.message
  return new IsaacError("io", `cannot download ${name}: ${plainText(why)}`, { cause })
}

function systemAddresses(host: string): Promise<LookupAddress[]> {
  return new Promise((resolve, reject) => {
    lookup(host, { all: true }, (error, found) => (error ? reject(error) : resolve(found)))
  })
}

/** An address as messages show it: without a login, without its middle when it is long. */
export function shortAddress(address: string): string {
  const text = plainText(address.replace(/^([a-z]+:[/\\]*)[^/\\?#]*@/i, "$1"))
  return text.length > 200 ? `${text.slice(0, 150)}…${text.slice(-49)}` : text
}
