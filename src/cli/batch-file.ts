/**
 * The file that a batch writes its lines to, such that it can be killed at any moment and go on later.
 *
 *     FILE                 a line of JSON for each picture, nothing else
 *     FILE.settings.json   what was asked; a run that asks something else is refused
 *     FILE.lock            while a batch is writing; of a batch that was killed it does not stand in the way
 */

import { type FileHandle, open, readFile, realpath, rename, rm, stat } from "node:fs/promises"
import { resolve } from "node:path"
import { IsaacError, type Lock, plainText, takeLock, writeFileAtomically } from "../internal"

/** What a batch was asked, as JSON has it. What is undefined was left to the model. */
export type BatchSettings = Readonly<Record<string, unknown>>

const NEWLINE = 10

export class BatchFile {
  /** Names of pictures that have an answer in the file. */
  readonly done: ReadonlySet<string>
  /** Names of pictures that had an error in it. Their lines are gone: they are tried again. */
  readonly failed: ReadonlySet<string>
  /** What the drawings of those with an answer are called. */
  readonly drawings: ReadonlySet<string>
  readonly #path: string
  readonly #file: FileHandle
  readonly #lock: Lock
  #bytes: number
  #closed = false

  private constructor(path: string, file: FileHandle, lock: Lock, { done, failed, drawings, bytes }: Scan) {
    this.#path = path
    this.#file = file
    this.#lock = lock
    this.done = done
    this.failed = failed
    this.drawings = drawings
    this.#bytes = bytes
  }

  /**
   * Begin the file, or go on with it: what a kill left of a last line is cut off, lines of errors are taken out.
   *
   * Throws bad_input for a file that is no batch's or was begun with other settings, io when another process is writing
   * it or the disk refuses.
   */
  static async open(out: string, settings: BatchSettings, signal?: AbortSignal): Promise<BatchFile> {
    const path = await realpath(out).catch(() => resolve(out))
    const found = await stat(path).catch(() => undefined)
    if (found && !found.isFile()) {
      throw new IsaacError("bad_input", `${plainText(out)} is no file; without --out lines go to standard output`)
    }
    const lock = await claim(`${path}.lock`, out, signal)
    try {
      await checkSettings(path, settings)
      let scan = await scanLines(path)
      if (scan.failed.size > 0) {
        await keepRanges(path, scan.kept)
        scan = { ...scan, bytes: scan.kept.reduce((sum, [from, to]) => sum + to - from, 0) }
      }
      const file = await open(path, "a").catch((cause: Error) => {
        throw unwritable(path, cause)
      })
      try {
        await file.truncate(scan.bytes)
        return new BatchFile(path, file, lock, scan)
      } catch (cause) {
        await file.close()
        throw unwritable(path, cause as Error)
      }
    } catch (error) {
      await lock.release()
      throw error
    }
  }

