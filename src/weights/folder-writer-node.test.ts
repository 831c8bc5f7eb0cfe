import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { IsaacError } from "../errors"
import { type WritableFile, type WriteFolderOptions, writeFolder } from "./folder-writer-node"
import type { FolderSink } from "./sink"

let parent: string
beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), "isaac-folder-"))
})
afterEach(() => rm(parent, { recursive: true }))

const ADVICE = { unwritable: "Elsewhere, please.", full: "Make room." }
const options = (changes: Partial<WriteFolderOptions> = {}): WriteFolderOptions => ({
  bytes: 1000,
  existing: async (folder) => {
    throw new IsaacError("io", `${folder} is taken`)
  },
  advice: ADVICE,
  pollMs: 5,
  ...changes,
})

/** Two files of 300 and 700 bytes, in pieces of 100. */
async function fill(sink: FolderSink): Promise<void> {
  for (const [name, pieces] of [
    ["a", 3],
    ["b", 7],
  ] as const) {
    const file = await sink.create(name)
    for (let i = 0; i < pieces; i++) await file.write(new Uint8Array(100).fill(i))
    await file.close()
  }
}

/** A disk of `room` bytes that then fails with `code`; the write that meets its end is done in part, as disks do. */
function smallDisk(room: number, code: string): (path: string) => Promise<WritableFile> {
  const failure = () => Object.assign(new Error(`${code}: simulated`), { code, syscall: "write" })
  return async () => ({
    async write(bytes) {
      if (room === 0) throw failure()
      const bytesWritten = Math.min(room, bytes.byteLength)
      room -= bytesWritten
      return { bytesWritten }
    },
    async sync() {
      if (room === 0) throw failure()
    },
    async close() {},
  })
}

const everything = async () => (await readdir(parent)).sort()

describe("writeFolder", () => {
  it("makes the folder with its files, and leaves nothing beside it", async () => {
    const folder = join(parent, "deep", "out")
    expect(await writeFolder(folder, options(), fill)).toBe(true)
    expect((await readdir(folder)).sort()).toEqual(["a", "b"])
    expect([...(await readFile(join(folder, "b")))]).toEqual([0, 1, 2, 3, 4, 5, 6].flatMap((i) => Array(100).fill(i)))
    expect(await readdir(join(parent, "deep"))).toEqual(["out"])
  })

  it("shows nothing under its name before it is whole", async () => {
    const folder = join(parent, "out")
    await writeFolder(folder, options(), async (sink) => {
      await fill(sink)
      expect(await everything()).toEqual([".out.isaac-lock", ".out.isaac-partial"])
    })
    expect(await everything()).toEqual(["out"])
  })

  it("asks about a folder that is not empty: keep, replace, or refuse", async () => {
    const folder = join(parent, "out")
    await mkdir(folder)
    await writeFolder(folder, options(), fill) // an empty one is nothing
    await writeFile(join(folder, "mine"), "")
    await expect(writeFolder(folder, options(), fill)).rejects.toThrow("is taken")
    expect(await writeFolder(folder, options({ existing: async () => "keep" }), fill)).toBe(false)
    expect((await readdir(folder)).sort()).toEqual(["a", "b", "mine"])
    expect(await writeFolder(folder, options({ existing: async () => "replace" }), fill)).toBe(true)
    expect((await readdir(folder)).sort()).toEqual(["a", "b"])
    expect(await everything()).toEqual(["out"])
    await writeFile(join(parent, "file"), "")
    await expect(writeFolder(join(parent, "file"), options(), fill)).rejects.toMatchObject({ code: "io" })
  })

  it("cleans up after a process that was killed, while writing or between the two renames", async () => {
    const folder = join(parent, "out")
    await mkdir(join(parent, ".out.isaac-partial"))
    await writeFile(join(parent, ".out.isaac-partial", "half"), "")
    await writeFile(join(parent, ".out.isaac-lock"), JSON.stringify({ pid: 2 ** 22 + 1, host: "elsewhere", id: "x" }))
    await mkdir(join(parent, ".out.isaac-old"))
    await writeFile(join(parent, ".out.isaac-old", "before"), "")
    const seen: string[][] = []
    const existing = async () => {
      seen.push(await readdir(folder))
      return "replace" as const
    }
    await writeFolder(folder, options({ existing, staleMs: 30 }), fill)
    expect(seen).toEqual([["before"]])
    expect((await readdir(folder)).sort()).toEqual(["a", "b"])
    expect(await everything()).toEqual(["out"])
  })

  it.each([
    ["a full disk", 450, "ENOSPC", /too full: 550 bytes are needed, .* free at .*Make room\./],
    ["a disk that fails in the middle", 950, "EIO", /cannot write to .*EIO.*Elsewhere, please\./],
    ["one that fails when it is forced to the disk", 1000, "EIO", /cannot write to .*EIO/],
  ])("%s: an error with what to do, nothing left, what was there untouched", async (_, room, code, message) => {
    const folder = join(parent, "out")
    await mkdir(folder)
    await writeFile(join(folder, "before"), "")
    const failing = options({ existing: async () => "replace", openFile: smallDisk(room, code) })
    await expect(writeFolder(folder, failing, fill)).rejects.toMatchObject({
      code: "io",
      message: expect.stringMatching(message),
    })
    expect(await everything()).toEqual(["out"])
    expect(await readdir(folder)).toEqual(["before"])
  })

  it("refuses before it writes when the disk has no room", async () => {
    const huge = writeFolder(join(parent, "out"), options({ bytes: 1e18 }), async () => {
      throw new Error("written all the same")
    })
    await expect(huge).rejects.toMatchObject({ code: "io", message: expect.stringContaining("1000.0 PB are needed") })
    expect(await everything()).toEqual([])
  })

  it("stops when aborted, and leaves nothing", async () => {
    const controller = new AbortController()
    const aborted = writeFolder(join(parent, "out"), options({ signal: controller.signal }), async (sink) => {
      const file = await sink.create("a")
      // Of this, a block is on the disk.
      await file.write(new Uint8Array((8 << 20) + 10))
      controller.abort()
      await file.write(new Uint8Array(10))
    })
    await expect(aborted).rejects.toMatchObject({ code: "aborted", message: expect.stringContaining("8388608 bytes") })
    expect(await everything()).toEqual([])
  })

  it("lets one of two work, and the other see the result", async () => {
    const folder = join(parent, "out")
    let filled = 0
    const waited: number[] = []
    const once = () =>
      writeFolder(
        folder,
        options({ existing: async () => "keep", onWait: ({ pid }) => waited.push(pid) }),
        async (sink) => {
          filled++
          await new Promise((resolve) => setTimeout(resolve, 50))
          await fill(sink)
        },
      )
    expect((await Promise.all([once(), once()])).sort()).toEqual([false, true])
    expect({ filled, waited }).toEqual({ filled: 1, waited: [process.pid] })
  })

  it("gives up when its lock was taken away", async () => {
    const stolen = writeFolder(join(parent, "out"), options({ renewMs: 5 }), async (sink, signal) => {
      await writeFile(join(parent, ".out.isaac-lock"), "{}")
      await new Promise((resolve) => signal.addEventListener("abort", resolve))
      await fill(sink)
    })
    await expect(stolen).rejects.toMatchObject({ code: "io", message: expect.stringContaining("took the lock") })
    expect(await everything()).toEqual([".out.isaac-lock"])
  })
})
