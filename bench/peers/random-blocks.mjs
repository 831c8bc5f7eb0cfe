/** Random quantised blocks, a few megabytes of them written over and over: what they hold does not matter to the speed. */

import { closeSync, openSync, renameSync, rmSync, writeSync } from "node:fs"

/** A generator of unsigned 32-bit numbers (mulberry32): the same file for the same seed. */
export function randomNumbers(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let x = Math.imul(state ^ (state >>> 15), state | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return (x ^ (x >>> 14)) >>> 0
  }
}

/** `count` random bytes. */
export function randomBytes(count, seed) {
  const next = randomNumbers(seed)
  const words = new Uint32Array(Math.ceil(count / 4))
  for (let i = 0; i < words.length; i++) words[i] = next()
  return new Uint8Array(words.buffer, 0, count)
}

/** Half-precision bits of a number that float16 holds as a normal one (6.1e-5 … 65504), cut off. */
export function halfBits(x) {
  const [bits] = new Uint32Array(Float32Array.of(x).buffer)
  return ((bits >>> 16) & 0x8000) | ((((bits >>> 23) & 255) - 112) << 10) | ((bits >>> 13) & 0x3ff)
}

/** Writes parts one after another into a file that appears under its name only when it is whole. */
export function writeWhole(path, write) {
  const partial = `${path}.${process.pid}.part`
  const file = openSync(partial, "w")
  try {
    write((bytes) => {
      for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done, bytes.length - done)
    })
    closeSync(file)
    renameSync(partial, path)
  } catch (error) {
    rmSync(partial, { force: true })
    throw error
  }
}

/** Calls `emit` with pieces of `tile`, repeated from a start that is a multiple of `block`, until `bytes` are out. */
export function emitRepeated(emit, tile, block, bytes, turn) {
  let from = ((turn * 977) % (tile.length / block)) * block
  for (let left = bytes; left > 0; ) {
    const count = Math.min(left, tile.length - from)
    emit(tile.subarray(from, from + count))
    left -= count
    from = 0
  }
}
