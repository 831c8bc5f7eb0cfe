/** `isaac doctor` on this machine, and its self-test against backends that compute wrongly. */

import { describe, expect, it } from "vitest"
import type { Diagnosis } from "../src/cli/doctor"
import { selfTest } from "../src/cli/self-test"
import type { Backend } from "../src/ops/backend"
import { createReferenceBackend } from "../src/ops/reference"
import { runCommand } from "./cli-terminal"

describe("isaac doctor", () => {
  it("--json: one line with the machine, every backend and what auto takes", async () => {
    const { code, out, err } = await runCommand(["doctor", "--json"])
    expect({ code, err }).toEqual({ code: 0, err: "" })
    expect(out).toMatch(/^[^\n]+\n$/)
    const found = JSON.parse(out) as Diagnosis
    expect(found.node).toBe(process.versions.node)
    expect(found.cores).toBeGreaterThan(0)
    expect(found.memory_total_bytes).toBeGreaterThan(found.memory_free_bytes)
    expect(found.backends.map(({ name }) => name)).toEqual(["native", "wasm", "reference"])
    for (const backend of found.backends) {
      if (backend.available) {
        expect(backend.self_test.map(({ name }) => name)).toContain("forward")
        expect(backend.self_test.filter(({ ok }) => !ok)).toEqual([])
      } else expect(backend.why).not.toBe("")
    }
    // Whatever auto takes is the first that is available, and each one before it has its reason told.
    const first = found.backends.findIndex(({ available }) => available)
    expect(found.auto).toBe(found.backends[first].name)
    for (const { name } of found.backends.slice(0, first)) {
      expect(found.advice).toContainEqual(expect.stringMatching(new RegExp(`^${name} would be faster: .+`)))
    }
  })

  it("says it in words", async () => {
    const { code, out } = await runCommand(["doctor"])
    expect(code).toBe(0)
    expect(out).toMatch(/^node +\d+\.\d+\.\d+ \(V8 /)
    expect(out).toMatch(/^processor +\S/m)
    expect(out).toMatch(/^reference.*plain JavaScript, 1 thread, f32 .*self-test (\d+) of \1 /m)
  })
})

describe("the self-test", () => {
  /** The reference backend with one operation changed. */
  function broken(change: (backend: Backend) => Partial<Backend>): Backend {
    const backend = createReferenceBackend()
    return Object.assign(Object.create(backend) as Backend, change(backend))
  }

  it("passes the reference against itself exactly", async () => {
    const results = await selfTest(createReferenceBackend(), createReferenceBackend())
    expect(results.filter(({ ok, error }) => !ok || error !== 0)).toEqual([])
    expect(results.length).toBeGreaterThan(8)
  })

  it("finds an operation that is a little off, and the forward pass that rests on it", async () => {
    const wrong = broken((b) => ({ rmsNorm: (x, w, eps) => b.rmsNorm(x, w, eps + 1e-3) }))
    const failed = (await selfTest(wrong, createReferenceBackend())).filter(({ ok }) => !ok)
    expect(failed.map(({ name }) => name)).toEqual(["rmsNorm", "forward"])
  })

  it("finds NaNs, and goes on after an operation that throws", async () => {
    const wrong = broken((b) => ({
      silu: () => {
        throw new Error("no silu here")
      },
      layerNorm: (x, w, bias) => b.layerNorm(x, w, bias, Number.NaN),
      gelu: () => {
        throw new Error("no gelu here")
      },
    }))
    const results = await selfTest(wrong, createReferenceBackend())
    const failed = results.filter(({ ok }) => !ok)
    expect(failed.map(({ name }) => name)).toEqual(["layerNorm", "gelu", "forward"])
    expect(failed[1].problem).toBe("no gelu here")
  })
})
