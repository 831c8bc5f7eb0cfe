/**
 * A conversation as a file: a safetensors container.
 *
 *     session              U8   JSON: where the keys and values are from, messages, what the pictures are
 *     picture.0 …          U8   the files of the pictures, or their pixels [height, width, 3]
 *     held.ids             I32  [T]      ┐
 *     held.images          I32  [T]      ├ what the tokens are, see HeldTokens
 *     held.positions       I32  [T, 3]   ┘
 *     kv.0 …               F32, BF16 or I8   keys and values of a layer, [2, T, kvHeads, headDim]
 *     kv_scales.0 …        F32  [2, T, kvHeads]   of those in I8
 *
 * Its metadata has the version of this form (`isaac.session`) and the SHA-256 of every tensor (`isaac.sha256`). It comes
 * from strangers, too: nothing in it is believed.
 */

import { IsaacError, isIsaacError, shown } from "./errors"
import { type HeldTokens, sha256 } from "./generate/prompt-keys"
import type { ModelFingerprint } from "./model/fingerprint"
import type { KvNumbers, KvType } from "./ops/backend"
import { checkMessages, type ImageFile, type Message, type RgbImage, toRgbImage } from "./processor"
import { readSafetensorsHeader, type SafetensorsHeader, type SafetensorsType } from "./weights/safetensors"
import { layoutSafetensors, type PlannedTensor, writeSafetensors } from "./weights/safetensors-writer"
import type { ByteSink } from "./weights/sink"
import type { ByteSource } from "./weights/source"

const VERSION = "1"
/** Most bytes of the JSON. */
const MAX_JSON = 64 << 20
/** Positions of tokens are far below. */
const MAX_POSITION = 1 << 24

/** What keys and values depend on beside the tokens. */
export interface KvOrigin extends ModelFingerprint {
  /** How the weights were kept. */
  readonly dtype: string
  /** How keys and values are kept. */
  readonly kv: KvType
}

export interface KvShape {
  readonly layers: number
  readonly kvHeads: number
  readonly headDim: number
}

/** A conversation without its keys and values. */
export interface SavedConversation {
  readonly origin: KvOrigin
  readonly messages: readonly Message[]
  readonly pictures: readonly (ImageFile | RgbImage)[]
  readonly held: HeldTokens
}

/** Keys and values of one layer, [2, T, kvHeads, headDim]. */
export type KvLayer = (index: number) => Promise<KvNumbers>

export interface SessionWriter {
  /** Of the whole file. */
  readonly bytes: number
  write(sink: ByteSink): Promise<void>
}

/** Plan the file. `layer` is asked for each layer twice: for its hash, and to write it; it must not change meanwhile. */
export async function sessionWriter(
  { origin, messages, pictures, held }: SavedConversation,
  shape: KvShape,
  layer: KvLayer,
): Promise<SessionWriter> {
  const tokens = held.ids.length
  const about = {
    ...origin,
    messages,
    pictures: pictures.map((picture) =>
      "bytes" in picture ? { name: picture.name } : { width: picture.width, height: picture.height },
    ),
    tokens,
    imageHashes: held.imageHashes,
  }
  const contents = new Map<string, { plan: PlannedTensor; bytes: () => Promise<Uint8Array> }>()
  const add = (name: string, dtype: SafetensorsType, dims: readonly number[], data: () => Promise<ArrayBufferView>) =>
    contents.set(name, { plan: { name, dtype, shape: dims }, bytes: async () => bytesOf(await data()) })

  const json = new TextEncoder().encode(JSON.stringify(about))
  add("session", "U8", [json.length], async () => json)
  for (const [i, picture] of pictures.entries()) {
    const data = "bytes" in picture ? picture.bytes : picture.data
    add(`picture.${i}`, "U8", [data.length], async () => data)
  }
  if (tokens > 0) {
    add("held.ids", "I32", [tokens], async () => held.ids)
    add("held.images", "I32", [tokens], async () => held.images)
    add("held.positions", "I32", [tokens, 3], async () => held.positions)
    const dims = [2, tokens, shape.kvHeads, shape.headDim]
    for (let i = 0; i < shape.layers; i++) {
      const part = async (name: "numbers" | "scales") => {
        const all = await layer(i)
        return "scales" in all ? all[name] : all
      }
      add(`kv.${i}`, STORED_TYPE[origin.kv], dims, () => part("numbers"))
      if (origin.kv === "int8") add(`kv_scales.${i}`, "F32", dims.slice(0, 3), () => part("scales"))
    }
  }

  const hashes: Record<string, string> = {}
  for (const [name, { bytes }] of contents) hashes[name] = await sha256(await bytes())
  const metadata = { "isaac.session": VERSION, "isaac.sha256": JSON.stringify(hashes) }
  const layout = layoutSafetensors(
    [...contents.values()].map(({ plan }) => plan),
    metadata,
  )
  return {
    bytes: layout.bytes,
    write: (sink) =>
      writeSafetensors(sink, layout, async function* (name) {
        yield await contents.get(name)!.bytes()
      }),
  }
}

