/** Bytes of a picture, damaged. */

import { crc32 } from "node:zlib"
import { pick, type Random } from "./random"

/** Numbers that sizes, offsets and counts do not expect. */
const ODD_NUMBERS = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff, 30000, 65500]

/** A copy with up to eight places changed, most of them near the beginning, where sizes and tables are. */
export function damaged(random: Random, sound: Uint8Array): Uint8Array {
  let bytes = sound.slice()
  for (let edits = 1 + random(8); edits > 0; edits--) {
    const at = random(random(2) === 0 ? Math.min(bytes.length, 200) : bytes.length)
    const view = new DataView(bytes.buffer)
    switch (random(9)) {
      case 0:
        bytes = bytes.slice(0, at)
        break
      case 1:
        bytes = joined(bytes.subarray(0, at), bytes.subarray(at + 1 + random(16)))
        break
      case 2:
        bytes = joined(bytes.subarray(0, at), bytes.subarray(Math.max(0, at - random(64))))
        break
      case 3:
        bytes.fill(pick(random, [0, 0xff, random(256)]), at, at + 1 + random(16))
        break
      case 4:
        if (at + 4 <= bytes.length) view.setUint32(at, pick(random, ODD_NUMBERS), random(2) === 0)
        break
      case 5:
        if (at + 2 <= bytes.length) view.setUint16(at, pick(random, ODD_NUMBERS), random(2) === 0)
        break
      case 6:
        if (at < bytes.length) bytes[at] ^= 1 << random(8)
        break
      default:
        if (at < bytes.length) bytes[at] = random(256)
    }
    if (bytes.length === 0) return bytes
  }
  if (random(2) === 0) repairPngSums(bytes)
  return bytes
}

/** Recompute the checksums of a PNG's chunks: damage behind a wrong sum is never looked at. */
function repairPngSums(bytes: Uint8Array): void {
  if (bytes.length < 8 || bytes[0] !== 0x89 || bytes[1] !== 0x50) return
  const view = new DataView(bytes.buffer)
  for (let at = 8; at + 12 <= bytes.length; ) {
    const end = at + 8 + view.getUint32(at)
    if (end + 4 > bytes.length) return
    view.setUint32(end, crc32(bytes.subarray(at + 4, end)))
    at = end + 4
  }
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(a.length + b.length)
  bytes.set(a)
  bytes.set(b, a.length)
  return bytes
}
