/** Checkpoint files on disk. */

import { access, open, stat } from "node:fs/promises"
import { join } from "node:path"
import { IsaacError } from "../errors"
import type { ByteSource, FileSet } from "./source"

/** Open one file for random access. Throws not_found or io. */
export async function openFile(path: string): Promise<ByteSource> {
  const handle = await open(path, "r").catch((cause) => {
    throw new IsaacError("not_found", `cannot open ${path}: ${(cause as Error).message}`, { cause })
  })
  const { size } = await handle.stat()
  return {
    name: path,
    size,
    async read(offset, length) {
      const out = new Uint8Array(length)
      let done = 0
      while (done < length) {
        const { bytesRead } = await handle.read(out, done, length - done, offset + done)
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
    has: (file) =>
      access(join(folder, file)).then(
        () => true,
        () => false,
      ),
    open: (file) => openFile(join(folder, file)),
  }
}
