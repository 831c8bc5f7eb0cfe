import { describe, expect, it } from "vitest"
import { PUBLISHED_CONFIG } from "../../test/published-config"
import type { BackendInfo, KvType } from "../ops/backend"
import { parseConfig } from "./config"
import { planMemory } from "./memory-plan"
import { parameterTable } from "./parameters"
import { chooseStorage, type StorageWish } from "./storage-choice"

const config = parseConfig(PUBLISHED_CONFIG)
const info: BackendInfo = {
  name: "wasm",
  isa: "",
  threads: 1,
  stored: ["f32", "bf16", "q8", "q4"],
  memoryLimit: 4 * 2 ** 30,
}
const tensors = new Map([...parameterTable(config).keys()].map((name) => [name, { dtype: "BF16" }]))
const wish = (changes: StorageWish = {}): StorageWish => ({ maxContext: 4096, tensors, ...changes })
const total = (stored: "auto" | "q8" | "q4", kvStored: KvType) =>
  planMemory(config, { stored, kvStored, tensors, maxContext: 4096 }).total

describe("chooseStorage", () => {
  it("keeps everything as it is where there is room, and says nothing", () => {
    const free = chooseStorage(config, { ...info, memoryLimit: undefined }, wish())
    expect(free).toMatchObject({ stored: "auto", kvStored: "f32" })
    expect(free.notice).toBeUndefined()
    expect(chooseStorage(config, info, wish({ memoryLimit: total("auto", "f32") })).notice).toBeUndefined()
  })

  it.each([
    ["auto", "bf16", "keys and values are kept as bf16"],
    ["q8", "bf16", "weights are kept as q8 and keys and values are kept as bf16"],
    ["q8", "int8", "weights are kept as q8 and keys and values are kept as int8"],
    ["q4", "bf16", "weights are kept as q4 and keys and values are kept as bf16"],
    ["q4", "int8", "weights are kept as q4 and keys and values are kept as int8"],
  ] as const)("then %s with %s keys and values, with a notice that has the numbers", (stored, kvStored, words) => {
    const memoryLimit = total(stored, kvStored)
    const choice = chooseStorage(config, info, wish({ memoryLimit }))
    expect(choice).toMatchObject({ stored, kvStored, plan: { total: memoryLimit } })
    expect(choice.notice).toContain(words)
    for (const bytes of [total("auto", "f32"), memoryLimit]) {
      expect(choice.notice).toContain(`${Math.ceil(bytes / 1e6)} MB`)
    }
  })

  it("changes nothing that was asked for", () => {
    const memoryLimit = total("auto", "bf16")
    expect(() => chooseStorage(config, info, wish({ memoryLimit, kvStored: "f32", stored: "bf16" }))).toThrow(/\(f32\)/)
    expect(chooseStorage(config, info, wish({ memoryLimit, stored: "bf16" }))).toMatchObject({ kvStored: "bf16" })
    expect(chooseStorage(config, info, wish({ memoryLimit, kvStored: "f32" }))).toMatchObject({ stored: "q8" })
    const int8 = planMemory(config, { stored: "bf16", kvStored: "int8", tensors, maxContext: 4096 }).total
    const asked = wish({ memoryLimit: int8, stored: "bf16" })
    expect(chooseStorage(config, info, asked)).toMatchObject({ stored: "bf16", kvStored: "int8" })
    expect(() => chooseStorage(config, info, { ...asked, kvStored: "bf16" })).toThrow(/\(bf16\)/)
  })

  it("keeps keys and values as bf16 beside weights that are asked for as q8 or q4, unless they are asked for too", () => {
    for (const stored of ["q8", "q4"] as const) {
      const choice = chooseStorage(config, info, wish({ stored }))
      expect(choice).toMatchObject({ stored, kvStored: "bf16" })
      expect(choice.notice).toBeUndefined()
    }
    expect(chooseStorage(config, info, wish({ stored: "q4", kvStored: "f32" }))).toMatchObject({ kvStored: "f32" })
  })

  it("leaves alone what is packed already", () => {
    const packed = new Map([...tensors].map(([name]) => [name, { dtype: "Q8" }]))
    const q8 = chooseStorage(config, info, wish({ tensors: packed }))
    expect(q8).toMatchObject({ stored: "auto", kvStored: "bf16" })
    expect(q8.notice).toBeUndefined()
    const none = wish({ tensors: packed, memoryLimit: total("q4", "f32") })
    expect(() => chooseStorage(config, info, none)).toThrow(/Choose a smaller maxContext/)
    const asked = wish({ stored: "q8", memoryLimit: total("q4", "f32") })
    expect(() => chooseStorage(config, info, asked)).toThrow(/Choose dtype q4, or a smaller maxContext/)
    expect(() => chooseStorage(config, info, { ...asked, stored: "bf16" })).toThrow(/dtype q8 or q4, or a smaller/)
  })

  it("does not choose what the backend lacks", () => {
    const memoryLimit = total("q8", "f32")
    const old = { ...info, stored: ["f32", "bf16"] as const }
    expect(() => chooseStorage(config, old, wish({ memoryLimit }))).toThrow(
      expect.objectContaining({ code: "out_of_memory" }),
    )
  })

  it("when nothing fits, has the numbers of all that were tried", () => {
    const message = (() => {
      try {
        chooseStorage(config, info, wish({ memoryLimit: 1e9 }))
      } catch (error) {
        expect(error).toMatchObject({ code: "out_of_memory" })
        return (error as Error).message
      }
    })()
    for (const stored of ["auto", "q8", "q4"] as const) {
      for (const kvStored of ["f32", "bf16", "int8"] as const) {
        if (kvStored === (stored === "auto" ? "int8" : "f32")) continue // weights are rounded first, then bf16 is enough
        expect(message).toContain(`${Math.ceil(total(stored, kvStored) / 1e6)} MB: `)
      }
    }
    expect(message).toContain("1000 MB are allowed")
  })

  it("fits the published model into WebAssembly's 4 GiB at 4096 tokens, with its own lm_head", () => {
    const choice = chooseStorage(config, info, wish())
    expect(choice.stored).toBe("q8")
  })

  it("and at 16384 tokens with int8 keys and values", () => {
    const choice = chooseStorage(config, info, wish({ maxContext: 16384, prefillTokens: 512 }))
    expect(choice).toMatchObject({ stored: "q8", kvStored: "int8" })
  })
})
