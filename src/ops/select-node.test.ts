import { afterEach, describe, expect, test, vi } from "vitest"
import type { Selection, SelectOptions } from "./select"
import { selectBackend } from "./select-node"

/** Where there is no addon, and where it does not have the instruction set that the environment asks for. */
const NO_NATIVE = /(not built|the addon does not run "none that there is" here)/

const made: Selection[] = []
afterEach(async () => {
  vi.unstubAllEnvs()
  for (const { backend } of made.splice(0)) await backend.dispose()
})

async function select(options?: SelectOptions): Promise<Selection> {
  const selection = await selectBackend(options)
  made.push(selection)
  return selection
}

describe("selectBackend", () => {
  test("auto takes the fastest that runs here and says why faster ones do not", async () => {
    vi.stubEnv("ISAAC_INSTRUCTION_SET", "none that there is")
    const { backend, refused } = await select()
    expect(backend.info.name).toBe("wasm")
    expect(refused).toEqual([{ name: "native", why: expect.stringMatching(NO_NATIVE) }])
  })

  test("a name takes that one, with the threads asked for", async () => {
    const reference = await select({ backend: "reference" })
    expect(reference.backend.info.name).toBe("reference")
    expect(reference.refused).toEqual([])
    const wasm = await select({ backend: "wasm", threads: 2 })
    expect(wasm.backend.info).toMatchObject({ name: "wasm", threads: 2 })
  })

  test("a named one that cannot run is an error with the reason, never another one", async () => {
    vi.stubEnv("ISAAC_INSTRUCTION_SET", "none that there is")
    await expect(select({ backend: "native" })).rejects.toMatchObject({
      code: "backend_unavailable",
      message: expect.stringMatching(new RegExp(`native backend cannot run here: ${NO_NATIVE.source}`)),
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
