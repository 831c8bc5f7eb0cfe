/** A Hub on this machine: the listing, resolve with redirects, and the server of large files; it misbehaves on demand. */

import { createHash } from "node:crypto"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"

export interface SeenRequest {
  readonly server: "hub" | "cdn"
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage["headers"]
}

/** Answers a request instead of the server; false lets the server answer. */
export type Misbehaviour = (request: SeenRequest, response: ServerResponse) => boolean

export class HubServer {
  readonly model = "Perceptron-Test/isaac"
  commit = "c".repeat(40)
  revision = "main"
  /** Fields of the listing beside sha and siblings. */
  card: Record<string, unknown> = { cardData: { license: "cc-by-nc-4.0" } }
  /** Whether the listing tells sizes and hashes, as ?blobs=true asks. */
  listsBlobs = true
  readonly files: Map<string, Uint8Array>
  readonly seen: SeenRequest[] = []
  misbehave: Misbehaviour = () => false
  /** ETag of the server of large files: not the hash. */
  cdnEtag = '"cdn-1"'
  readonly #hub: Server
  readonly #cdn: Server

  private constructor(files: Record<string, Uint8Array | string>) {
    const utf8 = new TextEncoder()
    this.files = new Map(Object.entries(files).map(([k, v]) => [k, typeof v === "string" ? utf8.encode(v) : v]))
    this.#hub = createServer((request, response) => this.#answer("hub", request, response))
    this.#cdn = createServer((request, response) => this.#answer("cdn", request, response))
  }

  static async start(files: Record<string, Uint8Array | string>): Promise<HubServer> {
    const server = new HubServer(files)
    for (const one of [server.#hub, server.#cdn]) {
      await new Promise<void>((resolve) => one.listen(0, "127.0.0.1", resolve))
    }
    return server
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#hub.address() as AddressInfo).port}`
  }

  get cdn(): string {
    return `http://127.0.0.1:${(this.#cdn.address() as AddressInfo).port}`
  }

  /** Requests for one file's content, in order. */
  fetched(file: string): SeenRequest[] {
    return this.seen.filter(({ method, path }) => method === "GET" && path.endsWith(`/${file}`))
  }

  async stop(): Promise<void> {
    for (const one of [this.#hub, this.#cdn]) {
      one.closeAllConnections()
      await new Promise((resolve) => one.close(resolve))
    }
  }

  #answer(server: "hub" | "cdn", request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? "/", this.endpoint)
    const path = decodeURIComponent(url.pathname)
    const seen: SeenRequest = { server, method: request.method ?? "", path, headers: request.headers }
    this.seen.push(seen)
    if (this.misbehave(seen, response)) return
    if (server === "cdn") {
      this.#sendLarge(seen, response)
      return
    }
    if (path.startsWith(`/api/models/${this.model}/revision/`)) {
      const revision = path.slice(`/api/models/${this.model}/revision/`.length)
      if (revision !== this.revision && revision !== this.commit) {
        response.writeHead(404, { "x-error-code": "RevisionNotFound" }).end()
        return
      }
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(this.listing()))
      return
    }
    const name = path.replace(`/${this.model}/resolve/${this.commit}/`, "")
    const bytes = this.files.get(name)
    if (bytes === undefined) {
      response.writeHead(404, { "x-error-code": path.startsWith(`/${this.model}/`) ? "EntryNotFound" : "RepoNotFound" })
      response.end()
    } else if (isLarge(name)) {
      response.writeHead(302, {
        location: `${this.cdn}/lfs/${name}?signature=x`,
        "x-repo-commit": this.commit,
        "x-linked-etag": `"${sha256(bytes)}"`,
        "x-linked-size": bytes.length,
      })
      response.end()
    } else {
      response.writeHead(200, { etag: `"${gitSha1(bytes)}"`, "content-length": bytes.length })
      response.end(seen.method === "HEAD" ? undefined : bytes)
    }
  }

  listing(): Record<string, unknown> {
    const siblings = [...this.files].map(([rfilename, bytes]) => {
      if (!this.listsBlobs) return { rfilename }
      const lfs = isLarge(rfilename) ? { sha256: sha256(bytes), size: bytes.length, pointerSize: 130 } : undefined
      return { rfilename, size: bytes.length, blobId: lfs ? "f".repeat(40) : gitSha1(bytes), lfs }
    })
    return { id: this.model, sha: this.commit, siblings, ...this.card }
  }

  #sendLarge({ path, headers }: SeenRequest, response: ServerResponse): void {
    const bytes = this.files.get(path.replace("/lfs/", "")) ?? new Uint8Array(0)
    const from = Number(/^bytes=(\d+)-$/.exec(headers.range ?? "")?.[1] ?? 0)
    const ranged = from > 0 && (headers["if-range"] === undefined || headers["if-range"] === this.cdnEtag)
    if (!ranged) {
      response.writeHead(200, { etag: this.cdnEtag, "content-length": bytes.length }).end(bytes)
      return
    }
    const range = `bytes ${from}-${bytes.length - 1}/${bytes.length}`
    response.writeHead(206, { etag: this.cdnEtag, "content-length": bytes.length - from, "content-range": range })
    response.end(bytes.subarray(from))
  }
}

/** Bytes that do not repeat, the same in every run. */
export function noise(length: number, seed = 1): Uint8Array {
  const out = new Uint8Array(length)
  let state = seed
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    out[i] = state >>> 24
  }
  return out
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex")
}

export function gitSha1(bytes: Uint8Array): string {
  return createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex")
}

function isLarge(name: string): boolean {
  return name.endsWith(".safetensors")
}
