/**
 * What the browser keeps of downloaded checkpoints, in its Origin Private File System: isaac-vlm/<key>/ has each file
 * and, beside it, a note of its version and how much of it is there, so that a download that broke off goes on.
 *
 * Only in workers: pages have no synchronous access to these files.
 */

import { IsaacError } from "../errors"
import type { FileVersion } from "./http-request"

const FOLDER = "isaac-vlm"
const NOTE = ".state.json"
/** The note is written each time so much has come. */
const NOTE_BYTES = 32 << 20
/** A handle of a page that was just closed may take a moment to be given up. */
const OPEN_TRIES = 20
const OPEN_DELAY_MS = 50

/** The part of FileSystemSyncAccessHandle that is used. */
interface SyncHandle {
  read(buffer: Uint8Array, options: { at: number }): number
  write(buffer: Uint8Array, options: { at: number }): number
  truncate(size: number): void
  getSize(): number
  flush(): void
  close(): void
}

export interface KeptState extends FileVersion {
  /** Bytes from the beginning that are here. */
  readonly have: number
  /** All of it is here. */
  readonly complete: boolean
}

/** The storage has no room for more. */
export class StorageFullError extends Error {}

/** The kept files of one checkpoint; one page or tab has it at a time. */
export class KeptFolder {
  readonly #folder: FileSystemDirectoryHandle
  readonly #release: () => void
  readonly #open = new Map<string, Promise<KeptFile>>()

  private constructor(folder: FileSystemDirectoryHandle, release: () => void) {
    this.#folder = folder
    this.#release = release
  }

  /**
   * @param name of the checkpoint, such as its address
   * @param onWait told when another tab has it
   * Throws aborted, and whatever the browser throws where there is no such storage.
   */
  static async open(
    name: string,
    { storage = navigator.storage, locks = navigator.locks, signal, onWait }: KeptFolderOptions,
  ): Promise<KeptFolder> {
    if (storage?.getDirectory === undefined || locks === undefined) {
      throw new Error("this browser has none, or the page is not served over https")
    }
    const root = await storage.getDirectory()
    const key = await keyOf(name)
    const release = await takeLock(locks, `${FOLDER}/${key}`, signal, onWait)
    try {
      const all = await root.getDirectoryHandle(FOLDER, { create: true })
      return new KeptFolder(await all.getDirectoryHandle(key, { create: true }), release)
    } catch (error) {
      release()
      throw error
    }
  }

  /** Names of the files that something is known of. */
  async names(): Promise<string[]> {
    const names: string[] = []
    const entries = this.#folder as unknown as { keys(): AsyncIterable<string> }
    for await (const name of entries.keys()) {
      if (name.endsWith(NOTE)) names.push(decodeURIComponent(name.slice(0, -NOTE.length)))
    }
    return names
  }

