import { describe, expect, test } from "vitest"
import { IsaacError } from "../errors"
import { KV_BLOCK_TOKENS, KvBlockTable } from "./kv-blocks"

/** A table whose blocks are tracked from outside, as a backend would. */
function tracked(maxTokens: number, blockTokens = 4) {
  const live = new Set<number>()
  const table = new KvBlockTable({
    maxTokens,
    blockTokens,
    onAllocate: (id) => {
      expect(live.has(id)).toBe(false)
      live.add(id)
    },
    onRelease: (id) => {
      expect(live.delete(id)).toBe(true)
    },
  })
  return { table, live }
}

function code(fn: () => unknown): string {
  try {
    fn()
  } catch (error) {
    expect(error).toBeInstanceOf(IsaacError)
    return (error as IsaacError).code
  }
  return "no error"
}

function append(table: KvBlockTable, slot: number, length: number) {
  const start = table.length(slot)
  const copies = table.prepareWrite([{ slot, start, length }])
  table.commit(slot, start + length)
  return copies
}

describe("growing", () => {
  test("blocks are appended, earlier ones stay where they are", () => {
    const { table, live } = tracked(100)
    expect(append(table, 0, 3)).toEqual([])
    expect(table.blocks(0)).toEqual([0])
    append(table, 0, 1)
    expect(table.blocks(0)).toEqual([0])
    append(table, 0, 1)
    expect(table.blocks(0)).toEqual([0, 1])
    append(table, 0, 11)
    expect(table.blocks(0)).toEqual([0, 1, 2, 3])
    expect(table.length(0)).toBe(16)
    expect(table.tokensInUse).toBe(16)
    expect(table.blocksInUse).toBe(4)
    expect(live).toEqual(new Set([0, 1, 2, 3]))
  })

  test("a block has 64 tokens unless told otherwise", () => {
    const table = new KvBlockTable({ maxTokens: 1000 })
    append(table, 0, 65)
    expect(KV_BLOCK_TOKENS).toBe(64)
    expect(table.blocks(0).length).toBe(2)
  })

  test("preparing does not commit, and preparing again changes nothing", () => {
    const { table } = tracked(100)
    table.prepareWrite([{ slot: 5, start: 0, length: 6 }])
    expect(table.length(5)).toBe(0)
    expect(table.blocks(5)).toEqual([0, 1])
    expect(table.prepareWrite([{ slot: 5, start: 0, length: 6 }])).toEqual([])
    expect(table.blocks(5)).toEqual([0, 1])
    expect(table.blocksInUse).toBe(2)
  })

  test("several slots interleave", () => {
    const { table } = tracked(100)
    table.prepareWrite([
      { slot: 0, start: 0, length: 5 },
      { slot: 7, start: 0, length: 2 },
    ])
    table.commit(0, 5)
    table.commit(7, 2)
    append(table, 0, 4)
    expect(table.blocks(0)).toEqual([0, 1, 3])
    expect(table.blocks(7)).toEqual([2])
    expect(table.tokensInUse).toBe(11)
  })

  test("an empty sequence takes nothing", () => {
    const { table } = tracked(0)
    expect(table.prepareWrite([{ slot: 0, start: 0, length: 0 }])).toEqual([])
    expect(table.blocksInUse).toBe(0)
    expect(table.length(0)).toBe(0)
  })

  test("an empty sequence behind a shared block leaves it shared", () => {
    const { table } = tracked(100)
    append(table, 0, 5)
    table.copy(0, 1, 5)
    expect(table.prepareWrite([{ slot: 1, start: 5, length: 0 }])).toEqual([])
    expect(table.blocks(1)).toEqual(table.blocks(0))
  })

  test("a slot never used is empty", () => {
    const { table } = tracked(10)
    expect(table.length(3)).toBe(0)
    expect(table.blocks(3)).toEqual([])
  })
})

