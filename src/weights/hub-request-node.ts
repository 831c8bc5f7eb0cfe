/** Requests to the Hub: redirects, the token, time limits, retries, and what each refusal means. */

import { IsaacError } from "../errors"
import { plainEtag } from "./hub-listing"
import { abortError, type Patience, TransientError } from "./retry"

export { PATIENCE, type Patience, retrying, TransientError, throwIfAborted } from "./retry"

export interface HubConnection {
  readonly endpoint: string
  /** Sent to the endpoint's own origin, never to where it redirects. */
  readonly token?: string
  /** For messages: ORG/NAME */
  readonly model: string
  readonly revision: string
  readonly patience: Patience
  readonly signal?: AbortSignal
}

export interface HubResponse {
  readonly response: Response
  /** What the Hub itself says of the file, though another server sends it. */
  readonly etag?: string
  readonly size?: number
  /** The body, piece by piece; throws TransientError when it breaks off or stalls. */
  body(): AsyncGenerator<Uint8Array>
  /** Let go of a body that is not wanted. */
  cancel(): Promise<void>
}

/**
 * One try. Follows redirects by hand: the token stays with the endpoint's origin, and https never becomes http.
 * Resolves for 2xx and 416.
 *
 * @throws TransientError, or IsaacError: `aborted`, `not_found` (404), `io`
 */
export async function request(
  connection: HubConnection,
  url: string,
  { method = "GET", headers = {} }: { method?: "GET" | "HEAD"; headers?: Readonly<Record<string, string>> } = {},
): Promise<HubResponse> {
  const { endpoint, token, signal, patience } = connection
  const watchdog = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const touch = () => {
    clearTimeout(timer)
    timer = setTimeout(() => watchdog.abort(), patience.stallMs)
  }
  const failed = (error: unknown) => {
    clearTimeout(timer)
    return explain(error, url, connection, watchdog.signal.aborted)
  }
  const limits = signal ? AbortSignal.any([signal, watchdog.signal]) : watchdog.signal
  try {
    let at = new URL(url)
    let etag: string | undefined
    let size: number | undefined
    for (let hop = 0; hop <= 10; hop++) {
      touch()
      const own = at.origin === new URL(endpoint).origin
      const response = await fetch(at, {
        method,
        redirect: "manual",
        signal: limits,
        headers: {
          // Ranges and lengths are those of the file itself.
          "accept-encoding": "identity",
          "user-agent": "isaac-vlm",
          ...headers,
          ...(own && token !== undefined ? { authorization: `Bearer ${token}` } : {}),
        },
      })
      if (own) {
        etag ??= plainEtag(response.headers.get("x-linked-etag"))
        size ??= wholeNumber(response.headers.get("x-linked-size"))
      }
      const location = response.headers.get("location")
      if (response.status >= 300 && response.status < 400 && location !== null) {
        await response.body?.cancel()
        at = nextHop(at, location)
        continue
      }
      if (!response.ok && response.status !== 416) {
        await response.body?.cancel()
        throw refusal(response, connection, own, at)
      }
      if (own && response.status !== 206) {
        etag ??= plainEtag(response.headers.get("etag"))
        size ??= wholeNumber(response.headers.get("content-length"))
      }
      return {
        response,
        etag,
        size,
        async *body() {
          try {
            for await (const piece of response.body ?? []) {
              // The time that the reader takes is not the server's.
              clearTimeout(timer)
              yield piece
              touch()
            }
          } catch (error) {
            throw failed(error)
          } finally {
            clearTimeout(timer)
          }
        },
        async cancel() {
          clearTimeout(timer)
          await response.body?.cancel()
        },
      }
    }
    throw new IsaacError("io", `${url} redirects more than 10 times`)
  } catch (error) {
    throw failed(error)
  }
}

/** Where a redirect leads. Throws io when that is not http(s), or https would become http. */
export function nextHop(from: URL, location: string): URL {
  const next = URL.canParse(location, from.href) ? new URL(location, from) : undefined
  const safe = next && (next.protocol === "https:" || (next.protocol === "http:" && from.protocol === "http:"))
  if (!safe) {
    throw new IsaacError(
      "io",
      `${from.origin} redirects to ${JSON.stringify(location.slice(0, 100))}, which is not safe`,
    )
  }
  return next
}

