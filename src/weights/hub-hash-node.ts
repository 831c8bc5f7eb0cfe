/** The hashes by which the Hub names contents: both can be checked from the bytes alone. */

import { createHash } from "node:crypto"

export interface ContentHash {
  /** For messages. */
  readonly algorithm: string
  update(bytes: Uint8Array): void
  hex(): string
}

/**
 * What computes the hash that an ETag is: sha256 of large files (64 digits), git's sha1 of small ones (40 digits), which
 * hashes "blob SIZE\0" before the content. Undefined for an ETag of another kind.
 */
export function hashFor(etag: string, size: number): ContentHash | undefined {
  const algorithm = /^[0-9a-f]{64}$/.test(etag) ? "sha256" : /^[0-9a-f]{40}$/.test(etag) ? "sha1" : undefined
  if (algorithm === undefined) return undefined
  const hash = createHash(algorithm)
  if (algorithm === "sha1") hash.update(`blob ${size}\0`)
  return {
    algorithm,
    update: (bytes) => void hash.update(bytes),
    hex: () => hash.digest("hex"),
  }
}
