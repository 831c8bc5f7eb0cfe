import { copyFile, mkdir, mkdtemp, open, rename, rm, stat, symlink, utimes, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { openCheckpoint } from "./checkpoint"
import { openFolder } from "./files-node"
import { fingerprintWeights } from "./fingerprint-node"
import { encodeSafetensors } from "./safetensors"

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "isaac-fingerprint-"))
  await writeFile(join(folder, "config.json"), "{}")
  await writeWeights(folder, 1)
})
afterEach(() => rm(folder, { recursive: true }))

const FILE = "model.safetensors"
const TIME = new Date("2025-01-01T00:00:00Z")

/** 2 MB of numbers. */
async function writeWeights(where: string, value: number, name = "model.norm.weight"): Promise<void> {
  const data = new Float32Array(500_000).fill(value)
  await writeFile(join(where, FILE), encodeSafetensors({ [name]: { shape: [data.length], data } }))
  await utimes(join(where, FILE), TIME, TIME)
}

async function fingerprint(where = folder): Promise<string> {
  const files = await openFolder(where)
  const checkpoint = await openCheckpoint(files)
  try {
    return await fingerprintWeights(files, checkpoint)
  } finally {
    await checkpoint.close()
  }
}

/** Change one byte in place, and keep the file's time. */
async function poke(at: number): Promise<void> {
  const file = await open(join(folder, FILE), "r+")
  await file.write(new Uint8Array([7]), 0, 1, at)
  await file.close()
  await utimes(join(folder, FILE), TIME, TIME)
}

describe("fingerprintWeights", () => {
  it("is the same for the same files, wherever they lie", async () => {
    const copy = join(folder, "copy")
    await mkdir(copy)
    for (const name of ["config.json", FILE]) await copyFile(join(folder, name), join(copy, name))
    await utimes(join(copy, FILE), TIME, TIME)
    expect(await fingerprint()).toMatch(/^[0-9a-f]{64}$/)
    expect(await fingerprint(copy)).toBe(await fingerprint())
  })

  it.each<[string, () => Promise<void>]>([
    ["other numbers of the same length and time", () => writeWeights(folder, 2)],
    ["another name in the header", () => writeWeights(folder, 1, "model.horn.weight")],
    ["another first byte of data", async () => poke(8 + 88)],
    ["another last byte", async () => poke((await stat(join(folder, FILE))).size - 1)],
    ["another time", () => utimes(join(folder, FILE), new Date(), new Date())],
  ])("differs for %s", async (_, change) => {
    const before = await fingerprint()
    await change()
    expect(await fingerprint()).not.toBe(before)
  })

  it("of files in the Hub's cache depends on the names of their blobs alone", async () => {
    const blob = (digit: string) => join(folder, "blobs", digit.repeat(64))
    const snapshot = join(folder, "snapshots", "1")
    await mkdir(join(folder, "blobs"))
    await mkdir(snapshot, { recursive: true })
    await rename(join(folder, FILE), blob("a"))
    await symlink(blob("a"), join(snapshot, FILE))
    await copyFile(join(folder, "config.json"), join(snapshot, "config.json"))
    const before = await fingerprint(snapshot)
    await utimes(blob("a"), new Date(), new Date())
    expect(await fingerprint(snapshot)).toBe(before)
    await rm(join(snapshot, FILE))
    await rename(blob("a"), blob("b"))
    await symlink(blob("b"), join(snapshot, FILE))
    expect(await fingerprint(snapshot)).not.toBe(before)
  })
})
