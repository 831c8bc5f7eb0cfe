/** Random choices of one fuzz input; all follow from its seed. */

/** 0 … n-1 */
export type Random = (n: number) => number

export function randomOf(seed: number): Random {
  // Neighbouring seeds must not give neighbouring numbers: they are mixed first (splitmix32).
  let state = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) | 0
  return (n) => {
    state = (state + 0x9e3779b9) | 0
    let x = Math.imul(state ^ (state >>> 16), 0x21f0aaad)
    x = Math.imul(x ^ (x >>> 15), 0x735a2d97)
    return Math.floor((((x ^ (x >>> 15)) >>> 0) / 2 ** 32) * n)
  }
}

export function pick<T>(random: Random, from: readonly T[]): T {
  return from[random(from.length)]
}

/** A text with `edits` places changed: pieces put in, units taken out, doubled, or exchanged. */
export function editText(random: Random, text: string, pieces: readonly string[], edits: number): string {
  let out = text
  for (let i = 0; i < edits; i++) {
    const at = random(out.length + 1)
    switch (random(6)) {
      case 0:
        out = out.slice(0, at) + out.slice(at + 1 + random(4))
        break
      case 1: {
        const end = Math.min(out.length, at + 1 + random(12))
        out = out.slice(0, end) + out.slice(at)
        break
      }
      case 2:
        out = out.slice(0, at) + String.fromCharCode(random(random(4) === 0 ? 65536 : 128)) + out.slice(at + 1)
        break
      case 3:
        out = out.slice(0, at) + pick(random, pieces) + out.slice(at + random(4))
        break
      default:
        out = out.slice(0, at) + pick(random, pieces) + out.slice(at)
    }
  }
  return out
}
