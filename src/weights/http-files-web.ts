/**
 * A checkpoint folder on a web server as a set of files: read by range, and kept in the browser's storage, so that the
 * next load asks the server only whether they are still the same.
 */

import { IsaacError } from "../errors"
import { type FileVersion, type HttpAnswer, type HttpConnection, requestFile, sameVersion } from "./http-request"
import { type HttpFile, rangedSource, wholeSource } from "./http-sources"
import { type KeptFile, KeptFolder, type KeptFolderOptions } from "./kept-files-web"
import { KeptSource } from "./kept-source-web"
import { PATIENCE, type Patience, retrying, TransientError, throwIfAborted } from "./retry"
import type { ByteSource, FileSet } from "./source"

/** What is read of a file to see whether it is there, when nothing is kept. */
const FIRST_BYTES = 1 << 20

export interface HttpFilesOptions {
  readonly signal?: AbortSignal
  /** Bytes received, over all files opened so far. */
  readonly onProgress?: (progress: { readonly file: string; readonly received: number; readonly total: number }) => void
  /** Something for people to read: what is not kept, and why. */
  readonly onNotice?: (message: string) => void
  /** Keep what is downloaded. Default true. */
  readonly keep?: boolean
  readonly patience?: Partial<Patience>
  /** For tests; default: those of this page. */
  readonly fetch?: typeof fetch
  readonly storage?: KeptFolderOptions["storage"] & Partial<Pick<StorageManager, "estimate">>
  readonly locks?: KeptFolderOptions["locks"]
}

/** Where the files of a checkpoint lie. */
export interface WebFolder {
  /** For messages, and the name under which it is kept. */
  readonly name: string
  url(file: string): string
  /** All its files with their versions, which never change; without it the server is asked about each. */
  readonly files?: ReadonlyMap<string, FileVersion>
}

/** Files that must be given back. */
export interface OpenFiles extends FileSet {
  close(): Promise<void>
}

/** A connection, and what is kept of the folder of that name. */
export class WebStore {
  readonly connection: HttpConnection
  readonly kept: KeptFolder | undefined
  readonly #controller: AbortController

  private constructor(connection: HttpConnection, kept: KeptFolder | undefined, controller: AbortController) {
    this.connection = connection
    this.kept = kept
    this.#controller = controller
  }

  /** Throws aborted. A browser without storage, or one that refuses it, keeps nothing. */
  static async open(name: string, options: HttpFilesOptions, headers?: HttpConnection["headers"]): Promise<WebStore> {
    const { signal: outer, keep = true, onNotice, storage, locks } = options
    const controller = new AbortController()
    const signal = outer ? AbortSignal.any([outer, controller.signal]) : controller.signal
    throwIfAborted(signal)
    let kept: KeptFolder | undefined
    if (keep) {
      const onWait = () => onNotice?.(`another tab is loading ${name}; waiting for it`)
      kept = await KeptFolder.open(name, { storage, locks, signal, onWait }).catch((error: unknown) => {
        throwIfAborted(signal)
        onNotice?.(`the model is not kept in the browser's storage: ${(error as Error).message}`)
        return undefined
      })
    }
    const connection: HttpConnection = {
      fetch: options.fetch ?? ((...request) => fetch(...request)),
      patience: { ...PATIENCE, ...options.patience },
      signal,
      headers,
      // What is kept here need not lie in the browser's cache too.
      cache: kept ? "no-store" : "default",
    }
    return new WebStore(connection, kept, controller)
  }

  /** End every request. */
  abort(): void {
    this.#controller.abort()
  }
}

interface Entry {
  open(): Promise<ByteSource>
}

export class HttpFiles implements OpenFiles {
  readonly name: string
  readonly #folder: WebFolder
  readonly #store: WebStore
  readonly #options: HttpFilesOptions
  readonly #entries = new Map<string, Promise<Entry | undefined>>()
  readonly #progress = new Map<string, { received: number; total: number }>()
  readonly #sources: KeptSource[] = []
  #reported = Number.NEGATIVE_INFINITY
  #noticed = false
  /** The storage is full: no file begins to be kept. */
  #full = false

