/**
 * A small seeded generator, so that a seed gives the same draws on every machine and backend.
 *
 * xoshiro128** (Blackman & Vigna, 2018) on 32-bit integers; its state is filled by splitmix32, as its authors advise,
 * so that neighbouring seeds give unrelated sequences.
 */

/** Draws uniform numbers in [0, 1). */
export class Random {
  readonly #state: Uint32Array

  /** @param seed a non-negative integer up to 2⁵³-1 */
  constructor(seed: number) {
    const mix = splitmix32(folded(seed))
    this.#state = Uint32Array.from([mix(), mix(), mix(), mix()])
  }

  /** The next number: 32 random bits over 2³², in [0, 1). */
  next(): number {
    const s = this.#state
    const out = Math.imul(rotateLeft(Math.imul(s[1], 5), 7), 9) >>> 0
    const t = s[1] << 9
    s[2] ^= s[0]
    s[3] ^= s[1]
    s[1] ^= s[2]
    s[0] ^= s[3]
    s[2] ^= t
    s[3] = rotateLeft(s[3], 11)
    return out / 2 ** 32
  }
}

/** The seed of sample `index` of several that come from one seed: the first has the seed itself. 32 bits. */
export function derivedSeed(seed: number, index: number): number {
  if (index === 0) {
    return seed
  }
  // Not the seed's own walk, which fills the state of its generator.
  const mix = splitmix32(~folded(seed))
  let derived = 0
  for (let i = 0; i < index; i++) {
    derived = mix()
  }
  return derived
}

/** A seed of up to 53 bits in 32. */
function folded(seed: number): number {
  return (seed >>> 0) ^ Math.imul(Math.floor(seed / 2 ** 32), 0x9e3779b1)
}

function rotateLeft(x: number, bits: number): number {
  return (x << bits) | (x >>> (32 - bits))
}

/** splitmix32: an integer hash walked in golden-ratio steps. */
function splitmix32(seed: number): () => number {
  let x = seed
  return () => {
    x = (x + 0x9e3779b9) | 0
    let z = x
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad)
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
    return (z ^ (z >>> 15)) >>> 0
  }
}