/** The file in memory. */
export async function bytesOfSession({ bytes, write }: SessionWriter): Promise<Uint8Array> {
  const all = new Uint8Array(bytes)
  let at = 0
  const append = async (piece: Uint8Array) => {
    all.set(piece, at)
    at += piece.byteLength
  }
  await write({ name: "the saved session", write: append, async close() {} })
  return all
}

const STORED_TYPE = { f32: "F32", bf16: "BF16", int8: "I8" } as const

export interface SavedSession extends SavedConversation {
  /** Throws bad_input for damaged bytes, and what the source throws. */
  readonly layer: KvLayer
}

/**
 * Read all but the keys and values, which are read when asked for: the source must stay open till then.
 *
 * Throws bad_input for a file that is none, is damaged or contradicts itself, unsupported for a version that is not
 * known, bad_image for pixels that are none, and what the source throws.
 *
 * @param shape what keys and values of the model look like
 */
export async function readSession(source: ByteSource, shape: KvShape): Promise<SavedSession> {
  const bad = (what: string) =>
    new IsaacError("bad_input", `${source.name} is no saved session, or is damaged: ${what}. Save the session again.`)

  // 1. Is it one at all?
  const { tensors, metadata } = await readHeader(source, bad)
  const version = Object.hasOwn(metadata, "isaac.session") ? metadata["isaac.session"] : undefined
  if (version === undefined) throw bad("its metadata has no isaac.session")
  if (version !== VERSION) {
    throw new IsaacError(
      "unsupported",
      `${source.name} is a session in the form ${shown(version)}; this version reads ${VERSION}. ` +
        "Use the version of the package that saved it.",
    )
  }
  const hashes = parseObject(metadata["isaac.sha256"], "isaac.sha256", bad)
  const take = async (name: string, dtype: SafetensorsType, dims: readonly (number | undefined)[]) => {
    const info = tensors.get(name)
    if (info === undefined) throw bad(`it has no ${name}`)
    const fits = info.dtype === dtype && info.shape.length === dims.length
    if (!fits || dims.some((size, i) => size !== undefined && size !== info.shape[i])) {
      const wanted = dims.map((size) => size ?? "n").join(", ")
      throw bad(`${name} is ${info.dtype} [${info.shape.join(", ")}], ${dtype} [${wanted}] is needed`)
    }
    if (name === "session" && info.bytes > MAX_JSON) {
      throw bad(`${name} has ${info.bytes} bytes, at most ${MAX_JSON} are read`)
    }
    const bytes = await source.read(info.offset, info.bytes)
    if ((await sha256(bytes)) !== hashes[name])
      throw bad(`the ${info.bytes} bytes of ${name} are not those that were saved`)
    return bytes
  }

  // 2. What it says.
  const json = new TextDecoder().decode(await take("session", "U8", [undefined]))
  const about = parseObject(json, "session", bad)
  const { tokens, imageHashes, messages, pictures } = about
  const { model, weights, dtype, kv } = about
  if (typeof model !== "string" || typeof weights !== "string" || typeof dtype !== "string") {
    throw bad("session does not tell its model")
  }
  if (kv !== "f32" && kv !== "bf16" && kv !== "int8") throw bad(`session has keys and values as ${shown(kv)}`)
  if (!isCount(tokens)) throw bad(`session has ${shown(tokens)} tokens`)
  if (!Array.isArray(imageHashes) || !imageHashes.every((hash) => typeof hash === "string")) {
    throw bad("session has no list of hashes of images")
  }
  if (!Array.isArray(pictures)) throw bad("session has no list of pictures")

  // 3. The conversation.
  const loaded: (ImageFile | RgbImage)[] = []
  for (const [i, picture] of pictures.entries()) {
    loaded.push(
      savedPicture(picture, await take(`picture.${i}`, "U8", [undefined]), `picture ${i} of ${source.name}`, bad),
    )
  }
  checkConversation(messages, loaded.length, bad)

  // 4. What was computed.
  const ints = async (name: string, ...dims: number[]) =>
    tokens === 0 ? new Int32Array(0) : aligned(await take(name, "I32", dims), Int32Array)
  const held: HeldTokens = {
    ids: await ints("held.ids", tokens),
    images: await ints("held.images", tokens),
    positions: await ints("held.positions", tokens, 3),
    imageHashes,
  }
  const image = held.images.find((index) => index < -1 || index >= imageHashes.length)
  if (image !== undefined) throw bad(`held.images has ${image}, of ${imageHashes.length} images`)
  const position = held.positions.find((at) => at < 0 || at > MAX_POSITION)
  if (position !== undefined) throw bad(`held.positions has ${position}`)

  return {
    origin: { model, weights, dtype, kv },
    messages,
    pictures: loaded,
    held,
    layer: async (index) => {
      const dims = [2, tokens, shape.kvHeads, shape.headDim]
      const bytes = await take(`kv.${index}`, STORED_TYPE[kv], dims)
      if (kv !== "int8") return kv === "f32" ? aligned(bytes, Float32Array) : aligned(bytes, Uint16Array)
      const scales = await take(`kv_scales.${index}`, "F32", dims.slice(0, 3))
      return { numbers: aligned(bytes, Int8Array), scales: aligned(scales, Float32Array) }
    },
  }
}

