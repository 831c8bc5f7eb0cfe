/** A file that appears whole or not at all: written beside its place, forced to the disk, then renamed. */

import { randomUUID } from "node:crypto"
import { open, rename, rm } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { checkDiskSpace, type DiskAdvice, writeError } from "./disk-node"
import type { ByteSink } from "./sink"

/** Most bytes handed to the system at once; it takes no more than 2³¹ − 1. */
const PIECE = 64 << 20

/**
 * Write `bytes` bytes to `path`. What was there before is replaced at the end.
 *
 * Throws io with the bytes that are needed and free when the disk is full or fails, and what `fill` throws; nothing is
 * left behind then, and what was there before is as it was.
 */
export async function writeFile(
  path: string,
  bytes: number,
  advice: DiskAdvice,
  fill: (sink: ByteSink) => Promise<void>,
): Promise<void> {
  const folder = dirname(path)
  const partial = join(folder, `.${basename(path)}.${randomUUID()}.part`)
  let written = 0
  const guard = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work
    } catch (cause) {
      throw await writeError(folder, Math.max(0, bytes - written), cause, advice)
    }
  }
  await checkDiskSpace(folder, bytes, advice)
  const handle = await guard(open(partial, "wx"))
  try {
    try {
      await fill({
        name: path,
        async write(piece) {
          for (let done = 0; done < piece.byteLength; ) {
            const length = Math.min(PIECE, piece.byteLength - done)
            const { bytesWritten } = await guard(handle.write(piece, done, length, written))
            done += bytesWritten
            written += bytesWritten
          }
        },
        async close() {},
      })
      await guard(handle.sync())
    } finally {
      await handle.close()
    }
    await guard(rename(partial, path))
  } catch (error) {
    await rm(partial, { force: true }).catch(() => {})
    throw error
  }
}