  /** The lines of all answers so far. */
  async *answers(): AsyncGenerator<Readonly<Record<string, unknown>>, void> {
    for await (const line of linesOf(this.#path)) {
      const fields = parseObject(line.toString())
      if (fields !== undefined && fields.error === undefined) yield fields
    }
  }

  /** Fires when another process took the file over, because this one had been stopped for long. */
  get lost(): AbortSignal {
    return this.#lock.lost
  }

  /** Add a line; on a full disk none of it. Throws io. */
  async append(fields: Readonly<Record<string, unknown>>): Promise<void> {
    this.lost.throwIfAborted()
    const line = Buffer.from(`${JSON.stringify(fields)}\n`)
    try {
      await this.#file.appendFile(line)
    } catch (cause) {
      await this.#file.truncate(this.#bytes).catch(() => {}) // the next run cuts it off, too
      throw unwritable(this.#path, cause as Error)
    }
    this.#bytes += line.byteLength
  }

  /** Throws io when the disk did not take everything after all. A second time nothing happens. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    try {
      await this.#file.datasync().catch((cause: Error) => {
        throw unwritable(this.#path, cause)
      })
    } finally {
      await this.#file.close().catch(() => {})
      await this.#lock.release()
    }
  }
}

/** A lock that its owner has not renewed for so long looks like one that was left behind. */
const SILENT_MS = 20_000
/** To watch such a lock for: its owner renews it every five seconds. */
const WATCH_MS = 12_000

/** Refused when another process has it, after a look whether that still lives. */
async function claim(lock: string, out: string, signal: AbortSignal | undefined): Promise<Lock> {
  const refused = new AbortController()
  let owner: string | undefined
  try {
    return await takeLock(lock, {
      signal: signal ? AbortSignal.any([signal, refused.signal]) : refused.signal,
      pollMs: 50,
      staleMs: WATCH_MS,
      advice: "Choose another --out.",
      onWait: ({ pid, host }) => {
        owner = `process ${pid} on ${host}`
        void stat(lock).then(
          ({ mtimeMs }) =>
            setTimeout(() => refused.abort(), Date.now() - mtimeMs < SILENT_MS ? 0 : 2 * WATCH_MS).unref(),
          () => {},
        )
      },
    })
  } catch (error) {
    if (!refused.signal.aborted || signal?.aborted) throw error
    throw new IsaacError(
      "io",
      `${plainText(out)} is being written by ${plainText(owner ?? "another process")}; wait for it, or choose another ` +
        `--out (if there is no such process any more, remove ${plainText(lock)})`,
      { cause: error },
    )
  }
}

/** Throws bad_input unless the file was begun with these settings; writes them down where there is nothing yet. */
async function checkSettings(path: string, settings: BatchSettings): Promise<void> {
  const beside = `${path}.settings.json`
  const empty = ((await stat(path).catch(() => undefined))?.size ?? 0) === 0
  if (empty) {
    await writeFileAtomically(beside, `${JSON.stringify(settings, null, 2)}\n`)
    return
  }
  const text = await readFile(beside, "utf8").catch((cause: Error) => {
    throw new IsaacError(
      "bad_input",
      `${plainText(path)} has something in it already, and what a batch was asked is not beside it ` +
        `(${plainText(beside)}: ${cause.message}). Choose another --out, or remove the file`,
      { cause },
    )
  })
  const before = parseObject(text)
  if (before === undefined) {
    throw new IsaacError("bad_input", `${plainText(beside)} is damaged; choose another --out to begin anew`)
  }
  const asked = JSON.parse(JSON.stringify(settings)) as Record<string, unknown>
  const names = [...new Set([...Object.keys(before), ...Object.keys(asked)])]
  const changed = names.filter((name) => JSON.stringify(before[name]) !== JSON.stringify(asked[name]))
  if (changed.length === 0) return
  const differences = changed.map((name) => `${name} ${value(asked[name])} instead of ${value(before[name])}`)
  throw new IsaacError(
    "bad_input",
    `${plainText(path)} was begun with other settings: this run has ${plainText(differences.join(", "))}. Run it as ` +
      "before to go on, or choose another --out",
  )
}

function value(of: unknown): string {
  return of === undefined ? "none" : JSON.stringify(of)
}

interface Scan {
  readonly done: ReadonlySet<string>
  readonly failed: ReadonlySet<string>
  readonly drawings: ReadonlySet<string>
  /** Where the last whole line ends. */
  readonly bytes: number
  /** [from, to) of the lines without an error. */
  readonly kept: readonly (readonly [from: number, to: number])[]
}

/** Throws bad_input for a line in the middle that is none of a batch. */
async function scanLines(path: string): Promise<Scan> {
  const done = new Set<string>()
  const failed = new Set<string>()
  const drawings = new Set<string>()
  const kept: [from: number, to: number][] = []
  let bytes = 0
  let number = 0
  let broken: number | undefined
  for await (const line of linesOf(path)) {
    number++
    // Of a machine that lost its power, the last line may be one in length only.
    if (broken !== undefined) {
      throw new IsaacError(
        "bad_input",
        `line ${broken} of ${plainText(path)} is no line of a batch; repair or remove it, or choose another --out`,
      )
    }
    const { image, error, drawing } = parseObject(line.toString()) ?? {}
    if (typeof image !== "string") {
      broken = number
      continue
    }
    const from = bytes
    bytes += line.byteLength + 1
    if (error !== undefined) failed.add(image)
    else {
      done.add(image)
      if (typeof drawing === "string") drawings.add(drawing)
      const last = kept.at(-1)
      if (last?.[1] === from) last[1] = bytes
      else kept.push([from, bytes])
    }
  }
  return { done, failed, drawings, bytes, kept }
}

/** Lines that ended, without their ends. */
async function* linesOf(path: string): AsyncGenerator<Buffer, void> {
  const file = await open(path, "r").catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT") return undefined
    throw new IsaacError("io", `${plainText(path)} cannot be read: ${cause.message}`, { cause })
  })
  if (file === undefined) return
  let rest: Buffer[] = []
  for await (const chunk of file.createReadStream() as AsyncIterable<Buffer>) {
    let from = 0
    for (let to = chunk.indexOf(NEWLINE); to >= 0; to = chunk.indexOf(NEWLINE, from)) {
      yield Buffer.concat([...rest, chunk.subarray(from, to)])
      rest = []
      from = to + 1
    }
    rest.push(chunk.subarray(from))
  }
}

/** The file with nothing but these parts of it; until that is whole, the old one stays. */
async function keepRanges(path: string, ranges: Scan["kept"]): Promise<void> {
  const partial = `${path}.part` // nobody else writes it: the lock is ours
  try {
    const [from, to] = [await open(path, "r"), await open(partial, "w")]
    try {
      for (const [start, end] of ranges) {
        for await (const chunk of from.createReadStream({ start, end: end - 1, autoClose: false })) {
          await to.appendFile(chunk as Buffer)
        }
      }
      await to.sync()
    } finally {
      await from.close()
      await to.close()
    }
    await rename(partial, path)
  } catch (cause) {
    await rm(partial, { force: true }).catch(() => {})
    throw unwritable(path, cause as Error)
  }
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const found: unknown = JSON.parse(text)
    return found !== null && typeof found === "object" ? (found as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

function unwritable(path: string, cause: Error): IsaacError {
  return new IsaacError(
    "io",
    `${plainText(path)} cannot be written: ${cause.message}. What is in it is kept; run the same command again to go on`,
    { cause },
  )
}
