/**
 * All tokens of a vocabulary by their bytes, so that a language can be walked through them: tokens that begin alike are
 * refused together, at the first byte that the language does not take.
 */

import type { Language } from "./language"
import type { Vocabulary } from "./vocabulary"

/** Tokens that may come next. */
export class TokenSet {
  /** In ascending order. */
  readonly ids: Int32Array

  constructor(ids: Int32Array) {
    this.ids = ids
  }

  get size(): number {
    return this.ids.length
  }

  has(id: number): boolean {
    let low = 0
    let high = this.ids.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.ids[middle] < id) low = middle + 1
      else high = middle
    }
    return this.ids[low] === id
  }

  /** All but these, which are in ascending order. */
  without(others: readonly number[]): TokenSet {
    if (others.length === 0) return this
    const left = this.ids.slice()
    let count = 0
    let next = 0
    for (const id of this.ids) {
      while (others[next] < id) next++
      if (others[next] !== id) left[count++] = id
    }
    return new TokenSet(left.slice(0, count))
  }
}

export class TokenTrie {
  /** Whether each of the 256 bytes is a token: then a language that goes on at all goes on with some token. */
  readonly complete: boolean
  /** Bytes of the longest token. */
  readonly longest: number
  /** Nodes that `walk` looked at so far: what masks cost. */
  looked = 0
  /**
   * Nodes in the order of a walk: each before those below it. [nodes] Node 0 stands before the first byte.
   */
  readonly #bytes: Uint8Array
  readonly #depths: Uint16Array
  /** [nodes] The first node behind those below. */
  readonly #ends: Int32Array
  /** [nodes + 1] Where a node's tokens begin in `#ids`. */
  readonly #starts: Int32Array
  readonly #ids: Int32Array
  /** [tokens] Room for what a walk finds. */
  readonly #found: Int32Array
  readonly #vocabulary: Vocabulary
  /** [tokens] The longest first; found when first asked for. */
  #byLength: Int32Array | undefined
  /** [256] The node of each byte as a token's first; 0 where there is none. */
  readonly #first: Int32Array

