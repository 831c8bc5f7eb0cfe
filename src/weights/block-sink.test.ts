import { expect, test } from "vitest"
import { inBlocks } from "./block-sink"

function recorder() {
  const writes: number[][] = []
  let closed = 0
  const sink = {
    name: "a file",
    async write(bytes: Uint8Array) {
      writes.push([...bytes])
    },
    async close() {
      closed++
    },
  }
  return { sink, writes, closed: () => closed }
}

const counted = (from: number, count: number) => Uint8Array.from({ length: count }, (_, i) => from + i)

test("pieces of any size come as blocks, the last one with what is left", async () => {
  const { sink, writes, closed } = recorder()
  const blocks = inBlocks(sink, 4)
  let at = 0
  for (const size of [1, 0, 2, 3, 9, 4, 1]) {
    await blocks.write(counted(at, size))
    at += size
  }
  expect(writes.map(({ length }) => length)).toEqual([4, 4, 4, 4, 4])
  await blocks.close()
  expect(writes.flat()).toEqual([...counted(0, at)])
  expect(closed()).toBe(1)
})

test("bytes may be written anew once a write is done", async () => {
  const { sink, writes } = recorder()
  const blocks = inBlocks(sink, 4)
  const bytes = counted(0, 2)
  await blocks.write(bytes)
  bytes.fill(99)
  await blocks.close()
  expect(writes).toEqual([[0, 1]])
})

test("an empty file is closed without a write; a full last block is not followed by an empty one", async () => {
  const empty = recorder()
  await inBlocks(empty.sink, 4).close()
  expect([empty.writes, empty.closed()]).toEqual([[], 1])
  const full = recorder()
  const blocks = inBlocks(full.sink, 4)
  await blocks.write(counted(0, 4))
  await blocks.close()
  expect(full.writes).toEqual([[0, 1, 2, 3]])
})

test("what the sink throws is thrown, and the next write is tried anew", async () => {
  let fails = true
  const { sink, writes } = recorder()
  const failing = {
    ...sink,
    async write(bytes: Uint8Array) {
      if (fails) throw new Error("full")
      await sink.write(bytes)
    },
  }
  const blocks = inBlocks(failing, 2)
  await expect(blocks.write(counted(0, 2))).rejects.toThrow("full")
  fails = false
  await blocks.close()
  expect(writes).toEqual([[0, 1]])
})
