/** One file of the Hub, from the first byte to its checked place among the blobs; goes on where it stopped. */

import { constants } from "node:fs"
import { type FileHandle, mkdir, open, readFile, rename, rm, stat, writeFile } from "node:fs/promises"
import { dirname } from "node:path"
import { IsaacError } from "../errors"
import { formatBytes, writeError } from "./disk-node"
import { HUB_DISK } from "./hub-environment-node"
import { type ContentHash, hashFor } from "./hub-hash-node"
import { type HubConnection, type HubResponse, request, retrying, TransientError } from "./hub-request-node"

export interface BlobRequest {
  /** For messages and progress. */
  readonly file: string
  readonly url: string
  /** Where the blob belongs. */
  readonly path: string
  readonly etag: string
  /** Bytes */
  readonly size: number
}

/**
 * The partial file beside a blob. Its name is not the one other tools use: they lock in a way that Node cannot, and two
 * that append to one file would ruin it.
 */
export function partialPath(blob: string): string {
  return `${blob}.isaac.incomplete`
}

/** Bytes of a blob that are here already, whole or in part. */
export async function bytesHere(blob: string): Promise<number> {
  for (const path of [blob, partialPath(blob)]) {
    const found = await stat(path).catch(() => undefined)
    if (found) return found.size
  }
  return 0
}

/**
 * Download a blob unless it is there. The partial file is kept when this fails, except when its content was wrong.
 *
 * @param onReceived bytes that are here so far, of `blob.size`
 * @throws IsaacError `io`: no connection after several tries, wrong length or hash twice, disk full; `aborted`
 */
export async function downloadBlob(
  connection: HubConnection,
  blob: BlobRequest,
  onReceived: (received: number) => void,
): Promise<void> {
  if ((await stat(blob.path).catch(() => undefined))?.size === blob.size) {
    onReceived(blob.size)
    return
  }
  const partial = await PartialFile.open(blob)
  try {
    onReceived(partial.length)
    let corrupt = 0
    await retrying(
      connection,
      async () => {
        if (partial.length < blob.size) await receive(connection, blob, partial, onReceived)
        const wrong = partial.check()
        if (wrong === undefined) return
        // Perhaps a cache on the way, perhaps the disk: once more from the start, then give up.
        await partial.restart("")
        onReceived(0)
        corrupt++
        const message = `${blob.file} arrived damaged: ${wrong}`
        if (corrupt < 2) throw new TransientError(message)
        throw new IsaacError("io", `${message}, twice. A proxy may alter downloads; HF_ENDPOINT names another Hub.`)
      },
      () => partial.furthest,
    )
    await partial.finish()
  } finally {
    await partial.close()
  }
}

/** One connection: append what it brings to the partial file. */
async function receive(
  connection: HubConnection,
  blob: BlobRequest,
  partial: PartialFile,
  onReceived: (received: number) => void,
): Promise<void> {
  const from = partial.length
  const headers: Record<string, string> = {}
  if (from > 0) {
    headers.range = `bytes=${from}-`
    // The server that sends the bytes has an ETag of its own; if that changed, it sends the file from the start.
    if (partial.source !== "") headers["if-range"] = partial.source
  }
  const answer = await request(connection, blob.url, { headers })
  try {
    if (answer.etag !== undefined && contradicts(answer.etag, blob.etag)) {
      throw new IsaacError(
        "io",
        `${blob.file} changed during the download: its ETag was ${blob.etag} and is ${answer.etag}. Try again.`,
      )
    }
    if (!continues(answer, from, blob.size, partial.source)) {
      if (answer.response.status !== 200) {
        // 416, a range that nobody asked for, or one of another file.
        await partial.restart("")
        throw new TransientError(`${blob.file}: the server refused to go on at byte ${from} of ${blob.size}`)
      }
      await partial.restart(strongEtag(answer.response.headers.get("etag")))
    }
    for await (const piece of answer.body()) {
      if (partial.length + piece.byteLength > blob.size) {
        await partial.restart("")
        throw new TransientError(`${blob.file} is longer than the ${formatBytes(blob.size)} that the Hub says`)
      }
      await partial.append(piece)
      onReceived(partial.length)
    }
  } finally {
    await answer.cancel().catch(() => {})
  }
  if (partial.length < blob.size) {
    throw new TransientError(`${blob.file} ended at byte ${partial.length} of ${blob.size}`)
  }
}

/**
 * Whether two ETags cannot be of one content. Mirrors may send an ETag of their own kind with it: then only the hash
 * tells, if there is one.
 */
