/** Which pictures a batch is about: files, folders and patterns, each picture once and always in the same order. */

import { createHash } from "node:crypto"
import type { Dirent } from "node:fs"
import { readdir, stat } from "node:fs/promises"
import { basename, dirname, isAbsolute, join, normalize, posix, relative, resolve, sep } from "node:path"
import { glob, isDynamicPattern } from "tinyglobby"
import { IsaacError, plainText } from "../internal"
import { UsageError } from "./failure"

export interface ListOptions {
  /** Look into the folders of folders, too. */
  readonly recursive?: boolean
  /** A folder that drawings are written to. Those of an earlier run are no pictures to ask about. */
  readonly drawDir?: string
  /** True for other files that an earlier run has written. */
  readonly isOwn?: (path: string) => boolean
  readonly signal?: AbortSignal
}

export interface BatchImage {
  /** As lines name it: the way it was given, or found below a folder. */
  readonly image: string
  /** Its place below the operand that it was found by. */
  readonly below: string
}

/** How the names of files that folders and patterns are searched for end. Files that are named are taken as they are. */
const ENDINGS = [".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif", ".tif", ".tiff"]

type Kind = "picture" | "folder" | "pattern"

/** What an operand is. What does not exist and is no pattern counts as a picture: reading it says what is wrong. */
export async function operandKind(operand: string): Promise<Kind> {
  if (operand === "-" || isAddress(operand)) return "picture"
  const found = await stat(operand).catch(() => undefined)
  if (found !== undefined) return found.isDirectory() ? "folder" : "picture" // also a file called a[1].png
  return isWild((await splitPattern(operand)).pattern) ? "pattern" : "picture"
}

/**
 * The pictures that operands name, without repetitions: operands in their order, files of a folder or pattern by name.
 * Hidden files are left out, and links to folders are not followed.
 *
 * Throws not_found for a folder or a pattern without pictures, io, usage errors.
 */
export async function listImages(
  operands: readonly string[],
  { recursive = false, drawDir, isOwn, signal }: ListOptions = {},
): Promise<BatchImage[]> {
  const keys = new Set<string>()
  const images: BatchImage[] = []
  const isDrawn = (path: string) => isWithin(path, drawDir)
  for (const operand of operands) {
    if (operand === "-") throw new UsageError("standard input (-) is a single picture, which a batch cannot name")
    const search = await searchOf(operand)
    if (isDrawn(search.base)) {
      throw new UsageError(
        `--draw-dir is where ${plainText(operand)} is, and drawings could take the place of pictures`,
      )
    }
    for await (const { image, below } of imagesOf(
      search,
      recursive,
      (path) => isDrawn(path) || isOwn?.(path) === true,
    )) {
      signal?.throwIfAborted()
      const key = keyOf(image)
      if (keys.has(key)) continue
      keys.add(key)
      images.push({ image, below })
    }
  }
  return images
}

/**
 * What the drawing of each picture is called below the folder of drawings. None gets a name that is `taken`: there is
 * the drawing of another picture.
 */
export function drawingNames(images: readonly BatchImage[], taken: Iterable<string> = []): Map<BatchImage, string> {
  const names = new Set([...taken].map((name) => name.toLowerCase()))
  return new Map(images.map((image) => [image, freeName(image.below, names)]))
}

/** What two names of one picture have in common; of a file, its whole path. */
export function keyOf(image: string): string {
  return isAddress(image) ? image : resolve(image)
}

interface Search {
  readonly kind: Kind
  readonly operand: string
  /** The folder where it begins, whole; of an address nothing. */
  readonly base: string
}

async function searchOf(operand: string): Promise<Search> {
  const kind = await operandKind(operand)
  if (kind === "picture") return { kind, operand, base: isAddress(operand) ? "" : dirname(resolve(operand)) }
  return { kind, operand, base: resolve(kind === "folder" ? operand : (await splitPattern(operand)).base) }
}

async function* imagesOf(
  { kind, operand }: Search,
  recursive: boolean,
  leaveOut: (path: string) => boolean,
): AsyncGenerator<BatchImage, void> {
  if (kind === "picture") {
    const name = isAddress(operand) ? addressName(operand) : basename(operand)
    yield { image: isAddress(operand) ? operand : normalize(operand), below: name }
    return
  }
  let count = 0
  for await (const found of kind === "folder" ? filesBelow(operand, "", recursive) : filesMatching(operand)) {
    if (leaveOut(resolve(found.image))) continue
    count++
    yield found
  }
  if (count > 0) return
  const where =
    kind === "folder" ? `no picture in ${plainText(operand)}` : `no picture that ${plainText(operand)} matches`
  throw new IsaacError(
    "not_found",
    `there is ${where}: a file that ends in ${ENDINGS.join(", ")}` +
      (kind === "folder" && !recursive ? "; --recursive looks into its folders, too" : ""),
  )
}