  /** @param takes tokens that are text; others never come */
  constructor(vocabulary: Vocabulary, takes: (id: number) => boolean) {
    this.#vocabulary = vocabulary
    // 1. A tree, children as linked lists in ascending order of their bytes.
    let capacity = 1 << 12
    let byteOf = new Uint8Array(capacity)
    let child = new Int32Array(capacity)
    let sibling = new Int32Array(capacity)
    let token = new Int32Array(capacity).fill(-1)
    const same = new Int32Array(vocabulary.size).fill(-1) // the next token of the same bytes
    let nodes = 1
    let longest = 0
    let tokens = 0
    const grow = () => {
      capacity *= 2
      const wider = (old: Int32Array, fill: number) => {
        const wide = new Int32Array(capacity).fill(fill)
        wide.set(old)
        return wide
      }
      child = wider(child, 0)
      sibling = wider(sibling, 0)
      token = wider(token, -1)
      const bytes = new Uint8Array(capacity)
      bytes.set(byteOf)
      byteOf = bytes
    }
    for (let id = vocabulary.size - 1; id >= 0; id--) {
      if (!takes(id)) continue
      const bytes = vocabulary.tokenBytes(id)
      if (bytes.length === 0) continue
      tokens++
      longest = Math.max(longest, bytes.length)
      let node = 0
      for (const byte of bytes) {
        let before = 0
        let at = child[node]
        while (at !== 0 && byteOf[at] < byte) {
          before = at
          at = sibling[at]
        }
        if (at === 0 || byteOf[at] !== byte) {
          if (nodes === capacity) grow()
          byteOf[nodes] = byte
          sibling[nodes] = at
          if (before === 0) child[node] = nodes
          else sibling[before] = nodes
          at = nodes++
        }
        node = at
      }
      same[id] = token[node]
      token[node] = id
    }

    // 2. The same in the order of a walk.
    this.#bytes = new Uint8Array(nodes)
    this.#depths = new Uint16Array(nodes)
    this.#ends = new Int32Array(nodes)
    this.#starts = new Int32Array(nodes + 1)
    this.#ids = new Int32Array(tokens)
    this.#found = new Int32Array(tokens)
    let written = 0
    let ids = 0
    const place = (node: number, depth: number): number => {
      const at = written++
      this.#bytes[at] = byteOf[node]
      this.#depths[at] = depth
      this.#starts[at] = ids
      for (let id = token[node]; id >= 0; id = same[id]) this.#ids[ids++] = id
      return at
    }
    const path: { readonly at: number; rest: number }[] = [{ at: place(0, 0), rest: child[0] }]
    while (path.length > 0) {
      const top = path[path.length - 1]
      if (top.rest === 0) {
        this.#ends[top.at] = written
        path.pop()
        continue
      }
      const node = top.rest
      top.rest = sibling[node]
      path.push({ at: place(node, path.length), rest: child[node] })
    }
    this.#starts[nodes] = ids
    this.longest = longest

    // 3. First bytes.
    this.#first = new Int32Array(256)
    for (let at = 1; at < nodes; at = this.#ends[at]) this.#first[this.#bytes[at]] = at
    this.complete = this.#first.every((at) => at !== 0 && this.#starts[at] < this.#starts[at + 1])
  }

  /** Nodes of the tree. */
  get nodes(): number {
    return this.#bytes.length
  }

  /** Whether a token is in here. */
  has(id: number): boolean {
    const at = this.#find(this.#vocabulary.tokenBytes(id))
    return at > 0 && this.#ids.subarray(this.#starts[at], this.#starts[at + 1]).includes(id)
  }

  /** The tokens that a language takes, where `keep` likes what may stand behind them. */
  walk(language: Language, keep: (after: Language) => boolean): TokenSet {
    const [bytes, depths, ends, starts, ids] = [this.#bytes, this.#depths, this.#ends, this.#starts, this.#ids]
    const found = this.#found
    const states: Language[] = [language]
    let count = 0
    let looked = 0
    let last: Language | undefined
    let kept = false
    for (let at = 1; at < bytes.length; ) {
      looked++
      const after = states[depths[at] - 1].next(bytes[at])
      if (after === null) {
        at = ends[at]
        continue
      }
      states[depths[at]] = after
      if (starts[at] < starts[at + 1]) {
        // Most tokens lead to few places.
        if (after !== last) {
          last = after
          kept = keep(after)
        }
        if (kept) for (let i = starts[at]; i < starts[at + 1]; i++) found[count++] = ids[i]
      }
      at++
    }
    this.looked += looked
    return new TokenSet(found.slice(0, count).sort())
  }

  /** Tokens of more bytes than these. */
  longTokens(bytes: number): readonly number[] {
    const found: number[] = []
    for (const id of this.#longFirst()) {
      if (this.#vocabulary.tokenBytes(id).length <= bytes) break
      found.push(id)
    }
    return found
  }

  #longFirst(): Int32Array {
    const length = (id: number) => this.#vocabulary.tokenBytes(id).length
    this.#byLength ??= this.#ids.slice().sort((a, b) => length(b) - length(a))
    return this.#byLength
  }

  /** Whether a token that begins with `bytes` and is longer is taken by the language. */
  longerThan(bytes: Uint8Array, language: Language): boolean {
    const node = this.#find(bytes)
    if (node === 0) return false
    let state: Language | null = language
    for (const byte of bytes) state = state?.next(byte) ?? null
    if (state === null) return false
    const states: Language[] = []
    states[bytes.length] = state
    for (let at = node + 1; at < this.#ends[node]; ) {
      this.looked++
      const after = states[this.#depths[at] - 1].next(this.#bytes[at])
      if (after === null) {
        at = this.#ends[at]
        continue
      }
      if (this.#starts[at] < this.#starts[at + 1]) return true
      states[this.#depths[at]] = after
      at++
    }
    return false
  }

  /** The fewest tokens that make up these bytes; Infinity when none do. */
  fewest(bytes: Uint8Array): number {
    const costs = new Float64Array(bytes.length + 1).fill(Number.POSITIVE_INFINITY)
    costs[bytes.length] = 0
    for (let from = bytes.length - 1; from >= 0; from--) {
      let node = this.#first[bytes[from]]
      for (let to = from + 1; node !== 0; to++) {
        if (this.#starts[node] < this.#starts[node + 1]) costs[from] = Math.min(costs[from], 1 + costs[to])
        if (to === bytes.length) break
        node = this.#child(node, bytes[to])
      }
    }
    return costs[0]
  }

  #find(bytes: Uint8Array): number {
    let node = bytes.length === 0 ? 0 : this.#first[bytes[0]]
    for (let at = 1; at < bytes.length && node !== 0; at++) node = this.#child(node, bytes[at])
    return node
  }

  /** The node below that goes on with `byte`; 0 when there is none. */
  #child(node: number, byte: number): number {
    for (let at = node + 1; at < this.#ends[node]; at = this.#ends[at]) {
      if (this.#bytes[at] === byte) return at
      if (this.#bytes[at] > byte) return 0
    }
    return 0
  }
}