  constructor(folder: WebFolder, store: WebStore, options: HttpFilesOptions) {
    this.name = folder.name
    this.#folder = folder
    this.#store = store
    this.#options = options
  }

  /** Ask about all kept files at once, instead of one after the other as they are opened. */
  async checkKept(): Promise<void> {
    const { kept } = this.#store
    if (kept === undefined || this.#folder.files !== undefined) return
    for (const file of await kept.names()) this.#entry(file).catch(() => {}) // told to whoever opens it
  }

  async has(file: string): Promise<boolean> {
    return (await this.#entry(file)) !== undefined
  }

  async open(file: string): Promise<ByteSource> {
    const entry = await this.#entry(file)
    if (entry === undefined) throw new IsaacError("not_found", `${this.name} has no file ${file}`)
    return entry.open()
  }

  /** Ends downloads that nobody waits for; what has come of them is kept. */
  async close(): Promise<void> {
    this.#store.abort()
    for (const source of this.#sources) await source.idle()
    await this.#store.kept?.close()
  }

  #entry(file: string): Promise<Entry | undefined> {
    let entry = this.#entries.get(file)
    if (entry === undefined) {
      entry = this.#find(file)
      this.#entries.set(file, entry)
    }
    return entry
  }

  async #find(name: string): Promise<Entry | undefined> {
    const { files } = this.#folder
    const known = files?.get(name)
    if (files !== undefined && known === undefined) return undefined
    const file = this.#httpFile(name)
    const kept = await this.#keptFile(name)

    // 1. What is kept, if it is still what the server has.
    if (kept?.state !== undefined) {
      const now = known ?? (await this.#ask(file, kept.state.complete))
      if (now === "absent") {
        kept.drop()
        return undefined
      }
      if (now === "unreachable" || sameVersion(kept.state, now)) return this.#keptEntry(file, kept)
      kept.drop()
    }

    // 2. A first request, which says whether the file is there and what it is.
    const { connection } = this.#store
    const to = kept ? undefined : FIRST_BYTES - 1
    const answer = await retrying(connection, () => requestFile(connection, file.url, { to }))
    if ("absent" in answer) {
      if (answer.absent !== 403 || this.#entries.size > 1) return undefined
      throw new IsaacError("io", `${file.url} is not to be had: the server answered with status 403`)
    }
    // Without ranges, the length may be that of a compressed copy.
    const size = known?.size ?? (answer.ranged ? answer.version.size : undefined)
    const version = { ...answer.version, ...known, size }
    if (kept !== undefined && (await this.#worthKeeping(name, version, answer.version.size))) {
      kept.begin(version)
      return this.#keptEntry(file, kept, answer)
    }
    return { open: once(() => this.#unkept(file, version, answer)) }
  }

  #keptEntry(file: HttpFile, kept: KeptFile, answer?: HttpAnswer): Entry {
    const state = kept.state!
    if (!state.complete) this.#expect(file, state.have, state.size ?? answer?.version.size)
    const source = new KeptSource(file, kept, answer, () => {
      this.#full = true
      this.#options.onNotice?.(`the browser's storage is full: ${file.name} is not kept`)
      return this.#unkept(file, state)
    })
    this.#sources.push(source)
    return { open: once(() => source.open()) }
  }

  /** Over the network only: by range, or whole where the server has no ranges or does not tell the length. */
  async #unkept(file: HttpFile, version: FileVersion, answer?: HttpAnswer): Promise<ByteSource> {
    const { connection } = this.#store
    const first =
      answer ?? (await retrying(connection, () => requestFile(connection, file.url, { to: FIRST_BYTES - 1 })))
    if ("absent" in first) {
      throw new IsaacError("io", `${file.name} is gone from its server (status ${first.absent})`)
    }
    if (!first.ranged) {
      this.#expect(file, 0, first.version.size)
      return wholeSource(file, first)
    }
    const asked = version.size === undefined ? await this.#ask(file, false) : version
    const size = typeof asked === "string" ? undefined : asked.size
    this.#expect(file, 0, size)
    if (size === undefined) {
      first.cancel()
      return wholeSource(file, undefined)
    }
    return rangedSource(file, { ...version, size }, await firstBytes(first, file))
  }

  /** What the server says of a file today. `maybe`: it may be out of reach. */
  async #ask(file: HttpFile, maybe: boolean): Promise<FileVersion | "absent" | "unreachable"> {
    const { connection } = this.#store
    const patience = maybe ? { ...connection.patience, attempts: 1 } : connection.patience
    try {
      const answer = await retrying({ ...connection, patience }, () =>
        requestFile(connection, file.url, { method: "HEAD" }),
      )
      if ("absent" in answer) return "absent"
      answer.cancel()
      return answer.version
    } catch (error) {
      if (!(error instanceof IsaacError) || error.code !== "io") throw error
      if (!(error.cause instanceof TransientError)) return {} // no HEAD here: nothing is known
      if (!maybe) throw error
      if (!this.#noticed) this.#options.onNotice?.(`${error.message}. Using what the browser has kept.`)
      this.#noticed = true
      return "unreachable"
    }
  }

  /** Only what can be recognised the next time, and has room. */
  async #worthKeeping(name: string, version: FileVersion, size: number | undefined): Promise<boolean> {
    if (this.#full || (version.etag === undefined && version.modified === undefined)) return false
    const { storage = navigator.storage as Partial<StorageManager> } = this.#options
    const { quota, usage = 0 } = (await storage.estimate?.().catch(() => undefined)) ?? {}
    if (quota === undefined || size === undefined || usage + size <= quota) return true
    const mb = (bytes: number) => `${Math.round(bytes / 1e6)} MB`
    this.#options.onNotice?.(
      `${name} (${mb(size)}) is not kept: this site has ${mb(quota - usage)} of the browser's storage left`,
    )
    return false
  }

  async #keptFile(name: string): Promise<KeptFile | undefined> {
    try {
      return await this.#store.kept?.file(name)
    } catch (error) {
      this.#options.onNotice?.(`${name} is not kept: ${(error as Error).message}`)
      return undefined
    }
  }

  #httpFile(name: string): HttpFile {
    return {
      file: name,
      name: `${this.name.replace(/\/$/, "")}/${name}`,
      url: this.#folder.url(name),
      connection: this.#store.connection,
      pinned: this.#folder.files !== undefined,
      onReceived: (bytes) => this.#received(name, bytes),
    }
  }

  #expect({ file }: HttpFile, received: number, total = 0): void {
    this.#progress.set(file, { received, total })
  }

  /** At most ten reports a second, and always that of a file's end. */
  #received(name: string, bytes: number): void {
    const file = this.#progress.get(name) ?? { received: 0, total: 0 }
    file.received += bytes
    file.total = Math.max(file.total, file.received)
    const now = performance.now()
    if (now - this.#reported < 100 && file.received < file.total) return
    this.#reported = now
    const all = { received: 0, total: 0 }
    for (const { received, total } of this.#progress.values()) {
      all.received += received
      all.total += total
    }
    this.#options.onProgress?.({ file: name, ...all })
  }
}

/** As far as they come: the rest is asked for again. */
async function firstBytes(answer: HttpAnswer, { onReceived }: HttpFile): Promise<Uint8Array> {
  const pieces: Uint8Array<ArrayBuffer>[] = []
  let bytes = 0
  try {
    for await (const piece of answer.body()) {
      pieces.push(piece)
      bytes += piece.length
      onReceived(piece.length)
      if (bytes >= FIRST_BYTES) break
    }
  } catch (error) {
    if (!(error instanceof TransientError)) throw error
  }
  return new Uint8Array(await new Blob(pieces).arrayBuffer())
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined
  return () => {
    made ??= make()
    return made
  }
}
