import { describe, expect, it } from "vitest"
import { OperationLog, profiledBackend } from "./profiled-backend"
import { createReferenceBackend } from "./reference"

const floats = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer)

describe("a watched backend", () => {
  it("computes what the backend computes, and adds calls up by shape", async () => {
    const { backend, record } = profiledBackend(createReferenceBackend())
    const log = new OperationLog()
    const w = backend.loadWeight(floats(1, 2, 3, 4), "F32", [2, 2], "f32")
    record(log)
    const x = backend.upload(Float32Array.of(1, 1), [1, 2])
    const y = backend.linear(backend.linear(x, w), w, { residual: x })
    record(undefined)
    const unwatched = backend.linear(x, w)
    expect([...(await backend.read(y))]).toEqual([18, 38])
    expect([...(await backend.read(unwatched))]).toEqual([3, 7])
    expect(backend.info.name).toBe("reference")

    const list = log.totals()
    expect(list.map(({ kind, detail, calls }) => [kind, detail, calls]).sort()).toEqual([
      ["copy", "upload", 1],
      ["linear", "2→2 f32", 2],
    ])
    const linear = list.find(({ kind }) => kind === "linear")!
    expect(linear.multiplyAdds).toBe(2 * 4)
    expect(linear.bytes).toBe(2 * (16 + 8 + 8) + 8)
    for (const { ms } of list) expect(ms).toBeGreaterThan(0)
    await backend.dispose()
  })

  it("keeps what the backend throws, and does not count it", async () => {
    const { backend, record } = profiledBackend(createReferenceBackend())
    const log = new OperationLog()
    record(log)
    const x = backend.upload(Float32Array.of(1, 2), [1, 2])
    expect(() => backend.add(x, backend.upload(Float32Array.of(1), [1]))).toThrow("[1, 2]")
    expect(log.totals().map(({ detail }) => detail)).toEqual(["upload"])
    await backend.dispose()
  })

  it("frees and scopes as the backend does", async () => {
    const { backend } = profiledBackend(createReferenceBackend())
    const before = backend.memory().used
    const kept = backend.scope(() => {
      const x = backend.upload(Float32Array.of(1, 2), [1, 2])
      return backend.silu(x)
    })
    expect(backend.memory().used).toBeGreaterThan(before)
    backend.free(kept)
    expect(backend.memory().used).toBe(before)
    await backend.dispose()
  })

  it("lists what took longest first", () => {
    const log = new OperationLog()
    const work = { kind: "norm", multiplyAdds: 1, bytes: 2, factors: "f32" } as const
    log.add(() => ({ ...work, detail: "a" }), 1)
    log.add(() => ({ ...work, detail: "b" }), 5)
    log.add(() => ({ ...work, detail: "a" }), 2)
    expect(log.totals()).toEqual([
      { ...work, detail: "b", calls: 1, ms: 5 },
      { ...work, detail: "a", multiplyAdds: 2, bytes: 4, calls: 2, ms: 3 },
    ])
  })
})
