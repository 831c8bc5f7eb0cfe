/** Pictures that agents name: paths, addresses, data; with `--root`, files of these folders only. */

import { realpath } from "node:fs/promises"
import { homedir } from "node:os"
import { isAbsolute, join, relative, resolve, sep } from "node:path"
import { fileURLToPath } from "node:url"
import { decodeImage, IsaacError, loadImage, plainText, type RgbImage, readImage } from "../internal"

export interface PictureReaderOptions {
  readonly root?: readonly string[]
  readonly allowPrivateUrls?: true
}

/** A folder as it was named and where it really is: the way there may lead through links. */
interface Root {
  readonly named: string
  readonly real: string
}

/** How the base64 of PNG, JPEG, WebP and GIF begins; that of a JPEG looks like a path. */
const BARE_BASE64 = /^(?:iVBORw0KGgo|\/9j\/|UklGR|R0lGOD)[A-Za-z0-9+/=\s]{60,}$/

export class PictureReader {
  readonly #roots: readonly Root[] | undefined
  readonly #allowPrivateUrls: boolean

  private constructor(roots: readonly Root[] | undefined, allowPrivateUrls: boolean) {
    this.#roots = roots
    this.#allowPrivateUrls = allowPrivateUrls
  }

  /** Throws not_found for a root that does not exist. */
  static async open({ root, allowPrivateUrls }: PictureReaderOptions): Promise<PictureReader> {
    const roots = root && (await Promise.all(root.map(realRoot)))
    return new PictureReader(roots, allowPrivateUrls === true)
  }

  /** Upright RGB pixels. Throws bad_input, not_found, io, bad_image, aborted. */
  async read(address: string, signal: AbortSignal): Promise<RgbImage> {
    const named = await this.#resolve(address)
    const file = await readImage(named, { signal, allowPrivateUrls: this.#allowPrivateUrls })
    return loadImage(file, "the picture", decodeImage)
  }

  /** The address as it may be read: paths made absolute, and checked. */
  async #resolve(address: string): Promise<string> {
    if (address.trim() === "") throw new IsaacError("bad_input", "media_url is empty: name a picture")
    if (BARE_BASE64.test(address)) return `data:application/octet-stream;base64,${address}`
    // A single letter before the colon is a drive.
    const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(address)?.[1].toLowerCase()
    if (scheme === "http" || scheme === "https" || scheme === "data") return address
    if (scheme !== undefined && scheme !== "file" && /^[^:]+:\/\//.test(address)) return address
    return this.#file(scheme === "file" ? fromFileUrl(address) : address)
  }

  async #file(path: string): Promise<string> {
    const expanded = /^~(?=[/\\]|$)/.test(path) ? join(homedir(), path.slice(1)) : path
    if (!this.#roots) return resolve(expanded)
    const wanted = resolve(this.#roots[0].real, expanded)
    // Before anything is looked at: what lies outside should not even be told to exist.
    if (!this.#roots.some(({ named, real }) => isInside(wanted, named) || isInside(wanted, real))) {
      throw this.#outside(path)
    }
    const real = await realpath(wanted).catch((cause: NodeJS.ErrnoException) => {
      throw new IsaacError("not_found", `cannot open the image ${shownPath(path)}: there is no such file.`, { cause })
    })
    if (!this.#roots.some((root) => isInside(real, root.real))) throw this.#outside(path)
    return real
  }

  #outside(path: string): IsaacError {
    return new IsaacError(
      "bad_input",
      `${shownPath(path)} is outside of the folders that this server reads (${this.#roots!.map(({ named }) => named).join(", ")})`,
    )
  }
}

async function realRoot(path: string): Promise<Root> {
  const named = resolve(path)
  const real = await realpath(named).catch((cause: NodeJS.ErrnoException) => {
    throw new IsaacError("not_found", `--root ${plainText(path)}: there is no such folder`, { cause })
  })
  return { named, real }
}

function isInside(path: string, root: string): boolean {
  const way = relative(root, path)
  return way !== ".." && !way.startsWith(`..${sep}`) && !isAbsolute(way)
}

function fromFileUrl(address: string): string {
  try {
    return fileURLToPath(address)
  } catch (cause) {
    throw new IsaacError("bad_input", `${shownPath(address)} is no address of a file: ${(cause as Error).message}`, {
      cause,
    })
  }
}

function shownPath(path: string): string {
  return plainText(path.length > 200 ? `${path.slice(0, 200)}…` : path)
}
