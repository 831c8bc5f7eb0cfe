/** Where bytes come from: a file, an HTTP range, browser storage, memory. The reader above does not care. */

import { IsaacError, plainText } from "../errors"

/** Random access to `size` bytes. */
export interface ByteSource {
  /** For messages: a path or address. */
  readonly name: string
  readonly size: number
  /** Path of an ordinary file of this machine, for who can map it into memory. */
  readonly path?: string
  /** Bytes offset … offset+length-1; fewer than asked is an error of the source. */
  read(offset: number, length: number): Promise<Uint8Array>
  close(): Promise<void>
}

/** The named files of one checkpoint folder. */
export interface FileSet {
  /** For messages: the folder or address. */
  readonly name: string
  has(file: string): Promise<boolean>
  open(file: string): Promise<ByteSource>
  /**
   * A word that changes when the file's content does, known without reading it: "sha256:…" is the content's own hash,
   * anything else a hint (its time and length).
   */
  stamp?(file: string): Promise<string>
}

/** A source over bytes in memory (tests, downloads already held). */
export function bytesSource(name: string, bytes: Uint8Array): ByteSource {
  return {
    name,
    size: bytes.byteLength,
    async read(offset, length) {
      if (offset < 0 || offset + length > bytes.byteLength) {
        throw new IsaacError(
          "io",
          `${name}: bytes ${offset}…${offset + length} asked, the file has ${bytes.byteLength}`,
        )
      }
      return bytes.subarray(offset, offset + length)
    },
    async close() {},
  }
}

/** A checkpoint folder in memory: file name → bytes. */
export function bytesFiles(name: string, files: Readonly<Record<string, Uint8Array>>): FileSet {
  return {
    name,
    async has(file) {
      return Object.hasOwn(files, file)
    },
    async open(file) {
      if (!Object.hasOwn(files, file)) throw new IsaacError("not_found", `${name} has no file ${file}`)
      return bytesSource(`${name}/${file}`, files[file])
    },
  }
}

/** All of a small file as text (config, tokenizer, template); `limit` bytes at most. */
export async function readText(files: FileSet, file: string, limit = 64 << 20): Promise<string> {
  const source = await files.open(file)
  try {
    if (source.size > limit) {
      throw new IsaacError(
        "bad_checkpoint",
        `${source.name} has ${source.size} bytes; ${limit} are allowed for this file`,
      )
    }
    return new TextDecoder().decode(await source.read(0, source.size))
  } finally {
    await source.close()
  }
}

/** The same, parsed as a JSON object. */
export async function readJson(files: FileSet, file: string): Promise<Record<string, unknown>> {
  const text = await readText(files, file)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    const what = text.startsWith("version https://git-lfs") ? 'a Git LFS pointer: run "git lfs pull" in its folder' : ""
    throw new IsaacError(
      "bad_checkpoint",
      `${files.name}/${file} is ${what || `not valid JSON (${plainText((cause as Error).message)}). Download it again.`}`,
      { cause },
    )
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    throw new IsaacError("bad_checkpoint", `${files.name}/${file} should hold a JSON object`)
  }
  return value as Record<string, unknown>
}