  /** The same one for each call. */
  file(name: string): Promise<KeptFile> {
    let file = this.#open.get(name)
    if (file === undefined) {
      file = KeptFile.open(this.#folder, encodeURIComponent(name))
      this.#open.set(name, file)
    }
    return file
  }

  async close(): Promise<void> {
    for (const file of this.#open.values()) await file.then((opened) => opened.close()).catch(() => {})
    this.#release()
  }
}

export interface KeptFolderOptions {
  /** Default: those of this page. */
  readonly storage?: Pick<StorageManager, "getDirectory">
  readonly locks?: Pick<LockManager, "request">
  readonly signal: AbortSignal
  readonly onWait: () => void
}

export class KeptFile {
  readonly #data: SyncHandle
  readonly #note: SyncHandle
  #state: KeptState | undefined
  #noted = 0

  private constructor(data: SyncHandle, note: SyncHandle) {
    this.#data = data
    this.#note = note
    this.#state = readNote(note, data.getSize())
  }

  static async open(folder: FileSystemDirectoryHandle, name: string): Promise<KeptFile> {
    const data = await openHandle(folder, name)
    try {
      return new KeptFile(data, await openHandle(folder, name + NOTE))
    } catch (error) {
      data.close()
      throw error
    }
  }

  /** What is here; undefined for nothing. */
  get state(): KeptState | undefined {
    return this.#state
  }

  get have(): number {
    return this.#state?.have ?? 0
  }

  /** Nothing of this version is here yet. */
  begin(version: FileVersion): void {
    this.drop()
    this.#state = { ...version, have: 0, complete: false }
  }

  /** The next bytes. Throws StorageFullError. */
  append(bytes: Uint8Array): void {
    const { have } = this.#state!
    try {
      for (let done = 0; done < bytes.length; ) {
        const written = this.#data.write(bytes.subarray(done), { at: have + done })
        if (written <= 0) throw new StorageFullError("nothing more was written")
        done += written
      }
      this.#state = { ...this.#state!, have: have + bytes.length }
      if (this.have - this.#noted >= NOTE_BYTES) this.save()
    } catch (cause) {
      throw asFull(cause)
    }
  }

  /** There is no more: the size is what has come. */
  finish(): void {
    this.#state = { ...this.#state!, size: this.have, complete: true }
    this.save()
  }

  /** Write down what is here: first the bytes, then the note that they are here. Throws StorageFullError. */
  save(): void {
    if (this.#state === undefined || (this.#noted === this.have && !this.#state.complete)) return
    try {
      this.#data.flush()
      const note = new TextEncoder().encode(JSON.stringify(this.#state))
      this.#note.truncate(0)
      this.#note.write(note, { at: 0 })
      this.#note.flush()
      this.#noted = this.have
    } catch (cause) {
      throw asFull(cause)
    }
  }

  /** Bytes that are here. */
  read(offset: number, length: number): Uint8Array {
    const out = new Uint8Array(length)
    for (let done = 0; done < length; ) {
      const read = this.#data.read(out.subarray(done), { at: offset + done })
      if (read <= 0) throw new IsaacError("io", `the browser's storage lost bytes of a kept file at ${offset + done}`)
      done += read
    }
    return out
  }

  /** Forget it and give back its space. */
  drop(): void {
    this.#note.truncate(0)
    this.#note.flush()
    this.#data.truncate(0)
    this.#state = undefined
    this.#noted = 0
  }

  close(): void {
    try {
      this.save()
    } catch {
      // No room for the note: the next load begins where the last one said.
    }
    this.#data.close()
    this.#note.close()
  }
}

/** A note that makes no sense, or tells of more than there is, is as good as none. */
function readNote(note: SyncHandle, bytes: number): KeptState | undefined {
  try {
    const text = new Uint8Array(note.getSize())
    note.read(text, { at: 0 })
    const { size, etag, modified, have, complete } = JSON.parse(new TextDecoder().decode(text)) as KeptState
    const count = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0
    const tag = (value: unknown) => value === undefined || typeof value === "string"
    const sound = count(have) && have <= bytes && (size === undefined || count(size)) && tag(etag) && tag(modified)
    if (!sound || typeof complete !== "boolean" || (complete && size !== have)) return undefined
    return { size, etag, modified, have, complete }
  } catch {
    return undefined
  }
}

function asFull(cause: unknown): unknown {
  return (cause as Error)?.name === "QuotaExceededError" ? new StorageFullError(String(cause), { cause }) : cause
}

async function openHandle(folder: FileSystemDirectoryHandle, name: string): Promise<SyncHandle> {
  const file = (await folder.getFileHandle(name, { create: true })) as unknown as {
    createSyncAccessHandle(): Promise<SyncHandle>
  }
  for (let tries = 1; ; tries++) {
    try {
      return await file.createSyncAccessHandle()
    } catch (error) {
      if ((error as Error).name !== "NoModificationAllowedError" || tries === OPEN_TRIES) throw error
      await new Promise((resolve) => setTimeout(resolve, OPEN_DELAY_MS))
    }
  }
}

/** Addresses are too long and too free for the name of a folder. */
async function keyOf(name: string): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(name))
  return [...new Uint8Array(hash, 0, 16)].map((byte) => byte.toString(16).padStart(2, "0")).join("")
}

/** Resolves with the function that gives the lock back. */
function takeLock(
  locks: Pick<LockManager, "request">,
  name: string,
  signal: AbortSignal,
  onWait: () => void,
): Promise<() => void> {
  return new Promise((resolve, reject) => {
    const hold = () => new Promise<void>((release) => resolve(release))
    locks
      .request(name, { ifAvailable: true }, async (lock) => {
        if (lock !== null) return hold()
        onWait()
        locks.request(name, { signal }, hold).catch(reject)
      })
      .catch(reject)
  })
}
