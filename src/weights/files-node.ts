/** Checkpoint files on disk. */

import { access, open, realpath, stat } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { IsaacError } from "../errors"
import type { ByteSource, FileSet } from "./source"

/** Most bytes the operating system is asked for in one call; it takes no more than 2³¹ − 1. */
const PIECE = 1 << 30

/** What to do about the errors of the operating system that people meet. */
const CURES: Readonly<Record<string, string>> = {
  EACCES: "You may not read it: change its permissions, or those of its folder.",
  EPERM: "You may not read it: change its permissions, or those of its folder.",
  ELOOP: "Its symbolic links lead in a circle: download it again.",
  EMFILE: "This process has too many files open.",
}

/** Open one file for random access. Throws not_found, or io when it is there but cannot be read. */
export async function openFile(path: string): Promise<ByteSource> {
  const failed = (cause: unknown, what: string) => {
    const { code = "", message } = cause as NodeJS.ErrnoException
    const cure = Object.hasOwn(CURES, code) ? ` ${CURES[code]}` : ""
    return new IsaacError(code === "ENOENT" ? "not_found" : "io", `cannot ${what} ${path}: ${message}.${cure}`, {
      cause,
    })
  }
  const handle = await open(path, "r").catch((cause: unknown) => {
    throw failed(cause, "open")
  })
  const info = await handle.stat()
  if (!info.isFile()) {
    await handle.close()
    throw new IsaacError("io", `${path} is not a file`)
  }
  return {
    name: path,
    size: info.size,
    path,
    async read(offset, length) {
      if (offset < 0 || length < 0 || offset + length > info.size) {
        throw new IsaacError("io", `${path}: bytes ${offset}…${offset + length} asked, the file has ${info.size}`)
      }
      const out = new Uint8Array(length)
      let done = 0
      while (done < length) {
        const ask = Math.min(PIECE, length - done)
        const { bytesRead } = await handle.read(out, done, ask, offset + done).catch((cause: unknown) => {
          throw failed(cause, "read")
        })
        if (bytesRead === 0) {
          throw new IsaacError("io", `${path} ended at byte ${offset + done}, ${offset + length} were expected`)
        }
        done += bytesRead
      }
      return out
    },
    close: () => handle.close(),
  }
}

/** The files of a checkpoint folder. Throws not_found when it is no folder. */
export async function openFolder(folder: string): Promise<FileSet> {
  const found = await stat(folder).catch(() => undefined)
  if (!found?.isDirectory()) {
    throw new IsaacError(
      "not_found",
      `${folder} is not a folder; a checkpoint is a folder with config.json and *.safetensors`,
    )
  }
  return {
    name: folder,
    // A file that is there but cannot be looked at fails when it is opened, with the reason.
    has: (file) =>
      access(join(folder, file)).then(
        () => true,
        ({ code }: NodeJS.ErrnoException) => code !== "ENOENT" && code !== "ENOTDIR",
      ),
    open: (file) => openFile(join(folder, file)),
    stamp: (file) => stampOf(join(folder, file)),
  }
}

/** In the cache of the Hub's tools a large file is a link to a blob whose name is the hash of its content. */
async function stampOf(path: string): Promise<string> {
  const real = await realpath(path)
  const name = basename(real)
  if (/^[0-9a-f]{64}$/.test(name) && basename(dirname(real)) === "blobs") return `sha256:${name}`
  const { size, mtimeNs } = await stat(real, { bigint: true })
  return `${size} bytes of ${mtimeNs}`
}