/** What fetch or a body threw, as one of our errors. */
function explain(error: unknown, url: string, connection: HubConnection, stalled: boolean): Error {
  if (error instanceof IsaacError || error instanceof TransientError) return error
  if (connection.signal?.aborted) return abortError(connection.signal)
  const { host } = new URL(url)
  if (stalled) {
    const seconds = connection.patience.stallMs / 1000
    return new TransientError(`${host} sent nothing for ${seconds} s. Check the connection.`)
  }
  // fetch says "fetch failed" or "terminated"; the reason is below.
  const cause = (error as Error).cause as NodeJS.ErrnoException | undefined
  const why = cause?.message || cause?.code || (error as Error).message
  if (/CERT|TLS|SELF_SIGNED|UNABLE_TO_/.test(cause?.code ?? "")) {
    return new IsaacError(
      "io",
      `the certificate of ${host} is not trusted: ${why}. Behind a company's proxy, name its certificate in ` +
        "NODE_EXTRA_CA_CERTS.",
      { cause: error },
    )
  }
  return new TransientError(`the connection to ${host} failed: ${why}. Check it; HF_ENDPOINT names another Hub.`, {
    cause: error,
  })
}

/** What a status of 400 or more means to the user. */
function refusal(response: Response, connection: HubConnection, own: boolean, at: URL): Error {
  const { status } = response
  const { endpoint, model, revision, token } = connection
  const page = `${endpoint}/${model}`
  const code = response.headers.get("x-error-code") ?? ""
  if (status === 408 || status === 429 || status >= 500) {
    const what = status === 429 ? "asks for fewer requests" : "has trouble"
    return new TransientError(`${at.host} ${what} (status ${status}). Try again later.`, {
      retryAfterMs: retryAfter(response.headers.get("retry-after")),
    })
  }
  // A server that the Hub sent us to: its addresses are signed for a while only.
  if (!own) return new TransientError(`${at.host} refused what ${endpoint} sent us for (status ${status})`)
  if (status === 401 && token !== undefined) {
    return new IsaacError(
      "io",
      `${endpoint} does not accept the token (status 401): it is wrong or expired. Make a new one at ` +
        `${endpoint}/settings/tokens and set HF_TOKEN.`,
    )
  }
  if (status === 401) {
    return new IsaacError(
      "io",
      `${model} needs a login (status 401): it is gated or private, or there is no such model. Check the name; accept ` +
        `its licence at ${page}, make a token at ${endpoint}/settings/tokens and set HF_TOKEN.`,
    )
  }
  if (status === 403) {
    return new IsaacError(
      "io",
      `you may not read ${model} (status 403). Accept its licence at ${page} with the account ` +
        `${token === undefined ? "whose token you set as HF_TOKEN" : "that HF_TOKEN belongs to"}; a fine-grained token ` +
        "also needs the right to read gated repositories.",
    )
  }
  if (status === 404 && code === "RevisionNotFound") {
    return new IsaacError("not_found", `${model} has no revision ${revision}; see ${page}/tree/main for those it has`)
  }
  if (status === 404) {
    return new IsaacError(
      "not_found",
      `${endpoint} has no ${code === "EntryNotFound" ? `file ${at.pathname}` : `model ${model}, or no revision ${revision}`}` +
        `. Check the name; a private model needs HF_TOKEN.`,
    )
  }
  return new IsaacError("io", `${at.origin}${at.pathname} answered with status ${status}`)
}

/** Seconds or a date. */
function retryAfter(header: string | null): number | undefined {
  if (header === null) return undefined
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now()
  return Number.isFinite(ms) && ms > 0 ? ms : undefined
}

function wholeNumber(header: string | null): number | undefined {
  return header !== null && /^\d{1,15}$/.test(header) ? Number(header) : undefined
}
