import { expect, test } from "vitest"
import { numbers } from "../conformance/rig"
import { createWasmBackend } from "./load-wasm-node"

/** One query over 2500 tokens of one key/value head. */
async function attend(threads: number): Promise<Float32Array> {
  const [heads, headDim, length] = [4, 48, 2500]
  const b = await createWasmBackend({ threads })
  const kv = b.createKv({ layers: 1, kvHeads: 1, headDim, maxTokens: 3000 })
  b.kvImport(kv, 0, 0, numbers(2 * length * headDim, 1, 3))
  b.kvCommit(kv, 0, length)
  const up = (width: number, seed: number) => b.upload(numbers(width, seed, 3), [1, width])
  const sequences = [{ slot: 0, start: length, length: 1 }]
  const options = { kv, layer: 0, sequences, scale: 0.1 }
  const out = await b.read(b.causalAttention(up(heads * headDim, 2), up(headDim, 3), up(headDim, 4), options))
  await b.dispose()
  return out
}

test("a long context gives the same bits on any number of threads", async () => {
  const [one, three] = [await attend(1), await attend(3)]
  expect(three).toEqual(one)
  expect(one.some((x) => x !== 0)).toBe(true)
})