function contradicts(etag: string, expected: string): boolean {
  if (etag === expected) return false
  return hashFor(expected, 0) === undefined || (hashFor(etag, 0) !== undefined && etag.length === expected.length)
}

/** Whether an answer holds the bytes from `from` on, of the file that the earlier ones are from. */
function continues({ response }: HubResponse, from: number, size: number, source: string): boolean {
  const [, start, end, total] = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(response.headers.get("content-range") ?? "") ?? []
  // Not every server heeds If-Range.
  if (source !== "" && (response.headers.get("etag") ?? source) !== source) return false
  return (
    response.status === 206 && Number(start) === from && Number(end) < size && (total === "*" || Number(total) === size)
  )
}

/** If-Range takes no weak ones. */
function strongEtag(header: string | null): string {
  return header?.startsWith('"') ? header : ""
}

/** The bytes so far, on disk and in the hash. */
class PartialFile {
  /** Bytes that are in the file and in the hash. */
  length = 0
  /** The most there have been, over all restarts. */
  furthest = 0
  /** The ETag of the server that sent them; "" if it has none. */
  source = ""
  readonly #blob: BlobRequest
  readonly #path: string
  readonly #file: FileHandle
  #hash: ContentHash | undefined

  private constructor(blob: BlobRequest, file: FileHandle) {
    this.#blob = blob
    this.#path = partialPath(blob.path)
    this.#file = file
    this.#hash = hashFor(blob.etag, blob.size)
  }

  /** What an earlier download left is read once, for the hash. */
  static async open(blob: BlobRequest): Promise<PartialFile> {
    const folder = dirname(blob.path)
    try {
      await mkdir(folder, { recursive: true })
      const file = await open(partialPath(blob.path), constants.O_RDWR | constants.O_CREAT, 0o644)
      const partial = new PartialFile(blob, file)
      const { size } = await file.stat()
      if (size > 0) {
        const source = await readFile(`${partial.#path}.etag`, "utf8").catch(() => undefined)
        // Bytes that no hash will check need the ETag they came with.
        if (size <= blob.size && source !== undefined && (partial.#hash || source !== "")) {
          await partial.#readBack(size)
          partial.source = source
        } else {
          await file.truncate(0)
        }
      }
      return partial
    } catch (cause) {
      throw await writeError(folder, blob.size, cause, HUB_DISK)
    }
  }

  async #readBack(size: number): Promise<void> {
    const buffer = new Uint8Array(1 << 20)
    while (this.length < size) {
      const { bytesRead } = await this.#file.read(buffer, 0, Math.min(buffer.length, size - this.length), this.length)
      if (bytesRead === 0) break
      this.#hash?.update(buffer.subarray(0, bytesRead))
      this.length += bytesRead
    }
    this.furthest = this.length
  }

  /** Forget what is there; what comes next has this ETag. */
  async restart(source: string): Promise<void> {
    try {
      if (this.length > 0) await this.#file.truncate(0)
      await writeFile(`${this.#path}.etag`, source)
    } catch (cause) {
      throw await writeError(dirname(this.#path), this.#blob.size, cause, HUB_DISK)
    }
    this.length = 0
    this.source = source
    this.#hash = hashFor(this.#blob.etag, this.#blob.size)
  }

  async append(bytes: Uint8Array): Promise<void> {
    try {
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await this.#file.write(bytes, done, bytes.length - done, this.length + done)
        done += bytesWritten
      }
    } catch (cause) {
      throw await writeError(dirname(this.#path), this.#blob.size - this.length, cause, HUB_DISK)
    }
    this.#hash?.update(bytes)
    this.length += bytes.length
    this.furthest = Math.max(this.furthest, this.length)
  }

  /** What is wrong with the whole file; undefined if nothing. Ends the hash: `restart` or `finish` comes next. */
  check(): string | undefined {
    if (this.#hash === undefined) return undefined
    const { algorithm } = this.#hash
    const found = this.#hash.hex()
    return found === this.#blob.etag ? undefined : `its ${algorithm} is ${found}, the Hub says ${this.#blob.etag}`
  }

  /** Give the file its final name; nobody ever sees a blob that is not whole and checked. */
  async finish(): Promise<void> {
    try {
      await this.#file.sync()
      await this.#file.close()
      await rename(this.#path, this.#blob.path)
      await rm(`${this.#path}.etag`, { force: true })
    } catch (cause) {
      throw await writeError(dirname(this.#path), 0, cause, HUB_DISK)
    }
  }

  async close(): Promise<void> {
    await this.#file.close().catch(() => {})
  }
}
