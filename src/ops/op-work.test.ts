import { describe, expect, it } from "vitest"
import type { CausalAttentionOptions, KvCache, StoredType, Tensor, Weight } from "./backend"
import { OP_WORK } from "./op-work"

const tensor = (...shape: number[]): Tensor => ({ shape })
const weight = (out: number, inner: number, stored: StoredType, bytes: number): Weight => {
  return { shape: [out, inner], stored, bytes }
}
const cache = (stored: string) => ({ options: { kvHeads: 2, headDim: 8, stored }, bytes: 0 }) as unknown as KvCache

describe("the work of an operation", () => {
  it("linear: a product for each weight and row; the weight, the rows and what is added are read once", () => {
    const plain = OP_WORK.linear(tensor(3, 10), weight(20, 10, "f32", 800), undefined)
    expect(plain).toEqual({
      kind: "linear",
      detail: "10→20 f32",
      multiplyAdds: 3 * 10 * 20,
      bytes: 800 + 4 * 30 + 4 * 60,
      factors: "f32",
    })
    const more = OP_WORK.linear(tensor(3, 10), weight(20, 10, "q8", 230), { bias: tensor(20), residual: tensor(3, 20) })
    expect(more).toMatchObject({ detail: "10→20 q8", bytes: 230 + 120 + 240 + 80 + 240, factors: "int8" })
    expect(OP_WORK.linear(tensor(3, 10), weight(20, 10, "bf16", 400), {}).factors).toBe("f32")
  })

  it("attention in pictures: each patch with each of its own picture, twice", () => {
    const [q, k, v] = [tensor(5, 24), tensor(5, 24), tensor(5, 24)]
    const found = OP_WORK.varlenAttention(q, k, v, Int32Array.of(0, 2, 5), 3, 1)
    expect(found).toMatchObject({ multiplyAdds: 2 * (4 + 9) * 24, bytes: 4 * 5 * 24 * 4 })
    expect(found.detail).toBe("in each picture, 3 heads of 8")
    expect(found.factors).toBe("f32")
    expect(OP_WORK.varlenAttention(q, k, v, Int32Array.of(0, 5), 3, 1, { factors: "bf16" }).factors).toBe("bf16")
  })

  it("causal attention: each token with all up to itself; what the cache holds of its sequence is read", () => {
    const sequences = [
      { slot: 0, start: 4, length: 3 }, // 5 + 6 + 7 keys
      { slot: 1, start: 0, length: 2 }, // 1 + 2
    ]
    const attend = (stored: string) => {
      const options: CausalAttentionOptions = { kv: cache(stored), layer: 0, sequences, scale: 1 }
      return OP_WORK.causalAttention(tensor(5, 32), tensor(5, 16), tensor(5, 16), options)
    }
    const given = 4 * (5 * 32 + 2 * 5 * 16 + 5 * 32)
    expect(attend("f32")).toMatchObject({ multiplyAdds: 2 * 21 * 32, bytes: given + 9 * 2 * 2 * 8 * 4 })
    expect(attend("bf16").bytes).toBe(given + 9 * 2 * 2 * 8 * 2)
    expect(attend("int8").bytes).toBe(given + 9 * 2 * 2 * (8 + 4))
    expect(attend("bf16").detail).toBe("causal, 4/2 heads of 8, bf16")
  })

  it("rows: only those that are taken", () => {
    expect(OP_WORK.embed(Int32Array.of(7, 7), weight(100, 16, "bf16", 3200)).bytes).toBe(2 * (4 + 64 + 32))
    expect(OP_WORK.gatherRows(tensor(100, 4, 4), Int32Array.of(0, 9)).bytes).toBe(2 * (4 + 2 * 64))
    expect(OP_WORK.concatRows([tensor(2, 4), tensor(3, 4)]).bytes).toBe(2 * 80)
  })
})
