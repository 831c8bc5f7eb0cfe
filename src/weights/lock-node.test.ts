import { spawnSync } from "node:child_process"
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises"
import { hostname, tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { removeStale, takeLock } from "./lock-node"

const QUICK = { pollMs: 5, renewMs: 20, staleMs: 150 }

let folder: string
let path: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "isaac-lock-"))
  path = join(folder, "a", "isaac.lock")
})
afterEach(() => rm(folder, { recursive: true }))

/** A lock that somebody left. */
async function leave(owner: unknown): Promise<void> {
  const lock = await takeLock(path, QUICK)
  await lock.release()
  await writeFile(path, typeof owner === "string" ? owner : JSON.stringify(owner))
}

describe("takeLock", () => {
  it("lets one in at a time, and none too many", async () => {
    let inside = 0
    let most = 0
    const enter = async () => {
      const lock = await takeLock(path, QUICK)
      most = Math.max(most, ++inside)
      await sleep(5)
      inside--
      await lock.release()
    }
    await Promise.all(Array.from({ length: 8 }, enter))
    expect(most).toBe(1)
    await expect(stat(path)).rejects.toMatchObject({ code: "ENOENT" })
  })

  it("says once for whom it waits", async () => {
    const first = await takeLock(path, QUICK)
    const onWait = vi.fn()
    const second = takeLock(path, { ...QUICK, onWait })
    await sleep(60)
    await first.release()
    await (await second).release()
    expect(onWait.mock.calls).toEqual([[expect.objectContaining({ pid: process.pid, host: hostname() })]])
  })

  it("does not take a lock that is renewed, however old", async () => {
    const first = await takeLock(path, QUICK)
    let taken = false
    const second = takeLock(path, QUICK).then((lock) => {
      taken = true
      return lock
    })
    await sleep(QUICK.staleMs * 3)
    expect(taken).toBe(false)
    expect(first.lost.aborted).toBe(false)
    await first.release()
    await (await second).release()
  })

  it("takes the lock of a process that has ended, at once", async () => {
    const { pid } = spawnSync(process.execPath, ["-e", ""])
    await leave({ pid, host: hostname(), id: "x" })
    const start = performance.now()
    const lock = await takeLock(path, { ...QUICK, staleMs: 60_000 })
    expect(performance.now() - start).toBeLessThan(5_000)
    expect(JSON.parse(await readFile(path, "utf8"))).toMatchObject({ pid: process.pid })
    await lock.release()
  })

  it.each([
    ["of another machine", { pid: 1, host: "elsewhere", id: "x" }],
    ["of a process id that another process has now", { pid: process.pid, host: hostname(), id: "x" }],
    ["that is empty", ""],
  ])("takes a lock %s when nobody renews it", async (_, owner) => {
    await leave(owner)
    const start = performance.now()
    const locks = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const lock = await takeLock(path, QUICK)
        const since = performance.now()
        await sleep(20)
        await lock.release()
        return [since, performance.now()]
      }),
    )
    expect(Math.min(...locks.map(([since]) => since)) - start).toBeGreaterThanOrEqual(QUICK.staleMs)
    // One after the other, though all found the same stale lock.
    locks.sort(([a], [b]) => a - b)
    for (let i = 1; i < locks.length; i++) expect(locks[i][0]).toBeGreaterThanOrEqual(locks[i - 1][0] + 20)
  })

  it("does not remove the lock that another waiter took meanwhile", async () => {
    const lock = await takeLock(path, QUICK)
    await removeStale(path, "the stale one", QUICK.staleMs)
    expect(JSON.parse(await readFile(path, "utf8"))).toMatchObject({ pid: process.pid })
    await lock.release()
  })

  it("tells the owner that it lost the lock, and leaves the new one alone", async () => {
    const lock = await takeLock(path, QUICK)
    const other = JSON.stringify({ pid: 1, host: "elsewhere", id: "y" })
    await writeFile(path, other)
    await vi.waitFor(() => expect(lock.lost.aborted).toBe(true))
    expect(lock.lost.reason).toMatchObject({ code: "io" })
    await lock.release()
    expect(await readFile(path, "utf8")).toBe(other)
  })

  it("stops waiting when told to", async () => {
    const lock = await takeLock(path, QUICK)
    await expect(takeLock(path, { ...QUICK, signal: AbortSignal.timeout(30) })).rejects.toMatchObject({
      code: "aborted",
    })
    await lock.release()
  })

  it("says where it cannot write", async () => {
    await writeFile(join(folder, "file"), "")
    await expect(takeLock(join(folder, "file", "isaac.lock"))).rejects.toMatchObject({
      code: "io",
      message: expect.stringContaining("that can be written"),
    })
  })
})
