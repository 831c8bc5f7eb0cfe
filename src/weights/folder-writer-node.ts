/**
 * A folder that appears whole or not at all.
 *
 * It is written beside its place under a hidden name, forced to the disk and renamed at the end. A lock beside it keeps
 * other processes out, so what a killed one left under the hidden name belongs to nobody and is removed.
 *
 *     DIR                        the folder
 *     .DIR.isaac-partial         while it is being written
 *     .DIR.isaac-old             what was at DIR before, for the moment of the change
 *     .DIR.isaac-lock            the lock
 */

import { mkdir, open, readdir, realpath, rename, rm } from "node:fs/promises"
import { basename, dirname, join, resolve } from "node:path"
import { IsaacError } from "../errors"
import { inBlocks } from "./block-sink"
import { checkDiskSpace, type DiskAdvice, writeError } from "./disk-node"
import { type LockOptions, takeLock } from "./lock-node"
import type { ByteSink, FolderSink } from "./sink"

/** The part of a FileHandle that is used. */
export interface WritableFile {
  write(bytes: Uint8Array, offset: number): Promise<{ bytesWritten: number }>
  sync(): Promise<void>
  close(): Promise<void>
}

export interface WriteFolderOptions extends Pick<LockOptions, "onWait" | "pollMs" | "renewMs" | "staleMs"> {
  /** Bytes that will come: so many must be free on the disk. */
  readonly bytes: number
  /**
   * Asked once the lock is held, when something lies at the folder's place already (an empty folder is nothing):
   * leave it and write nothing, or replace it; or throw.
   */
  readonly existing: (folder: string) => Promise<"keep" | "replace">
  readonly advice: DiskAdvice
  readonly signal?: AbortSignal
  /** Instead of the file system's, for tests of disks that fail. */
  readonly openFile?: (path: string) => Promise<WritableFile>
}

/**
 * Write a folder. `fill` gets a sink for its files and a signal that fires when the work should stop.
 *
 * @returns whether it was written; false when `existing` said "keep"
 * @throws IsaacError `io` with the bytes that are needed and free, when the disk is full or fails; `aborted`; and what
 *   `existing` and `fill` throw. Nothing is left behind then, and what was there before is as it was.
 */
export async function writeFolder(
  folder: string,
  options: WriteFolderOptions,
  fill: (sink: FolderSink, signal: AbortSignal) => Promise<void>,
): Promise<boolean> {
  const { bytes, existing, advice, signal } = options
  const target = await realpath(folder).catch(() => resolve(folder))
  const beside = (ending: string) => join(dirname(target), `.${basename(target)}.isaac-${ending}`)
  const [partial, old] = [beside("partial"), beside("old")]

  const lock = await takeLock(beside("lock"), { ...options, advice: advice.unwritable })
  const stop = signal ? AbortSignal.any([signal, lock.lost]) : lock.lost
  const work = new FolderWork(partial, target, options, stop)
  try {
    // 1. What a killed process left, and what is there.
    const there = await entries(target)
    await rm(partial, { recursive: true, force: true })
    if (there === undefined) await rename(old, target).catch(() => {})
    else await rm(old, { recursive: true, force: true })
    const present = there ?? (await entries(target))
    if (present !== undefined && present.length > 0 && (await existing(target)) === "keep") return false

    // 2. The files, under the hidden name.
    work.check()
    await checkDiskSpace(dirname(target), bytes, advice)
    await mkdir(partial)
    await fill(work, stop)
    await syncFolder(partial)
    work.check()

    // 3. The change: two renames, of which the second is taken back when it fails.
    if (present !== undefined) await rename(target, old)
    await rename(partial, target).catch(async (error: unknown) => {
      if (present !== undefined) await rename(old, target)
      throw error
    })
    await syncFolder(dirname(target))
    await rm(old, { recursive: true, force: true })
    return true
  } catch (error) {
    await work.abandon()
    if (error instanceof IsaacError || !isSystemError(error)) throw error
    throw await writeError(dirname(target), bytes - work.written, error, advice)
  } finally {
    await lock.release()
  }
}

class FolderWork implements FolderSink {
  written = 0
  #open: WritableFile | undefined

  constructor(
    private readonly partial: string,
    readonly name: string,
    private readonly options: WriteFolderOptions,
    private readonly stop: AbortSignal,
  ) {}

  check(): void {
    if (!this.stop.aborted) return
    const { reason } = this.stop
    if (reason instanceof IsaacError) throw reason
    throw new IsaacError("aborted", `writing ${this.name} was stopped after ${this.written} bytes`, { cause: reason })
  }

  async create(file: string): Promise<ByteSink> {
    const { openFile = openForWriting } = this.options
    const path = join(this.partial, file)
    const opened = await this.#guard(openFile(path))
    this.#open = opened
    let at = 0
    const blocks = inBlocks({
      name: join(this.name, file),
      write: async (bytes) => {
        for (let done = 0; done < bytes.byteLength; ) {
          const { bytesWritten } = await this.#guard(opened.write(bytes.subarray(done), at))
          done += bytesWritten
          at += bytesWritten
          this.written += bytesWritten
        }
      },
      close: async () => {
        await this.#guard(opened.sync())
        this.#open = undefined
        await this.#guard(opened.close())
      },
    })
    return {
      ...blocks,
      write: async (bytes) => {
        this.check()
        await blocks.write(bytes)
      },
    }
  }

  /** Remove everything; says nothing about what cannot be removed, the next run tries again. */
  async abandon(): Promise<void> {
    await this.#open?.close().catch(() => {})
    await rm(this.partial, { recursive: true, force: true }).catch(() => {})
  }

  async #guard<T>(work: Promise<T>): Promise<T> {
    try {
      return await work
    } catch (cause) {
      const left = Math.max(0, this.options.bytes - this.written)
      throw await writeError(dirname(this.name), left, cause, this.options.advice)
    }
  }
}

async function openForWriting(path: string): Promise<WritableFile> {
  const handle = await open(path, "wx")
  return {
    write: (bytes, offset) => handle.write(bytes, 0, bytes.byteLength, offset),
    sync: () => handle.sync(),
    close: () => handle.close(),
  }
}

/** What a folder holds; undefined when there is nothing. Throws io when it is a file. */
async function entries(folder: string): Promise<string[] | undefined> {
  try {
    return await readdir(folder)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === "ENOENT") return undefined
    if (code === "ENOTDIR") throw new IsaacError("io", `${folder} is a file, not a folder`, { cause })
    throw cause
  }
}

/** Names too must be on the disk. Not every system lets a folder be opened; there nothing can be done. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r").catch(() => undefined)
  await handle?.sync().catch(() => {})
  await handle?.close()
}

function isSystemError(error: unknown): boolean {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).syscall === "string"
}
