import { describe, expect, it } from "vitest"
import { bytesFiles, bytesSource, readJson, readText } from "./source"

const text = (value: string) => new TextEncoder().encode(value)

describe("byte sources", () => {
  it("reads ranges and refuses those that are not there", async () => {
    const source = bytesSource("memory", Uint8Array.of(1, 2, 3, 4))
    expect([...(await source.read(1, 2))]).toEqual([2, 3])
    await expect(source.read(3, 2)).rejects.toMatchObject({ code: "io", message: expect.stringContaining("has 4") })
    await expect(source.read(-1, 2)).rejects.toMatchObject({ code: "io" })
  })

  it("reads JSON objects, and says what else it found", async () => {
    const files = bytesFiles("folder", {
      "good.json": text('{"a":1}'),
      "cut.json": text('{"a":'),
      "list.json": text("[1]"),
      "null.json": text("null"),
    })
    expect(await readJson(files, "good.json")).toEqual({ a: 1 })
    await expect(readJson(files, "cut.json")).rejects.toThrow(/folder\/cut.json is not valid JSON/)
    for (const file of ["list.json", "null.json"]) {
      await expect(readJson(files, file)).rejects.toMatchObject({ code: "bad_checkpoint" })
    }
    await expect(readJson(files, "none.json")).rejects.toMatchObject({ code: "not_found" })
    await expect(readText(files, "good.json", 3)).rejects.toThrow(/has 7 bytes; 3 are allowed/)
    expect(await files.has("toString")).toBe(false)
  })
})
