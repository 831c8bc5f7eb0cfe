/** A file of a web server as a source of bytes, nothing of it stored: read by range, or all of it held as a Blob. */

import { IsaacError } from "../errors"
import { type FileVersion, type HttpAnswer, type HttpConnection, requestFile } from "./http-request"
import { retrying, TransientError } from "./retry"
import type { ByteSource } from "./source"

/** Reads smaller than this fetch so much at once: neighbouring tensors are read one after the other. */
const WINDOW = 4 << 20
const WINDOWS = 2
/** Pieces of a download are joined in blobs of this size, which a browser may keep on disk. */
const BLOB_PART = 16 << 20

/** One file of a server. */
export interface HttpFile {
  /** Its name in the folder. */
  readonly file: string
  /** The same with the folder's, for messages. */
  readonly name: string
  readonly url: string
  readonly connection: HttpConnection
  /** What the address stands for never changes: only lengths are compared, not what each server says of versions. */
  readonly pinned?: boolean
  /** Told of every piece that arrives. */
  readonly onReceived: (bytes: number) => void
}

/** Throws io when the range is not inside the file. */
export function checkRange(name: string, size: number, offset: number, length: number): void {
  if (offset < 0 || length < 0 || offset + length > size) {
    throw new IsaacError("io", `${name}: bytes ${offset}…${offset + length} asked, the file has ${size}`)
  }
}

/** All that a reader gets must be of one version. Throws io. */
export function checkVersion({ name, pinned = false }: HttpFile, had: FileVersion, got: FileVersion): void {
  const differ = (a: unknown, b: unknown) => a !== undefined && b !== undefined && a !== b
  const tagged = had.etag !== undefined && got.etag !== undefined
  const other = tagged ? differ(had.etag, got.etag) : differ(had.modified, got.modified)
  if (differ(had.size, got.size) || (other && !pinned)) {
    throw new IsaacError("io", `${name} changed on its server while it was being read; load the model again`)
  }
}

/** Reads by range; `first` are the bytes at the beginning, as far as they are known already. */
export function rangedSource(file: HttpFile, version: FileVersion & { size: number }, first: Uint8Array): ByteSource {
  const { name } = file
  const { size } = version
  /** Latest first. */
  let windows: { readonly start: number; readonly bytes: Uint8Array }[] = [{ start: 0, bytes: first }]
  return {
    name,
    size,
    async read(offset, length) {
      checkRange(name, size, offset, length)
      if (length >= WINDOW) return fetchRange(file, version, offset, length)
      let window = windows.find(({ start, bytes }) => start <= offset && offset + length <= start + bytes.length)
      if (window === undefined) {
        window = { start: offset, bytes: await fetchRange(file, version, offset, Math.min(WINDOW, size - offset)) }
        windows = [window, ...windows.slice(0, WINDOWS - 1)]
      }
      return window.bytes.slice(offset - window.start, offset - window.start + length)
    },
    async close() {
      windows = []
    },
  }
}

/** Bytes offset … offset+length-1, resumed where a connection breaks off. */
async function fetchRange(file: HttpFile, version: FileVersion, offset: number, length: number): Promise<Uint8Array> {
  const { name, url, connection, onReceived } = file
  const out = new Uint8Array(length)
  let done = 0
  await retrying(
    connection,
    async () => {
      if (done === length) return
      const answer = await requestFile(connection, url, { from: offset + done, to: offset + length - 1 })
      if ("absent" in answer) throw new IsaacError("io", `${name} is gone from its server (status ${answer.absent})`)
      try {
        checkVersion(file, version, answer.version)
        if (!answer.ranged || answer.start !== offset + done) {
          throw new IsaacError("io", `${name}: the server no longer sends the range that is asked for`)
        }
      } catch (error) {
        answer.cancel()
        throw error
      }
      for await (const piece of answer.body()) {
        const part = piece.subarray(0, length - done)
        out.set(part, done)
        done += part.length
        onReceived(part.length)
      }
      if (done < length)
        throw new TransientError(`${name} ended at byte ${offset + done}, ${offset + length} were asked`)
    },
    () => done,
  )
  return out
}

/** All of a file, from a server without ranges; begins anew where the connection breaks off. */
export async function wholeSource(file: HttpFile, answer: HttpAnswer | undefined): Promise<ByteSource> {
  const { name, url, connection, onReceived } = file
  let next = answer
  const blob = await retrying(connection, async () => {
    const now = next ?? (await requestFile(connection, url))
    next = undefined
    if ("absent" in now) throw new IsaacError("io", `${name} is gone from its server (status ${now.absent})`)
    const parts: Blob[] = []
    let pieces: Uint8Array<ArrayBuffer>[] = []
    let held = 0
    for await (const piece of now.body()) {
      pieces.push(piece)
      held += piece.length
      onReceived(piece.length)
      if (held >= BLOB_PART) {
        parts.push(new Blob(pieces))
        pieces = []
        held = 0
      }
    }
    return new Blob([...parts, ...pieces])
  })
  return blobSource(name, blob)
}

/** A Blob or File as a source. */
export function blobSource(name: string, blob: Blob): ByteSource {
  return {
    name,
    size: blob.size,
    async read(offset, length) {
      checkRange(name, blob.size, offset, length)
      try {
        return new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer())
      } catch (cause) {
        throw new IsaacError("io", `cannot read ${name}: ${(cause as Error).message}`, { cause })
      }
    },
    async close() {},
  }
}
