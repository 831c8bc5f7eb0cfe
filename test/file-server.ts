/** A web server of files on this machine: ranges, ETags, any headers; counts what is asked, and misbehaves on demand. */

import { createHash } from "node:crypto"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { extname } from "node:path"

export interface SeenRequest {
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage["headers"]
}

/** Answers a request instead of the server; false lets the server answer. */
export type Handler = (seen: SeenRequest, response: ServerResponse, request: IncomingMessage) => boolean

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".wasm": "application/wasm",
  ".png": "image/png",
  ".jpg": "image/jpeg",
}

export class FileServer {
  readonly seen: SeenRequest[] = []
  handle: Handler = () => false
  /** Of every answer. */
  headers: Record<string, string> = {}
  ranges = true
  /** What answers say of a file's version. */
  versions: "etag" | "modified" | "none" = "etag"
  /** Part of each ETag: another one stands for other content. */
  edition = ""
  /** A file's bytes by its path; undefined: there is none. */
  readonly #read: (path: string) => Uint8Array | undefined
  readonly #server: Server

  private constructor(read: (path: string) => Uint8Array | undefined) {
    this.#read = read
    this.#server = createServer((request, response) => this.#answer(request, response))
  }

  static async start(read: (path: string) => Uint8Array | undefined): Promise<FileServer> {
    const server = new FileServer(read)
    await new Promise<void>((resolve) => server.#server.listen(0, "127.0.0.1", resolve))
    return server
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Requests with this method, in order: their paths. */
  paths(method: string): string[] {
    return this.seen.filter((request) => request.method === method).map(({ path }) => path)
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = decodeURIComponent(new URL(request.url ?? "/", this.origin).pathname)
    const seen = { method: request.method ?? "", path, headers: request.headers }
    this.seen.push(seen)
    for (const [name, value] of Object.entries(this.headers)) response.setHeader(name, value)
    if (this.handle(seen, response, request)) return
    const bytes = this.#read(path)
    if (bytes === undefined) {
      response.writeHead(404).end()
      return
    }
    response.setHeader("content-type", TYPES[extname(path)] ?? "application/octet-stream")
    if (this.versions === "etag") response.setHeader("etag", `"${sha256(bytes).slice(0, 16)}${this.edition}"`)
    if (this.versions === "modified") response.setHeader("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT")
    const range = this.ranges ? /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") : null
    const body = (part: Uint8Array) => {
      response.setHeader("content-length", part.length)
      response.end(request.method === "HEAD" ? undefined : part)
    }
    if (range === null || request.method === "HEAD") {
      body(bytes)
      return
    }
    const from = Number(range[1])
    const to = Math.min(range[2] === "" ? bytes.length - 1 : Number(range[2]), bytes.length - 1)
    if (from >= bytes.length) {
      response.writeHead(416, { "content-range": `bytes */${bytes.length}` }).end()
      return
    }
    response.statusCode = 206
    response.setHeader("content-range", `bytes ${from}-${to}/${bytes.length}`)
    body(bytes.subarray(from, to + 1))
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex")
}
