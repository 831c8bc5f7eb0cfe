/**
 * A lock between processes: a file that holds its owner's process id, and whose time the owner renews.
 *
 * A lock is stale when its owner ran on this machine and no longer lives, or when a waiter has watched it for a while
 * without seeing it renewed. The waiter's own clock measures that while, so neither clocks that differ between the
 * machines of a network drive nor a laptop that slept make a live lock look stale.
 */

import { randomUUID } from "node:crypto"
import { mkdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises"
import { hostname } from "node:os"
import { dirname } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { IsaacError } from "../errors"

/** Whose lock it is, as its file says. */
export interface LockOwner {
  readonly pid: number
  readonly host: string
  /** Tells two locks of one process apart. */
  readonly id: string
}

export interface LockOptions {
  readonly signal?: AbortSignal
  /** Called once if somebody else holds the lock. */
  readonly onWait?: (owner: LockOwner) => void
  /** How often to look, in milliseconds. */
  readonly pollMs?: number
  /** How often the owner renews. */
  readonly renewMs?: number
  /** Not renewed for this long while watched: stale. */
  readonly staleMs?: number
  /** Ends the message when the lock cannot be written: what to do. Default: to choose another folder. */
  readonly advice?: string
}

export interface Lock {
  /** Fires when somebody took the lock away, because this process was stopped for too long. */
  readonly lost: AbortSignal
  release(): Promise<void>
}

/** Wait for the lock. Throws aborted, or io when the file cannot be made. */
export async function takeLock(path: string, options: LockOptions = {}): Promise<Lock> {
  const { advice = "Choose a folder that can be written." } = options
  return acquire(path, options).catch((error: unknown) => {
    if (!(error instanceof IsaacError && error.code === "io")) throw error
    throw new IsaacError("io", `${error.message}. ${advice}`, { cause: error.cause })
  })
}

async function acquire(path: string, options: LockOptions): Promise<Lock> {
  const { signal, onWait, pollMs = 250, renewMs = 5_000, staleMs = 60_000 } = options
  const own: LockOwner = { pid: process.pid, host: hostname(), id: randomUUID() }
  await mkdir(dirname(path), { recursive: true }).catch((cause: unknown) => {
    throw unwritable(path, cause)
  })
  let seen = ""
  let seenAt = 0
  let waited = false
  while (!(await create(path, JSON.stringify(own)))) {
    const found = await look(path)
    if (found === undefined) continue // released meanwhile
    const { owner, print } = found
    const now = performance.now()
    if (print !== seen) {
      seen = print
      seenAt = now
    }
    if (isDead(owner) || now - seenAt > staleMs) {
      await removeStale(path, found.text, staleMs)
      continue
    }
    if (owner && !waited) onWait?.(owner)
    waited ||= owner !== undefined
    await sleep(pollMs, undefined, { signal }).catch((cause: unknown) => {
      throw new IsaacError("aborted", `stopped while waiting for ${path}`, { cause })
    })
  }
  return hold(path, own, renewMs)
}

function hold(path: string, own: LockOwner, renewMs: number): Lock {
  const lost = new AbortController()
  const isOwn = async () => (await look(path))?.owner?.id === own.id
  const renew = async () => {
    // A lock that cannot be read just now is not lost.
    if (!(await isOwn().catch(() => true))) {
      lost.abort(
        new IsaacError("io", `another process took the lock ${path}, because this one had stopped for too long`),
      )
      return
    }
    const now = new Date()
    await utimes(path, now, now).catch(() => {})
  }
  const timer = setInterval(() => void renew(), renewMs)
  timer.unref()
  return {
    lost: lost.signal,
    async release() {
      clearInterval(timer)
      if (await isOwn()) await rm(path, { force: true })
    },
  }
}

/** Make the file unless it is there. */
async function create(path: string, text: string): Promise<boolean> {
  try {
    await writeFile(path, text, { flag: "wx" })
    return true
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "EEXIST") return false
    throw unwritable(path, cause)
  }
}

/** The lock as it is now; `print` changes whenever its owner renews it. No owner: the text is not written yet. */
async function look(path: string): Promise<{ text: string; print: string; owner?: LockOwner } | undefined> {
  try {
    const text = await readFile(path, "utf8")
    const { mtimeMs } = await stat(path)
    return { text, print: `${text} ${mtimeMs}`, owner: parseOwner(text) }
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined
    throw unwritable(path, cause)
  }
}

function parseOwner(text: string): LockOwner | undefined {
  try {
    const { pid, host, id } = JSON.parse(text) as Partial<LockOwner>
    return typeof pid === "number" && typeof host === "string" && typeof id === "string" ? { pid, host, id } : undefined
  } catch {
    return undefined
  }
}

function isDead(owner: LockOwner | undefined): boolean {
  if (owner === undefined || owner.host !== hostname()) return false
  try {
    process.kill(owner.pid, 0)
    return false
  } catch (error) {
    // EPERM: it lives, as another user's.
    return (error as NodeJS.ErrnoException).code === "ESRCH"
  }
}

/**
 * Remove a lock found stale, one waiter at a time: else a second one could remove the lock that the first has taken
 * meanwhile. Whoever may remove looks again whether it is still the stale one.
 */
export async function removeStale(path: string, text: string, staleMs: number): Promise<void> {
  const guard = `${path}.remove`
  if (!(await create(guard, ""))) {
    // Held for the blink of an eye, unless its owner died in it.
    const age = await stat(guard).then(
      ({ mtimeMs }) => Date.now() - mtimeMs,
      () => 0,
    )
    if (age > staleMs) await rm(guard, { force: true })
    else await sleep(10)
    return
  }
  try {
    if ((await look(path))?.text === text) await rm(path, { force: true })
  } finally {
    await rm(guard, { force: true })
  }
}

function unwritable(path: string, cause: unknown): IsaacError {
  return new IsaacError("io", `cannot write the lock ${path}: ${(cause as Error).message}`, { cause })
}
