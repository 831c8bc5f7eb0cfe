import { expect, it } from "vitest"
import type { CpuBackend } from "./cpu-backend"
import { createWasmBackend } from "./load-wasm-node"

it.each([1, 2])("measures what %d threads can do, and gives its memory back", async (threads) => {
  const backend = (await createWasmBackend({ threads })) as CpuBackend
  try {
    const before = backend.memory().used
    const { multiply, pairs, dot, read, readBytes } = backend.limits(1)
    expect(pairs).toBeUndefined() // WebAssembly has no such instruction
    // From a very slow machine to one that does not exist: only the units can be this wrong.
    for (const operations of [multiply, dot]) {
      expect(operations).toBeGreaterThan(5e7)
      expect(operations).toBeLessThan(5e12)
    }
    expect(read).toBeGreaterThan(1e7)
    expect(read).toBeLessThan(5e12)
    expect(readBytes).toBe(256 << 20)
    expect(backend.memory().used).toBe(before)
  } finally {
    await backend.dispose()
  }
})

it("reads less memory where there is less", async () => {
  const backend = (await createWasmBackend({ threads: 1, memoryLimit: 100 << 20 })) as CpuBackend
  try {
    expect(backend.limits(1).readBytes).toBe(64 << 20)
  } finally {
    await backend.dispose()
  }
})