describe("shrinking", () => {
  test("blocks behind the length are released and their ids reused, lowest first", () => {
    const { table, live } = tracked(100)
    append(table, 0, 16)
    table.commit(0, 5)
    expect(table.blocks(0)).toEqual([0, 1])
    expect(live).toEqual(new Set([0, 1]))
    append(table, 1, 5)
    expect(table.blocks(1)).toEqual([2, 3])
    table.commit(0, 0)
    expect(live).toEqual(new Set([2, 3]))
    append(table, 2, 1)
    expect(table.blocks(2)).toEqual([0])
  })

  test("committing after a pass that broke off drops its room", () => {
    const { table } = tracked(100)
    append(table, 0, 4)
    table.prepareWrite([{ slot: 0, start: 4, length: 8 }])
    expect(table.length(0)).toBe(4)
    expect(table.tokensInUse).toBe(12)
    table.prepareWrite([{ slot: 0, start: 4, length: 1 }])
    table.commit(0, 5)
    expect(table.blocks(0)).toEqual([0, 1])
    expect(table.tokensInUse).toBe(5)
  })

  test("free releases everything", () => {
    const { table, live } = tracked(100)
    append(table, 0, 9)
    table.copy(0, 1, 9)
    table.prepareWrite([{ slot: 2, start: 0, length: 3 }])
    table.free()
    expect(live.size).toBe(0)
    expect(table.blocksInUse).toBe(0)
    expect(table.tokensInUse).toBe(0)
    expect(table.length(0)).toBe(0)
  })
})

describe("sharing", () => {
  test("a copy shares all blocks and counts their tokens once", () => {
    const { table } = tracked(10)
    append(table, 0, 10)
    table.copy(0, 1, 10)
    table.copy(0, 2, 6)
    expect(table.blocks(1)).toEqual([0, 1, 2])
    expect(table.blocks(2)).toEqual([0, 1])
    expect(table.tokensInUse).toBe(10)
    expect(table.blocksInUse).toBe(3)
  })

  test("writing to a shared partial block copies it first, whole shared blocks stay shared", () => {
    const { table } = tracked(100)
    append(table, 0, 6)
    table.copy(0, 1, 6)
    expect(append(table, 1, 1)).toEqual([{ from: 1, to: 2, tokens: 2 }])
    expect(table.blocks(0)).toEqual([0, 1])
    expect(table.blocks(1)).toEqual([0, 2])
    // The block is slot 0's alone now.
    expect(append(table, 0, 1)).toEqual([])
    expect(table.tokensInUse).toBe(4 + 3 + 3)
  })

  test("two sharers writing in one call: one copies, the other keeps the block", () => {
    const { table } = tracked(100)
    append(table, 0, 5)
    table.copy(0, 1, 5)
    const copies = table.prepareWrite([
      { slot: 0, start: 5, length: 1 },
      { slot: 1, start: 5, length: 1 },
    ])
    expect(copies).toEqual([{ from: 1, to: 2, tokens: 1 }])
    expect(table.blocks(0)).toEqual([0, 2])
    expect(table.blocks(1)).toEqual([0, 1])
  })

  test("growing behind a full shared block copies nothing", () => {
    const { table } = tracked(100)
    append(table, 0, 8)
    table.copy(0, 1, 8)
    expect(append(table, 1, 3)).toEqual([])
    expect(table.blocks(1)).toEqual([0, 1, 2])
  })

  test("rewriting the middle of a shared prefix copies every block from there on", () => {
    const { table } = tracked(100)
    append(table, 0, 10)
    table.copy(0, 1, 10)
    expect(table.prepareWrite([{ slot: 1, start: 5, length: 5 }])).toEqual([
      { from: 1, to: 3, tokens: 4 },
      { from: 2, to: 4, tokens: 2 },
    ])
    expect(table.blocks(0)).toEqual([0, 1, 2])
    expect(table.blocks(1)).toEqual([0, 3, 4])
  })

  test("rewriting a part of a shared slot keeps what follows it", () => {
    const { table } = tracked(100)
    append(table, 0, 10)
    table.copy(0, 1, 10)
    expect(table.prepareWrite([{ slot: 1, start: 5, length: 1 }])).toEqual([{ from: 1, to: 3, tokens: 4 }])
    table.commit(1, 10)
    expect(table.blocks(1)).toEqual([0, 3, 2])
  })

  test("the source may shrink or be dropped, the copy keeps its tokens", () => {
    const { table, live } = tracked(100)
    append(table, 0, 10)
    table.copy(0, 1, 10)
    table.commit(0, 0)
    expect(table.blocks(1)).toEqual([0, 1, 2])
    expect(live.size).toBe(3)
    table.commit(1, 0)
    expect(live.size).toBe(0)
  })

  test("what the target held is dropped, even when it already shared with the source", () => {
    const { table, live } = tracked(100)
    append(table, 0, 8)
    append(table, 1, 5)
    table.copy(0, 1, 8)
    expect(live).toEqual(new Set([0, 1]))
    table.copy(0, 1, 4)
    expect(table.blocks(1)).toEqual([0])
    table.commit(0, 0)
    expect(live).toEqual(new Set([0]))
  })

  test("a copy onto itself shortens", () => {
    const { table } = tracked(100)
    append(table, 0, 9)
    table.copy(0, 0, 4)
    expect(table.length(0)).toBe(4)
    expect(table.blocks(0)).toEqual([0])
  })

  test("room that is not committed is not copied", () => {
    const { table } = tracked(100)
    append(table, 0, 2)
    table.prepareWrite([{ slot: 0, start: 2, length: 9 }])
    table.copy(0, 1, 2)
    expect(table.blocks(1)).toEqual([0])
    expect(code(() => table.copy(0, 1, 3))).toBe("bad_input")
  })
})

