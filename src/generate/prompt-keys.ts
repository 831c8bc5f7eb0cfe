/**
 * What a key/value cache entry depends on, token by token: two prompts may share entries exactly as far as these agree.
 *
 * A text token is known by its id, an image's token by the content of the whole image (its token view is garbage that
 * other images share) and its place in it; both also by the position they were turned to.
 */

import type { Rows, TensorStream } from "../stream"

/** What a session holds, in columns: for files and messages. */
export interface HeldTokens {
  /** [T] the id of a text token, the index inside its image of an image's. */
  readonly ids: Int32Array
  /** [T] which of `imageHashes` it belongs to; -1 for text. */
  readonly images: Int32Array
  readonly imageHashes: readonly string[]
  /** [T·3] time, row, column as the rotary embedding uses them. */
  readonly positions: Int32Array
}

/** Grows at its end as tokens are generated. */
export class PromptKeys {
  /** Per token: the id of a text token, the index inside its image of an image's. */
  readonly #ids: number[] = []
  /** Per token: the hash of its image, undefined for text. */
  readonly #images: (string | undefined)[] = []
  /** Per token: time, row, column as the rotary embedding uses them. */
  readonly #positions: number[] = []

  get length(): number {
    return this.#ids.length
  }

  push(id: number, image: string | undefined, time: number, row: number, column: number): void {
    this.#ids.push(id)
    this.#images.push(image)
    this.#positions.push(time, row, column)
  }

  static of({ ids, images, imageHashes, positions }: HeldTokens): PromptKeys {
    const keys = new PromptKeys()
    for (const [i, id] of ids.entries()) {
      const [time, row, column] = positions.subarray(3 * i, 3 * i + 3)
      keys.push(id, images[i] < 0 ? undefined : imageHashes[images[i]], time, row, column)
    }
    return keys
  }

  held(): HeldTokens {
    const imageHashes = [...new Set(this.#images.filter((hash) => hash !== undefined))]
    const index = new Map(imageHashes.map((hash, i) => [hash, i]))
    return {
      ids: Int32Array.from(this.#ids),
      images: Int32Array.from(this.#images, (hash) => (hash === undefined ? -1 : index.get(hash)!)),
      imageHashes,
      positions: Int32Array.from(this.#positions),
    }
  }

  /** Append tokens start … end-1 of `other`. */
  append(other: PromptKeys, start: number, end: number): void {
    for (let i = start; i < end; i++) {
      const [time, row, column] = other.#positions.slice(3 * i, 3 * i + 3)
      this.push(other.#ids[i], other.#images[i], time, row, column)
    }
  }

  truncate(length: number): void {
    this.#ids.length = length
    this.#images.length = length
    this.#positions.length = 3 * length
  }

  /** How many leading tokens are the same in both. */
  commonPrefix(other: PromptKeys): number {
    const end = Math.min(this.length, other.length)
    for (let i = 0; i < end; i++) {
      const same =
        this.#ids[i] === other.#ids[i] &&
        this.#images[i] === other.#images[i] &&
        this.#positions[3 * i] === other.#positions[3 * i] &&
        this.#positions[3 * i + 1] === other.#positions[3 * i + 1] &&
        this.#positions[3 * i + 2] === other.#positions[3 * i + 2]
      if (!same) {
        return i
      }
    }
    return end
  }
}

/** A prompt's keys, and the hash of each image in them by its patches, which slices of the prompt share. */
export interface PromptIdentity {
  readonly keys: PromptKeys
  readonly imageHashes: ReadonlyMap<Rows["values"], string>
}

/** What is known of an image without looking at its patches. */
export interface KnownImage {
  readonly hash: string
  /** [H·W, 3·patchSize²] Throws bad_image or bad_input when they cannot be made again. */
  patches(): Promise<Rows>
}

/**
 * Known images by the patches of their events, present or not. Only who made these patches may enter them: a wrong hash
 * would answer about somebody else's picture.
 */
export type KnownImages = WeakMap<Rows["values"], KnownImage>

/** Identify a prompt: a stream of batch 1. */
export async function identifyPrompt(stream: TensorStream, known?: KnownImages): Promise<PromptIdentity> {
  const keys = new PromptKeys()
  const imageHashes = new Map<Rows["values"], string>()
  const positions = stream.positions() // [T·3]
  let at = 0
  for (const { type, data, dimsReal, idxRange } of stream.events) {
    const image = type === "image" ? (known?.get(data.values)?.hash ?? (await imageHash(data, dimsReal))) : undefined
    if (image !== undefined) {
      imageHashes.set(data.values, image)
    }
    for (let i = idxRange[0]; i < idxRange[1]; i++, at++) {
      const [time, row, column] = positions.subarray(3 * at, 3 * at + 3)
      if (image !== undefined) {
        keys.push(i, image, time, row, column)
      } else {
        keys.push(data.values[i], undefined, time, time, time) // text turns with its time on all three axes
      }
    }
  }
  return { keys, imageHashes }
}

/**
 * SHA-256 of an image's patches, and their grid. Strong, because a collision would answer about somebody else's
 * picture.
 */
export async function imageHash({ values }: Rows, dimsReal: readonly number[]): Promise<string> {
  return `${await sha256(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))}/${dimsReal.join("x")}`
}

/** 64 hex digits. */
export async function sha256(bytes: Uint8Array): Promise<string> {
  // Shared memory is not hashed by browsers.
  const own = bytes.buffer instanceof ArrayBuffer ? (bytes as Uint8Array<ArrayBuffer>) : new Uint8Array(bytes)
  const digest = await crypto.subtle.digest("SHA-256", own)
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("")
}
