import { afterEach, describe, expect, test } from "vitest"
import type { Selection, SelectOptions } from "./select"
import { selectBackend } from "./select-node"

const made: Selection[] = []
afterEach(async () => {
  for (const { backend } of made.splice(0)) await backend.dispose()
})

async function select(options?: SelectOptions): Promise<Selection> {
  const selection = await selectBackend(options)
  made.push(selection)
  return selection
}

describe("selectBackend", () => {
  test("auto takes the fastest that runs here and says why faster ones do not", async () => {
    const { backend, refused } = await select()
    expect(backend.info.name).toBe("wasm")
    expect(refused).toEqual([{ name: "native", why: expect.stringMatching(/not built/) }])
  })

  test("a name takes that one, with the threads asked for", async () => {
    const reference = await select({ backend: "reference" })
    expect(reference.backend.info.name).toBe("reference")
    expect(reference.refused).toEqual([])
    const wasm = await select({ backend: "wasm", threads: 2 })
    expect(wasm.backend.info).toMatchObject({ name: "wasm", threads: 2 })
  })

  test("a named one that cannot run is an error with the reason, never another one", async () => {
    await expect(select({ backend: "native" })).rejects.toMatchObject({
      code: "backend_unavailable",
      message: expect.stringMatching(/native backend cannot run here: not built/),
    })
  })

  test("senseless options are bad_input, not a reason to go on with a slower one", async () => {
    await expect(select({ backend: "gpu" as "auto" })).rejects.toMatchObject({ code: "bad_input" })
    await expect(select({ threads: 0 })).rejects.toMatchObject({ code: "bad_input" })
  })

  test("the abort flag reaches the backend", async () => {
    const abort = new Int32Array(new SharedArrayBuffer(4))
    const { backend } = await select({ threads: 1, abort })
    const t = backend.upload(Float32Array.of(1), [1])
    abort[0] = 1
    expect(() => backend.silu(t)).toThrow(/aborted/)
  })
})