describe("limits", () => {
  test("over maxTokens is out_of_memory, with the numbers, and changes nothing", () => {
    const { table, live } = tracked(10)
    append(table, 0, 8)
    append(table, 1, 2)
    const before = { live: [...live], zero: table.blocks(0), one: table.blocks(1) }
    expect(() => table.prepareWrite([{ slot: 1, start: 2, length: 1 }])).toThrow(/holds 10 .* may hold 10.*slot 1 to 3/)
    expect(code(() => table.prepareWrite([{ slot: 1, start: 2, length: 1 }]))).toBe("out_of_memory")
    expect({ live: [...live], zero: table.blocks(0), one: table.blocks(1) }).toEqual(before)
    table.commit(0, 7)
    expect(append(table, 1, 1)).toEqual([])
  })

  test("all sequences of a call together must fit, or none grows", () => {
    const { table } = tracked(10)
    const grow = () =>
      table.prepareWrite([
        { slot: 0, start: 0, length: 6 },
        { slot: 1, start: 0, length: 6 },
      ])
    expect(code(grow)).toBe("out_of_memory")
    expect(table.blocksInUse).toBe(0)
  })

  test("copy-on-write needs room too", () => {
    const { table } = tracked(10)
    append(table, 0, 6)
    table.copy(0, 1, 6)
    // Slot 1's own copy of the second block holds 2 + 2 tokens: 6 + 4 = 10.
    table.prepareWrite([{ slot: 1, start: 6, length: 2 }])
    expect(table.tokensInUse).toBe(10)
    expect(code(() => table.prepareWrite([{ slot: 1, start: 6, length: 3 }]))).toBe("out_of_memory")
  })

  test("an allocator that fails leaves the table as it was", () => {
    const live = new Set<number>()
    const table = new KvBlockTable({
      maxTokens: 100,
      blockTokens: 4,
      onAllocate: (id) => {
        if (live.size === 3) throw new IsaacError("out_of_memory", "no more")
        live.add(id)
      },
      onRelease: (id) => live.delete(id),
    })
    append(table, 0, 6)
    table.copy(0, 1, 6)
    expect(code(() => table.prepareWrite([{ slot: 1, start: 6, length: 6 }]))).toBe("out_of_memory")
    expect(live).toEqual(new Set([0, 1]))
    expect(table.blocks(1)).toEqual([0, 1])
    expect(append(table, 1, 1)).toEqual([{ from: 1, to: 2, tokens: 2 }])
  })
})

