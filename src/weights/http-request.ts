/** Requests for one file of a web server, all of it or a range, and what the server says of it. Runs anywhere. */

import { IsaacError } from "../errors"
import { abortError, type Patience, TransientError } from "./retry"

export interface HttpConnection {
  readonly fetch: typeof fetch
  readonly patience: Patience
  /** Ends every request. */
  readonly signal: AbortSignal
  /** More headers for an address: a token for the server that it belongs to. */
  readonly headers?: (url: URL) => Readonly<Record<string, string>>
  readonly cache?: RequestCache
}

/** What tells one version of a file from another; as far as the server tells. */
export interface FileVersion {
  /** Bytes of the whole file. */
  readonly size?: number
  readonly etag?: string
  /** Last-Modified, as it stands in the header. */
  readonly modified?: string
}

/** A file that a server has. */
export interface HttpAnswer {
  readonly version: FileVersion
  /** The server does ranges. If not, the body is all of the file, and `version.size` may be that of its compressed form. */
  readonly ranged: boolean
  /** The byte of the file that the body begins with. */
  readonly start: number
  /** Throws TransientError when it breaks off or stalls. */
  body(): AsyncGenerator<Uint8Array<ArrayBuffer>>
  /** Let go of a body that is not wanted. */
  cancel(): void
}

/** The server has no such file; 403 is what some say then. */
export interface HttpAbsence {
  readonly absent: number
}

export interface FileRequest {
  readonly method?: "GET" | "HEAD"
  /** First byte. Default 0. */
  readonly from?: number
  /** Last byte. Default: the file's. */
  readonly to?: number
}

/**
 * One try.
 *
 * @throws TransientError, or IsaacError: `aborted`, `io`
 */
export async function requestFile(
  connection: HttpConnection,
  address: string,
  { method = "GET", from = 0, to }: FileRequest = {},
): Promise<HttpAnswer | HttpAbsence> {
  const watchdog = new Watchdog(connection.patience.stallMs)
  const url = new URL(address)
  const failed = (error: unknown) => {
    watchdog.stop()
    return explain(error, url, connection, watchdog)
  }
  const signal = AbortSignal.any([connection.signal, watchdog.signal])
  let response: Response
  try {
    response = await connection.fetch(address, {
      method,
      signal,
      cache: connection.cache,
      referrerPolicy: "no-referrer",
      // Asked of every request, HEAD too: a browser then asks for the plain bytes, so that lengths and ETags are those
      // of the file and not of a compressed copy.
      headers: { range: `bytes=${from}-${to ?? ""}`, ...connection.headers?.(url) },
    })
  } catch (error) {
    throw failed(error)
  }
  watchdog.stop()
  const cancel = () => {
    watchdog.stop()
    response.body?.cancel().catch(() => {}) // broken already
  }

  const { status } = response
  const empty = status === 416 && response.headers.get("content-range") === "bytes */0"
  if (!response.ok && !empty) {
    cancel()
    if (status === 404 || status === 410 || status === 403) return { absent: status }
    throw refusal(status, url)
  }
  // A server that has no such file may answer with its start page.
  if (/^text\/html\b/i.test(response.headers.get("content-type") ?? "") && !/\.html?$/i.test(url.pathname)) {
    cancel()
    return { absent: 404 }
  }
  const ranged = status === 206
  const range = /^bytes (\d{1,15})-\d{1,15}\/(\d{1,15}|\*)$/.exec(response.headers.get("content-range") ?? "")
  const start = ranged ? (range ? Number(range[1]) : from) : 0
  const length = wholeNumber(response.headers.get("content-length"))
  // Without a readable Content-Range (another site's server must expose it) an open range still tells by its length.
  const rest = to === undefined && length !== undefined ? start + length : undefined
  const size = empty ? 0 : ranged ? (wholeNumber(range?.[2]) ?? rest) : length
  return {
    version: {
      size,
      etag: response.headers.get("etag")?.replace(/^W\//, "") || undefined,
      modified: response.headers.get("last-modified") ?? undefined,
    },
    ranged,
    start,
    cancel,
    async *body() {
      const reader = response.body?.getReader()
      if (reader === undefined || empty) return
      // Not every body that is aborted lets its reader know.
      let abort = () => {}
      const aborted = new Promise<never>((_, reject) => {
        abort = () => reject(signal.reason)
      })
      signal.addEventListener("abort", abort)
      if (signal.aborted) abort()
      try {
        for (;;) {
          watchdog.start()
          const { done, value } = await Promise.race([reader.read(), aborted])
          watchdog.stop()
          if (done) return
          yield value
        }
      } catch (error) {
        throw failed(error)
      } finally {
        watchdog.stop()
        signal.removeEventListener("abort", abort)
        reader.cancel().catch(() => {}) // broken already
      }
    },
  }
}

/**
 * Whether two descriptions are of the same version: by ETag, else by date and size. A server that tells neither leaves it
 * open, which counts as no.
 */
export function sameVersion(a: FileVersion, b: FileVersion): boolean {
  if (a.size !== undefined && b.size !== undefined && a.size !== b.size) return false
  if (a.etag !== undefined && b.etag !== undefined) return a.etag === b.etag
  return a.modified !== undefined && a.modified === b.modified && a.size !== undefined && b.size !== undefined
}

/**
 * Aborts when nothing came for long. Counts slices of time instead of looking at the clock: a thread that computed for a
 * minute has used up one of them, not the server's patience.
 */
class Watchdog {
  readonly #slices = 10
  readonly #sliceMs: number
  readonly #controller = new AbortController()
  #timer: ReturnType<typeof setInterval> | undefined

  constructor(stallMs: number) {
    this.#sliceMs = stallMs / this.#slices
    this.start()
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  start(): void {
    this.stop()
    let left = this.#slices
    this.#timer = setInterval(() => {
      if (--left === 0) this.#controller.abort()
    }, this.#sliceMs)
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}

/** What fetch or a body threw, as one of our errors. */
function explain(error: unknown, { origin }: URL, connection: HttpConnection, { signal }: Watchdog): Error {
  if (error instanceof IsaacError || error instanceof TransientError) return error
  if (connection.signal.aborted) return abortError(connection.signal)
  if (signal.aborted) {
    return new TransientError(
      `${origin} sent nothing for ${connection.patience.stallMs / 1000} s. Check the connection.`,
    )
  }
  const why = (error as Error).message
  return new TransientError(
    `cannot reach ${origin} (${why}). Check the connection; a server of another site must allow this page by CORS`,
    { cause: error },
  )
}

/** What a status of 400 or more means. */
function refusal(status: number, { origin, pathname }: URL): Error {
  if (status === 408 || status === 429 || status >= 500) {
    return new TransientError(`${origin} has trouble (status ${status}). Try again later.`)
  }
  const cure = status === 401 ? ": it needs a login, or there is no such model" : ""
  return new IsaacError("io", `${origin}${pathname} answered with status ${status}${cure}`)
}

function wholeNumber(text: string | null | undefined): number | undefined {
  return text !== null && text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined
}
