import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { openFile, openFolder } from "./files-node"

describe("files on disk", () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "isaac-files-"))
    await writeFile(join(folder, "a.bin"), Uint8Array.of(1, 2, 3, 4, 5))
  })
  afterAll(() => rm(folder, { recursive: true }))

  it("reads ranges of a file", async () => {
    const files = await openFolder(folder)
    expect(await files.has("a.bin")).toBe(true)
    expect(await files.has("b.bin")).toBe(false)
    const source = await files.open("a.bin")
    expect(source.size).toBe(5)
    expect([...(await source.read(1, 3))]).toEqual([2, 3, 4])
    expect([...(await source.read(5, 0))]).toEqual([])
    await expect(source.read(3, 3)).rejects.toMatchObject({ code: "io", message: expect.stringContaining("has 5") })
    await source.close()
  })

  it("says what is missing, and what is no file or folder", async () => {
    await expect(openFile(join(folder, "b.bin"))).rejects.toMatchObject({ code: "not_found" })
    await expect(openFile(folder)).rejects.toMatchObject({ code: "io" })
    await expect(openFolder(join(folder, "a.bin"))).rejects.toMatchObject({ code: "not_found" })
    await expect(openFolder(join(folder, "none"))).rejects.toMatchObject({ code: "not_found" })
  })
})
