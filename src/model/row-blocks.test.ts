import { describe, expect, it } from "vitest"
import { packedBytes } from "../ops/backend"
import { openCheckpoint } from "../weights/checkpoint"
import { conversionMetadata } from "../weights/conversion"
import { encodeSafetensors, type TensorData } from "../weights/safetensors"
import { bytesFiles } from "../weights/source"
import { type RowBlock, rowBlocks } from "./row-blocks"

const NAME = "model.embed_tokens.weight"

/** All blocks of a checkpoint with that one tensor. */
async function blocksOf(
  data: TensorData,
  multiple: number,
  options: {
    readonly blockBytes?: number
    readonly signal?: AbortSignal
    readonly metadata?: Record<string, string>
  } = {},
): Promise<RowBlock[]> {
  const checkpoint = await openCheckpoint(
    bytesFiles("folder", {
      "config.json": new TextEncoder().encode("{}"),
      "model.safetensors": encodeSafetensors({ [NAME]: data }, options.metadata),
    }),
  )
  const blocks: RowBlock[] = []
  for await (const block of rowBlocks(checkpoint, NAME, multiple, options.signal, options.blockBytes))
    blocks.push(block)
  return blocks
}

const numbers = (...shape: number[]): TensorData => {
  const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i)
  return { shape, data }
}

describe("rowBlocks", () => {
  it("gives all rows in order, in blocks that begin at a multiple", async () => {
    const data = numbers(70, 3)
    const blocks = await blocksOf(data, 8, { blockBytes: 250 }) // 20 rows fit: 16 are a multiple
    expect(blocks.map(({ first, rows }) => [first, rows])).toEqual([
      [0, 16],
      [16, 16],
      [32, 16],
      [48, 16],
      [64, 6],
    ])
    const bytes = Buffer.concat(blocks.map((block) => block.bytes))
    expect(bytes.equals(new Uint8Array(data.data.buffer))).toBe(true)
  })

  it("takes whole multiples even where one is more than a block, and tensors of one axis and none", async () => {
    expect((await blocksOf(numbers(20, 3), 8, { blockBytes: 10 })).map(({ rows }) => rows)).toEqual([8, 8, 4])
    expect((await blocksOf(numbers(5), 32)).map(({ rows, bytes }) => [rows, bytes.length])).toEqual([[5, 20]])
    expect((await blocksOf(numbers(), 32)).map(({ rows, bytes }) => [rows, bytes.length])).toEqual([[1, 4]])
  })

  it.each(["q8", "q4"] as const)("cuts matrices packed as %s between their panels", async (stored) => {
    const shape = [70, 130] as const
    const data = Uint8Array.from({ length: packedBytes(shape, stored) }, (_, i) => i % 251)
    const conversion = { stored, packed: new Map([[NAME, { shape, stored }]]), same: new Map(), source: undefined }
    const metadata = conversionMetadata(conversion)
    const blocks = await blocksOf({ shape: [data.length], data }, 32, { blockBytes: 1, metadata })
    const panel = packedBytes([32, 130], stored)
    expect(blocks.map(({ first, rows, bytes }) => [first, rows, bytes.length])).toEqual([
      [0, 32, panel],
      [32, 32, panel],
      [64, 6, panel],
    ])
    expect(Buffer.concat(blocks.map(({ bytes }) => bytes)).equals(data)).toBe(true)
  })

  it("names the element that is no number, in whatever block", async () => {
    const data = numbers(70, 3)
    ;(data.data as Float32Array)[200] = Number.NaN
    await expect(blocksOf(data, 8, { blockBytes: 250 })).rejects.toMatchObject({
      code: "not_finite",
      message: expect.stringContaining(`element 200 of ${NAME}`),
    })
    const half = { shape: [2, 2], data: Uint16Array.of(0, 0, 0x7bff, 0xfc00), dtype: "F16" } as const
    await expect(blocksOf(half, 8)).rejects.toMatchObject({ message: expect.stringContaining("element 3") })
    const wide = { shape: [2, 2], data: Uint16Array.of(0, 0x7f7f, 0xff80, 0), dtype: "BF16" } as const
    await expect(blocksOf(wide, 8)).rejects.toMatchObject({ message: expect.stringContaining("element 2") })
  })

  it("stops between two blocks", async () => {
    const aborted = blocksOf(numbers(70, 3), 8, { signal: AbortSignal.abort("enough") })
    await expect(aborted).rejects.toMatchObject({ code: "aborted", cause: "enough" })
  })
})