/** One folder after another, each read when it is its turn. */
async function* filesBelow(folder: string, below: string, recursive: boolean): AsyncGenerator<BatchImage, void> {
  const path = join(folder, below)
  const entries = await readdir(path, { withFileTypes: true }).catch((cause: Error) => {
    throw new IsaacError("io", `the folder ${plainText(path)} cannot be read: ${cause.message}`, { cause })
  })
  entries.sort(byName)
  for (const entry of entries) {
    if (entry.name.startsWith(".")) continue
    const name = join(below, entry.name)
    if (entry.isDirectory()) {
      if (recursive) yield* filesBelow(folder, name, recursive)
    } else if (isPictureName(entry.name)) {
      const isFile = entry.isFile() || (await stat(join(folder, name)).catch(() => undefined))?.isFile()
      if (isFile) yield { image: join(folder, name), below: name }
    }
  }
}

async function* filesMatching(operand: string): AsyncGenerator<BatchImage, void> {
  const { base, pattern } = await splitPattern(operand)
  // An exclamation mark in front would mean all other files.
  const names = await glob(pattern.replace(/^!(?!\()/, "\\!"), {
    cwd: resolve(base),
    expandDirectories: false,
    followSymbolicLinks: false,
  })
  names.sort()
  for (const name of names) if (isPictureName(name)) yield { image: join(base, name), below: normalize(name) }
}

/**
 * What stands before the first part with a wildcard is where the search begins. A folder that is called "photos (1)" or
 * "[x]" has no wildcard where there is such a folder. Without any wildcard the pattern is the last part.
 */
async function splitPattern(operand: string): Promise<{ readonly base: string; readonly pattern: string }> {
  const parts = forwardSlashes(operand).split("/")
  const lead = (count: number) => parts.slice(0, count).join("/") || "/"
  let first = 0
  while (
    first < parts.length - 1 &&
    (!isWild(parts[first]) || (await stat(lead(first + 1)).catch(() => undefined))?.isDirectory())
  ) {
    first++
  }
  return { base: first === 0 ? "." : lead(first), pattern: parts.slice(first).join("/") }
}

function isWild(part: string): boolean {
  return isDynamicPattern(part) || part.includes("\\")
}

function isWithin(path: string, folder: string | undefined): boolean {
  if (folder === undefined || path === "") return false
  const way = relative(resolve(folder), path)
  return way === "" || !(way === ".." || way.startsWith(`..${sep}`) || isAbsolute(way))
}

/** By code units, so that the order is the same everywhere. */
function byName(a: Dirent, b: Dirent): number {
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0
}

/** By its ending. */
export function isPictureName(name: string): boolean {
  return ENDINGS.some((ending) => name.toLowerCase().endsWith(ending))
}

/** A single letter before the colon is a drive. */
function isAddress(name: string): boolean {
  return /^(data:|[a-z][a-z0-9+.-]+:\/\/)/i.test(name)
}

function addressName(address: string): string {
  const path = /^data:/i.test(address) ? "" : address.replace(/[?#].*$/s, "").replace(/^[^:]+:\/\/[^/]*/, "")
  return (
    posix
      .basename(path)
      .replace(/[^\w.-]/g, "_")
      .slice(-100) || "picture"
  )
}

/** `name`.png, or the first free `name`-2.png, …; never outside the folder of drawings. */
function freeName(name: string, taken: Set<string>): string {
  const inside = relative(sep, resolve(sep, name)) || "picture"
  const stem = inside.replace(/\.png$/i, "")
  let drawing = fitting(stem, ".png")
  for (let n = 2; taken.has(drawing.toLowerCase()); n++) drawing = fitting(stem, `-${n}.png`)
  taken.add(drawing.toLowerCase()) // some file systems do not tell A from a
  return drawing
}

/** What file systems take as the name of one file, in bytes. */
const LONGEST_NAME = 255

/** `path` and its `end`; where that is too long for a name, the name is cut, and a hash tells it from its like. */
function fitting(path: string, end: string): string {
  const name = basename(path)
  if (Buffer.byteLength(name + end) <= LONGEST_NAME) return path + end
  const tail = `-${createHash("sha256").update(name).digest("hex").slice(0, 8)}${end}`
  let head = ""
  let bytes = Buffer.byteLength(tail)
  for (const { segment } of new Intl.Segmenter().segment(name)) {
    bytes += Buffer.byteLength(segment)
    if (bytes > LONGEST_NAME) break
    head += segment
  }
  return join(dirname(path), head + tail)
}

function forwardSlashes(path: string): string {
  return sep === "/" ? path : path.replaceAll(sep, "/")
}
