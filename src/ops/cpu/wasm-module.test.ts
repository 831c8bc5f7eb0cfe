import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { describe, expect, test } from "vitest"
import { RELAXED_PROBE, SELF_TEST_BYTES, SIMD_PROBE, selfTest, withUnsharedMemory } from "./wasm-module"

const plain = new Uint8Array(
  readFileSync(fileURLToPath(new URL("../../../dist/ops/cpu/kernels-simd128.wasm", import.meta.url))),
)

/** Kernels in plain JavaScript as the self-test calls them, each result passed through `spoil`. */
function pretend(buffer: ArrayBuffer, spoil: (sum: number, kind: "fma" | "dot") => number) {
  const f32 = new Float32Array(buffer)
  const i8 = new Int8Array(buffer)
  const i32 = new Int32Array(buffer)
  const args = (at: number) => new Float64Array(buffer, at, 4)
  return {
    self_test_fma(at: number) {
      const [x, y, out, n] = args(at)
      for (let lane = 0; lane < 4; lane++) {
        let sum = 0
        for (let i = lane; i < n * 4; i += 4) sum += f32[x / 4 + i] * f32[y / 4 + i]
        f32[out / 4 + lane] = spoil(sum, "fma")
      }
    },
    self_test_dot(at: number) {
      const [x, y, out, n] = args(at)
      for (let lane = 0; lane < 4; lane++) {
        let sum = 0
        for (let i = 0; i < n; i++) {
          for (let j = 0; j < 4; j++) sum += i8[x + i * 16 + lane * 4 + j] * i8[y + i * 16 + lane * 4 + j]
        }
        i32[out / 4 + lane] = spoil(sum, "dot")
      }
    },
  }
}

describe("self-test", () => {
  const buffer = new ArrayBuffer(SELF_TEST_BYTES)

  test("right results pass, in the relaxed build and in the plain one", () => {
    const right = pretend(buffer, (sum) => sum)
    expect(selfTest(right, buffer, 0)).toBeUndefined()
    expect(selfTest({ self_test_fma: right.self_test_fma }, buffer, 0)).toBeUndefined()
  })

  test("a result that is one off, of either kind, is told", () => {
    const off = (what: "fma" | "dot") => pretend(buffer, (sum, kind) => (kind === what ? sum + 1 : sum))
    expect(selfTest(off("fma"), buffer, 0)).toMatch(/sum of 24 products is (-?\d+), it should be/)
    expect(selfTest(off("dot"), buffer, 0)).toMatch(/relaxed dot product is (-?\d+), it should be/)
  })
})

describe("probes", () => {
  test("SIMD is there on every Node that we support", () => {
    expect(WebAssembly.validate(SIMD_PROBE)).toBe(true)
  })

  test("the relaxed probe is a module but for its instructions", () => {
    // The same bytes with the two relaxed instructions made into ordinary ones of as many operands: valid everywhere.
    const ordinary = [...RELAXED_PROBE]
    let replaced = 0
    for (let i = 0; i + 2 < ordinary.length; i++) {
      if (ordinary[i] === 0xfd && (ordinary[i + 1] === 0x85 || ordinary[i + 1] === 0x93) && ordinary[i + 2] === 0x02) {
        // v128.bitselect, its number padded to three bytes
        ordinary.splice(i + 1, 2, 0xd2, 0x00)
        replaced++
      }
    }
    expect(replaced).toBe(2)
    expect(WebAssembly.validate(Uint8Array.from(ordinary))).toBe(true)
  })
})

describe("unshared memory", () => {
  test("the module asks for shared memory, the changed one for an ordinary one", async () => {
    const shared = () => new WebAssembly.Memory({ initial: 4, maximum: 65536, shared: true })
    const ordinary = () => new WebAssembly.Memory({ initial: 4, maximum: 65536 })
    const load = (bytes: Uint8Array<ArrayBuffer>, memory: WebAssembly.Memory) =>
      WebAssembly.instantiate(bytes, { env: { memory } })
    await expect(load(plain, shared())).resolves.toBeDefined()
    await expect(load(plain, ordinary())).rejects.toThrow(WebAssembly.LinkError)
    await expect(load(withUnsharedMemory(plain), ordinary())).resolves.toBeDefined()
    await expect(load(withUnsharedMemory(plain), shared())).rejects.toThrow(WebAssembly.LinkError)
  })
})
