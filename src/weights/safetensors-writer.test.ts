import { describe, expect, it } from "vitest"
import { readSafetensorsHeader } from "./safetensors"
import { layoutSafetensors, type PlannedTensor, writeSafetensors } from "./safetensors-writer"
import type { ByteSink } from "./sink"
import { bytesSource } from "./source"

const tensors: PlannedTensor[] = [
  { name: "odd", dtype: "F32", shape: [3] },
  { name: "matrix", dtype: "BF16", shape: [16, 4] },
  { name: "bytes", dtype: "U8", shape: [7] },
  { name: "empty", dtype: "F32", shape: [0, 5] },
  { name: "packed", dtype: "U8", shape: [192] },
  { name: "scalar", dtype: "BF16", shape: [] },
]
const content = new Map(
  tensors.map(({ name }, i) => [
    name,
    Uint8Array.from({ length: [12, 128, 7, 0, 192, 2][i] }, (_, at) => (31 * i + at) % 251),
  ]),
)

/** A file in memory. */
function memorySink(): ByteSink & { bytes(): Uint8Array } {
  const pieces: number[] = []
  return {
    name: "file",
    write: async (bytes) => void pieces.push(...bytes),
    close: async () => {},
    bytes: () => Uint8Array.from(pieces),
  }
}

async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

describe("the safetensors writer", () => {
  it("writes what the reader reads, in pieces of any size", async () => {
    const layout = layoutSafetensors(tensors, { by: "test" })
    const sink = memorySink()
    await writeSafetensors(sink, layout, (name) => inPieces(content.get(name)!, 5))
    const bytes = sink.bytes()
    expect(bytes.length).toBe(layout.bytes)
    const header = await readSafetensorsHeader(bytesSource("file", bytes))
    expect(header.metadata).toEqual({ by: "test" })
    expect([...header.tensors.keys()].sort()).toEqual(tensors.map(({ name }) => name).sort())
    for (const { name, dtype, shape } of tensors) {
      const info = header.tensors.get(name)!
      expect(info).toMatchObject({ dtype, shape })
      expect([...bytes.subarray(info.offset, info.offset + info.bytes)]).toEqual([...content.get(name)!])
    }
  })

  it("aligns to 64 bytes what is a multiple of 64, the rest to its element, and leaves no gap", async () => {
    const { order, header, bytes } = layoutSafetensors(tensors)
    const sink = memorySink()
    await writeSafetensors(sink, { order, header }, (name) => inPieces(content.get(name)!, 99))
    const { tensors: read } = await readSafetensorsHeader(bytesSource("file", sink.bytes()))
    const offset = (name: string) => read.get(name)!.offset
    expect(header.length % 64).toBe(0)
    expect([offset("matrix") % 64, offset("packed") % 64, offset("odd") % 4, offset("scalar") % 2]).toEqual([
      0, 0, 0, 0,
    ])
    const spans = [...read.values()].filter((t) => t.bytes > 0).sort((a, b) => a.offset - b.offset)
    expect(spans[0].offset).toBe(header.length)
    for (let i = 1; i < spans.length; i++) expect(spans[i].offset).toBe(spans[i - 1].offset + spans[i - 1].bytes)
    expect(spans.at(-1)!.offset + spans.at(-1)!.bytes).toBe(bytes)
  })

  it("does not let a tensor be shorter or longer than was planned", async () => {
    const layout = layoutSafetensors(tensors)
    const short = writeSafetensors(memorySink(), layout, (name) => inPieces(content.get(name)!.subarray(1), 50))
    await expect(short).rejects.toMatchObject({ code: "internal", message: expect.stringContaining("planned") })
  })
})
