import { mkdir, mkdtemp, readdir, readFile, rm, writeFile as write } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, expect, it } from "vitest"
import { writeFile } from "./file-writer-node"

const advice = { unwritable: "Choose another folder.", full: "Make room." }
let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "isaac-file-"))
})
afterEach(() => rm(folder, { recursive: true }))

it("appears when it is whole, in the place of what was there", async () => {
  const path = join(folder, "a.bin")
  await write(path, "before")
  await writeFile(path, 5, advice, async (sink) => {
    expect(sink.name).toBe(path)
    await sink.write(Uint8Array.of(1, 2, 3))
    expect(await readFile(path, "utf8")).toBe("before")
    await sink.write(Uint8Array.of(4, 5))
  })
  expect([...(await readFile(path))]).toEqual([1, 2, 3, 4, 5])
  expect(await readdir(folder)).toEqual(["a.bin"])
})

it("leaves nothing behind when it fails, and says why", async () => {
  const path = join(folder, "a.bin")
  await write(path, "before")
  const failure = new Error("mine")
  const failing = writeFile(path, 5, advice, async (sink) => {
    await sink.write(Uint8Array.of(1))
    throw failure
  })
  await expect(failing).rejects.toBe(failure)
  await expect(writeFile(join(folder, "no", "a.bin"), 5, advice, async () => {})).rejects.toMatchObject({
    code: "io",
    message: expect.stringMatching(/cannot write to .*no.*Choose another folder/),
  })
  await expect(writeFile(path, 2 ** 60, advice, async () => {})).rejects.toMatchObject({
    code: "io",
    message: expect.stringMatching(/too full.* free at .*Make room/),
  })
  await mkdir(join(folder, "folder", "full"), { recursive: true })
  await expect(writeFile(join(folder, "folder"), 1, advice, async () => {})).rejects.toMatchObject({ code: "io" })
  expect((await readdir(folder)).sort()).toEqual(["a.bin", "folder"])
  expect(await readFile(path, "utf8")).toBe("before")
})