type Bad = (what: string) => IsaacError

async function readHeader(source: ByteSource, bad: Bad): Promise<SafetensorsHeader> {
  try {
    return await readSafetensorsHeader(source)
  } catch (error) {
    if (!(isIsaacError(error) && error.code === "bad_checkpoint")) throw error
    throw bad(
      error.message.replace(/^.* is not a valid safetensors file: /s, "").replace(/\. Download it again\.$/, ""),
    )
  }
}

function checkConversation(messages: unknown, pictures: number, bad: Bad): asserts messages is readonly Message[] {
  if (!Array.isArray(messages)) throw bad("session has no list of messages")
  try {
    if (messages.length > 0) checkMessages(messages)
  } catch (error) {
    throw bad((error as Error).message.replace(/\.$/, ""))
  }
  const shownPictures = new Set(
    (messages as Message[])
      .flatMap(({ content }) => (typeof content === "string" ? [] : content))
      .flatMap((part) => (part.type === "image" ? [part.image] : [])),
  )
  if (shownPictures.size !== pictures || [...shownPictures].some((index) => index >= pictures)) {
    throw bad(`its messages show ${shownPictures.size} pictures, it has ${pictures}`)
  }
}

function savedPicture(about: unknown, bytes: Uint8Array, name: string, bad: Bad): ImageFile | RgbImage {
  const { name: file, width, height } = (about ?? {}) as Record<string, unknown>
  if (typeof file === "string") return { name: file, bytes: new Uint8Array(bytes) }
  if (typeof width !== "number" || typeof height !== "number") throw bad(`${name} has neither a name nor a size`)
  if (bytes.length !== width * height * 3) {
    throw bad(`${name} is ${width}×${height} pixels but has ${bytes.length} bytes`)
  }
  return toRgbImage({ width, height, data: new Uint8Array(bytes) }, name)
}

function parseObject(text: string | undefined, name: string, bad: Bad): Readonly<Record<string, unknown>> {
  let value: unknown
  try {
    value = JSON.parse(text ?? "")
  } catch {
    throw bad(`${name} is not JSON`)
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw bad(`${name} is no JSON object`)
  return value as Record<string, unknown>
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength)
}

/** Little-endian numbers, copied where they do not lie at a multiple of their size. */
function aligned<T>(
  bytes: Uint8Array,
  view: { new (buffer: ArrayBuffer, offset: number, length: number): T; readonly BYTES_PER_ELEMENT: number },
): T {
  const own = bytes.byteOffset % view.BYTES_PER_ELEMENT === 0 ? bytes : new Uint8Array(bytes)
  return new view(own.buffer as ArrayBuffer, own.byteOffset, own.byteLength / view.BYTES_PER_ELEMENT)
}
