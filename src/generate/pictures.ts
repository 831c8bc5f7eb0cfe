/**
 * The pictures of conversations. Looking at one (decoding, resizing, hashing its patches) is done once: what later
 * prompts need of it is its size and its hash. Patches, which are large, are not kept: where the vision tower must see
 * a picture again, because its embeddings were let go, it is decoded again.
 */

import { IsaacError } from "../errors"
import type { ImageFile, IsaacProcessor, PreparedImage, RgbImage } from "../processor"
import { imageHash, type KnownImages, sha256 } from "./prompt-keys"

/** A picture as it was given, with what is known of it. The bytes must not change. */
export class Picture {
  /** For prompts after the first one. */
  known: PreparedImage | undefined

  constructor(readonly source: ImageFile | RgbImage) {}
}

/** What is remembered of a picture's content. */
interface Looked {
  readonly image: PreparedImage
  readonly hash: string
}

/** Most contents that are remembered, a few hundred bytes each. */
const MOST = 1000

export class PictureBook {
  readonly #processor: IsaacProcessor
  readonly #known: KnownImages
  /** By the hash of the file or the pixels, in the order of their last use. */
  readonly #looked = new Map<string, Looked>()

  constructor(processor: IsaacProcessor, known: KnownImages) {
    this.#processor = processor
    this.#known = known
  }

  /**
   * The picture for a prompt: with its patches when it is seen for the first time, without them afterwards.
   *
   * @param name what to call a picture without a name of its own
   * Throws bad_image.
   */
  async prepare(picture: Picture, name: string): Promise<PreparedImage> {
    if (picture.known !== undefined) {
      return picture.known
    }
    const { source } = picture
    const content = await contentHash(source)
    const looked = this.#looked.get(content)
    if (looked !== undefined) {
      this.#remember(content, looked)
      picture.known = this.#without(looked, source, name)
      return picture.known
    }
    const image = await this.#processor.prepareImage(source, name)
    const { patches, dimsReal } = image
    const hash = await imageHash(patches, dimsReal)
    this.#known.set(patches.values, { hash, patches: async () => patches })
    const first = { image: image.withoutPatches(), hash }
    this.#remember(content, first)
    picture.known = this.#without(first, source, name)
    return image
  }

  /** The picture without patches, made again from `source` when they are asked for. */
  #without({ image, hash }: Looked, source: Picture["source"], name: string): PreparedImage {
    const without = image.withoutPatches()
    this.#known.set(without.patches.values, {
      hash,
      patches: async () => {
        const { patches, dimsReal } = await this.#processor.prepareImage(source, name)
        if ((await imageHash(patches, dimsReal)) !== hash) {
          throw new IsaacError(
            "bad_input",
            `${name} was changed after it was shown; give a changed picture as a new one`,
          )
        }
        return patches
      },
    })
    return without
  }

  #remember(content: string, looked: Looked): void {
    this.#looked.delete(content)
    this.#looked.set(content, looked)
    for (const oldest of this.#looked.keys()) {
      if (this.#looked.size <= MOST) {
        return
      }
      this.#looked.delete(oldest)
    }
  }
}

/** Pixels and files never have the same. */
async function contentHash(source: ImageFile | RgbImage): Promise<string> {
  return "bytes" in source ? sha256(source.bytes) : `${await sha256(source.data)} ${source.width}x${source.height}`
}
