/**
 * A file written in large blocks that begin at multiples of their size. Systems keep what is written at once in one piece
 * of memory; of pieces of 2 MiB and more, mapping the file takes a page each instead of 512.
 */

import type { ByteSink } from "./sink"

/** A multiple of the largest pages that processors commonly have. */
const BLOCK = 8 << 20

/** The sink gets full blocks, and the rest when it is closed. */
export function inBlocks(sink: ByteSink, blockBytes = BLOCK): ByteSink {
  let block: Uint8Array | undefined
  let filled = 0
  return {
    name: sink.name,
    async write(bytes) {
      for (let done = 0; done < bytes.byteLength; ) {
        block ??= new Uint8Array(blockBytes)
        const piece = bytes.subarray(done, done + blockBytes - filled)
        block.set(piece, filled)
        done += piece.byteLength
        filled += piece.byteLength
        if (filled < blockBytes) continue
        await sink.write(block)
        filled = 0
      }
    },
    async close() {
      if (block && filled > 0) await sink.write(block.subarray(0, filled))
      block = undefined
      filled = 0
      await sink.close()
    },
  }
}
