import { afterEach, describe, expect, test, vi } from "vitest"
import type { Backend } from "../backend"
import type { WasmBackendOptions } from "./load-wasm"
import { createWasmBackend, enableRelaxedSimd } from "./load-wasm-node"
import { RELAXED_PROBE } from "./wasm-module"

const made: Backend[] = []
afterEach(async () => {
  vi.unstubAllEnvs()
  for (const backend of made.splice(0)) await backend.dispose()
})

async function create(options: WasmBackendOptions): Promise<{ backend: Backend; notes: string[] }> {
  const notes: string[] = []
  const backend = await createWasmBackend({ threads: 1, onNote: (note) => notes.push(note), ...options })
  made.push(backend)
  return { backend, notes }
}

describe("V8 flags", () => {
  // Once set, they stay: this must be the first test, and only an engine without relaxed SIMD can show anything.
  test.skipIf(WebAssembly.validate(RELAXED_PROBE))("are not set when the environment forbids it", async () => {
    vi.stubEnv("ISAAC_NO_V8_FLAGS", "1")
    const { backend, notes } = await create({})
    expect(backend.info.isa).toBe("simd128")
    expect(notes).toEqual([expect.stringMatching(/no relaxed SIMD: Node \d+ needs V8 flags.*ISAAC_NO_V8_FLAGS/)])
    expect(WebAssembly.validate(RELAXED_PROBE)).toBe(false)
  })
})

describe("relaxed SIMD", () => {
  test("every Node that we support has it, if need be by flags, and computes it right", async () => {
    expect(enableRelaxedSimd().on).toBe(true)
    const { backend, notes } = await create({})
    expect(backend.info.isa).toBe("simd128 + relaxed-simd")
    expect(notes).toEqual([])
  })

  test("falls back to plain SIMD when the self-test fails, and says why", async () => {
    const selfTest = (exports: object) => ("self_test_dot" in exports ? "a sum is 48, it should be 24" : undefined)
    const { backend, notes } = await create({ inject: { selfTest } })
    expect(backend.info.isa).toBe("simd128")
    expect(notes).toEqual([expect.stringMatching(/computes it wrongly \(a sum is 48, it should be 24\)/)])
    const t = backend.upload(Float32Array.of(1, 2), [2])
    expect(await backend.read(backend.add(t, t))).toEqual(Float32Array.of(2, 4))
  })

  test("an engine that gets plain SIMD wrong as well is refused", async () => {
    await expect(create({ inject: { selfTest: () => "1 + 1 is 3" } })).rejects.toMatchObject({
      code: "backend_unavailable",
      message: expect.stringMatching(/1 \+ 1 is 3/),
    })
  })

  test("is left out on request", async () => {
    const { backend } = await create({ relaxedSimd: false })
    expect(backend.info.isa).toBe("simd128")
  })
})

describe("threads", () => {
  test("as many as asked for; by default what the machine has", async () => {
    expect((await create({ threads: 3 })).backend.info.threads).toBe(3)
    expect((await create({ threads: undefined })).backend.info.threads).toBeGreaterThanOrEqual(1)
  })

  test.each([0, -1, 1.5, Number.NaN, 1000])("%d is refused", async (threads) => {
    await expect(create({ threads })).rejects.toMatchObject({ code: "bad_input" })
  })

  test("a machine without workers gets one, and a note", async () => {
    const startWorker = () => Promise.reject(new Error("not allowed"))
    const { backend, notes } = await create({ threads: 4, inject: { startWorker } })
    expect(backend.info.threads).toBe(1)
    expect(notes).toEqual([expect.stringMatching(/1 of 4 threads: .*not allowed/)])
  })
})
