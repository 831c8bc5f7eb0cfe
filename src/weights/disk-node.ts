/** Room on the disk, and what to say when there is none. */

import { statfs } from "node:fs/promises"
import { IsaacError } from "../errors"

/** What a message adds: what to do when a folder cannot be written, and when its disk is full. */
export interface DiskAdvice {
  readonly unwritable: string
  readonly full: string
}

/** Throws io if fewer than `needed` bytes are free where `folder` is. */
export async function checkDiskSpace(folder: string, needed: number, advice: DiskAdvice): Promise<void> {
  const free = await freeBytes(folder)
  if (free !== undefined && free < needed) throw diskFull(folder, needed, free, advice)
}

/** What a failed write means; `needed` bytes were still to come. */
export async function writeError(
  folder: string,
  needed: number,
  cause: unknown,
  advice: DiskAdvice,
): Promise<IsaacError> {
  const { code, message } = cause as NodeJS.ErrnoException
  if (code === "ENOSPC" || code === "EDQUOT") return diskFull(folder, needed, await freeBytes(folder), advice, cause)
  return new IsaacError("io", `cannot write to ${folder}: ${message}. ${advice.unwritable}`, {
    cause,
  })
}

/** 12 bytes, 3.4 kB, 1.2 MB, 10.3 GB */
export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} bytes`
  const units = ["kB", "MB", "GB", "TB", "PB"]
  const power = Math.min(units.length, Math.floor(Math.log10(bytes) / 3))
  return `${(bytes / 1000 ** power).toFixed(1)} ${units[power - 1]}`
}

function diskFull(
  folder: string,
  needed: number,
  free: number | undefined,
  advice: DiskAdvice,
  cause?: unknown,
): IsaacError {
  const there = free === undefined ? "less" : formatBytes(free)
  return new IsaacError(
    "io",
    `the disk is too full: ${formatBytes(needed)} are needed, ${there} free at ${folder}. ${advice.full}`,
    { cause },
  )
}

/** What this user may still write; undefined where the file system does not tell. */
async function freeBytes(folder: string): Promise<number | undefined> {
  try {
    const { bavail, bsize } = await statfs(folder)
    return bavail * bsize
  } catch {
    return undefined
  }
}
