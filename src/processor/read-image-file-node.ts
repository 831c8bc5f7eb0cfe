/** Image files from a disk, and named pipes. */

import { closeSync, constants, createReadStream, fstatSync, open, type Stats } from "node:fs"
import { stat } from "node:fs/promises"
import { Socket } from "node:net"
import { addAbortSignal } from "node:stream"
import { promisify } from "node:util"
import { IsaacError, isIsaacError, plainText } from "../errors"
import { collectBytes } from "./collect-bytes"

export interface ReadFileOptions {
  readonly signal?: AbortSignal
  /** Most bytes. Default 256 MiB: an uncompressed 60-megapixel TIFF with alpha fits. */
  readonly maxBytes?: number
  /** Longest wait for the next byte of a named pipe. Default 30 000. */
  readonly pipeStallMs?: number
}

const MAX_FILE_BYTES = 256 << 20
const PIPE_STALL_MS = 30_000

/**
 * The bytes of a file, or of a pipe (`<(curl …)`), whose size is only known at its end. Devices are refused: some never
 * end, some never begin.
 *
 * @throws IsaacError `not_found`, `bad_input` for folders, devices and sockets, `io`, `aborted`
 */
export async function readImageFile(path: string, options: ReadFileOptions = {}): Promise<Uint8Array> {
  const { signal, maxBytes = MAX_FILE_BYTES, pipeStallMs = PIPE_STALL_MS } = options
  const name = shortPath(path)
  try {
    if (path.includes("\0")) throw new IsaacError("bad_input", `${name} names no file: it has a NUL character.`)
    checkKind(await stat(path), name) // before opening: some devices act when they are opened
    // Opening a pipe that nobody writes into would hold a thread until somebody does; this way it does not.
    const file = await promisify(open)(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
    return await collectBytes(contentOf(file, name, maxBytes, pipeStallMs, signal), name, maxBytes)
  } catch (cause) {
    if (signal?.aborted) throw new IsaacError("aborted", "Reading the image was aborted.", { cause: signal.reason })
    throw isIsaacError(cause) ? cause : explained(cause as NodeJS.ErrnoException, name)
  }
}

/** A path as messages show it. */
export function shortPath(path: string): string {
  const text = plainText(path.slice(0, 1000))
  return text.length > 300 ? `${text.slice(0, 150)}…${text.slice(-100)}` : text
}

/** What an open file holds; the stream closes it. */
function contentOf(
  file: number,
  name: string,
  maxBytes: number,
  pipeStallMs: number,
  signal: AbortSignal | undefined,
): AsyncIterable<Uint8Array> {
  let found: Stats
  try {
    found = fstatSync(file)
    checkKind(found, name) // it may have been exchanged in the meantime
    if (found.size > maxBytes) {
      throw new IsaacError("io", `${name} has ${found.size} bytes; image files of at most ${maxBytes} are read.`)
    }
  } catch (error) {
    closeSync(file)
    throw error
  }
  if (!found.isFIFO()) return createReadStream("", { fd: file, signal })
  const pipe = new Socket({ fd: file, readable: true, writable: false })
  pipe.setTimeout(pipeStallMs, () => {
    pipe.destroy(
      new IsaacError(
        "io",
        `${name} is a pipe into which nothing was written for ${pipeStallMs / 1000} s; start its writer.`,
      ),
    )
  })
  return signal ? addAbortSignal(signal, pipe) : pipe
}

/** Throws unless it is a file or a pipe. */
function checkKind(found: Stats, name: string): void {
  if (found.isFile() || found.isFIFO()) return
  const kind = found.isDirectory() ? "folder" : found.isSocket() ? "socket" : "device"
  throw new IsaacError("bad_input", `${name} is a ${kind}, not an image file.`)
}

function explained(cause: NodeJS.ErrnoException, name: string): IsaacError {
  switch (cause.code) {
    case "ENOENT":
    case "ENOTDIR":
      return new IsaacError("not_found", `cannot open the image ${name}: there is no such file.`, { cause })
    case "EACCES":
    case "EPERM":
      return new IsaacError("io", `cannot open the image ${name}: you may not read it (${cause.code}).`, { cause })
    case "ENAMETOOLONG":
      return new IsaacError(
        "bad_input",
        `cannot open the image ${name}: the name is too long (ENAMETOOLONG). If it is base64, write data:image/png;base64, before it.`,
        { cause },
      )
    default:
      return new IsaacError("io", `cannot read the image ${name}: ${plainText(cause.message)}`, { cause })
  }
}
