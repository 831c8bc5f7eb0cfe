/** What tells the weights of one checkpoint from those of another, without reading gigabytes. */

import { createHash } from "node:crypto"
import type { Checkpoint } from "./checkpoint"
import type { FileSet } from "./source"

/** Pieces that are looked at in each file of which only time and length are known, and their bytes. */
const SAMPLES = 64
const SAMPLE_BYTES = 4096

/**
 * A hash (64 hex digits) over all weight files: of the content's own hash where that is known (the Hub's cache), else of
 * name, length, time of change, header, and 64 pieces spread evenly from the first byte of data to the last.
 */
export async function fingerprintWeights(files: FileSet, checkpoint: Checkpoint): Promise<string> {
  const hash = createHash("sha256")
  const names = new Set([...checkpoint.tensors.values()].map(({ file }) => file))
  for (const name of [...names].sort()) {
    const stamp = (await files.stamp?.(name)) ?? ""
    hash.update(`${name}\0${stamp}\0`)
    if (stamp.startsWith("sha256:")) continue
    const source = await files.open(name)
    try {
      const { size } = source
      const length = await source.read(0, Math.min(8, size))
      const header =
        size < 8 ? size : 8 + Number(new DataView(length.buffer, length.byteOffset, 8).getBigUint64(0, true))
      hash.update(`${size}\0`)
      hash.update(await source.read(0, Math.min(header, size)))
      const last = size - SAMPLE_BYTES
      for (let i = 0; i < SAMPLES; i++) {
        const at = Math.max(0, header + Math.floor(((last - header) * i) / (SAMPLES - 1)))
        hash.update(await source.read(at, Math.min(SAMPLE_BYTES, size - at)))
      }
    } finally {
      await source.close()
    }
  }
  return hash.digest("hex")
}