describe("misuse", () => {
  test("a gap, a slot named twice, a commit of unwritten tokens, odd numbers", () => {
    const { table } = tracked(100)
    append(table, 0, 4)
    expect(code(() => table.prepareWrite([{ slot: 0, start: 5, length: 1 }]))).toBe("bad_input")
    const twice = [
      { slot: 0, start: 4, length: 1 },
      { slot: 0, start: 4, length: 1 },
    ]
    expect(code(() => table.prepareWrite(twice))).toBe("bad_input")
    expect(code(() => table.commit(0, 5))).toBe("bad_input")
    expect(code(() => table.commit(0, -1))).toBe("bad_input")
    expect(code(() => table.commit(-1, 0))).toBe("bad_input")
    expect(code(() => table.prepareWrite([{ slot: 0.5, start: 0, length: 1 }]))).toBe("bad_input")
    expect(code(() => table.prepareWrite([{ slot: 0, start: 0, length: Number.NaN }]))).toBe("bad_input")
    expect(code(() => table.copy(0, 1, 5))).toBe("bad_input")
    expect(code(() => new KvBlockTable({ maxTokens: -1 }))).toBe("bad_input")
    expect(code(() => new KvBlockTable({ maxTokens: 1, blockTokens: 0 }))).toBe("bad_input")
    expect(table.blocks(0)).toEqual([0])
  })
})

test("a long random life keeps the counts right", () => {
  const { table, live } = tracked(60)
  let seed = 1
  const random = (n: number) => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
    return Math.floor((seed / 2 ** 32) * n)
  }
  /** What each slot should hold: every token is a number of its own. */
  const expected = new Map<number, number[]>()
  /** What the blocks hold. */
  const rows = new Map<string, number>()
  let serial = 0
  const held = (slot: number) =>
    Array.from({ length: table.length(slot) }, (_, p) => rows.get(`${table.blocks(slot)[p >> 2]}:${p % 4}`))
  for (let step = 0; step < 2000; step++) {
    const slot = random(5)
    const mine = expected.get(slot) ?? []
    switch (random(4)) {
      case 0: {
        const length = random(mine.length + 1)
        table.commit(slot, length)
        expected.set(slot, mine.slice(0, length))
        break
      }
      case 1: {
        const to = random(5)
        const length = random(mine.length + 1)
        table.copy(slot, to, length)
        expected.set(to, mine.slice(0, length))
        break
      }
      default: {
        const start = random(mine.length + 1)
        const length = random(9)
        try {
          for (const { from, to, tokens } of table.prepareWrite([{ slot, start, length }])) {
            for (let r = 0; r < tokens; r++) rows.set(`${to}:${r}`, rows.get(`${from}:${r}`)!)
          }
        } catch (error) {
          expect((error as IsaacError).code).toBe("out_of_memory")
          break
        }
        const next = mine.slice(0, start)
        for (let p = start; p < start + length; p++) {
          rows.set(`${table.blocks(slot)[p >> 2]}:${p % 4}`, serial)
          next.push(serial++)
        }
        table.commit(slot, start + length)
        expected.set(slot, next)
      }
    }
    for (const [s, tokens] of expected) expect(held(s)).toEqual(tokens)
    expect(table.tokensInUse).toBeLessThanOrEqual(60)
    expect(table.blocksInUse).toBe(live.size)
  }
  for (const slot of expected.keys()) table.commit(slot, 0)
  expect(live.size).toBe(0)
})
