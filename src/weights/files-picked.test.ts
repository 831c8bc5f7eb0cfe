import { describe, expect, test } from "vitest"
import { type PickedFile, type PickedFolder, pickedFiles, pickedFolder } from "./files-picked"
import { readJson } from "./source"

const picked = (path: string, text: string): PickedFile =>
  Object.assign(new File([text], path.split("/").at(-1)!), { webkitRelativePath: path.includes("/") ? path : "" })

describe("picked files", () => {
  test("are found by name, and read in part", async () => {
    const files = pickedFiles([picked("config.json", '{"a":1}'), picked("model.safetensors", "0123456789")])
    expect(await readJson(files, "config.json")).toEqual({ a: 1 })
    const source = await files.open("model.safetensors")
    expect(source.size).toBe(10)
    expect(new TextDecoder().decode(await source.read(3, 4))).toBe("3456")
    await expect(source.read(8, 3)).rejects.toMatchObject({ code: "io" })
    expect(await files.has("merges.txt")).toBe(false)
    await expect(files.open("merges.txt")).rejects.toMatchObject({ code: "not_found" })
  })

  test("of a folder are those beside the outermost config.json", async () => {
    const files = pickedFiles([
      picked("isaac/onnx/config.json", "{}"),
      picked("isaac/onnx/vocab.json", "{}"),
      picked("isaac/config.json", '{"a":1}'),
    ])
    expect(files.name).toBe("isaac")
    expect(await readJson(files, "config.json")).toEqual({ a: 1 })
    expect(await files.has("vocab.json")).toBe(false)
  })

  test("without a config.json are no checkpoint", () => {
    expect(() => pickedFiles([picked("a.png", "")])).toThrow(/none of the 1 files is a config.json/)
    expect(() => pickedFiles([])).toThrow(/config.json/)
  })
})

describe("a picked folder", () => {
  const folder = (failure: string): PickedFolder => ({
    name: "isaac",
    async getFileHandle(name) {
      if (name === "config.json") return { getFile: async () => picked("config.json", '{"a":1}') }
      throw Object.assign(new Error("no"), { name: failure })
    },
  })

  test("is looked into by name", async () => {
    const files = pickedFolder(folder("NotFoundError"))
    expect(await readJson(files, "config.json")).toEqual({ a: 1 })
    expect(await files.has("vocab.json")).toBe(false)
    await expect(files.open("vocab.json")).rejects.toMatchObject({ code: "not_found" })
  })

  test("that may not be read is an io error, not an empty one", async () => {
    await expect(pickedFolder(folder("NotAllowedError")).has("vocab.json")).rejects.toMatchObject({ code: "io" })
  })
})
