/** A golden case: the events of index.json and the pictures and labels of the case's file, as a TensorStream. */

import { readFile } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import {
  createEvent,
  type Event,
  IsaacError,
  imageToEvent,
  openFile,
  type RgbImage,
  readSafetensorsHeader,
  Stream,
  TensorStream,
  type VisionSizing,
} from "../internal"

export interface GoldenCase {
  readonly name: string
  readonly tensorStream: TensorStream
  /** image_k, as stored. */
  readonly images: readonly RgbImage[]
  /** [B·T]; absent when the file has none. */
  readonly labels: Int32Array | undefined
}

/** An entry of index.json, as far as it is needed here. */
interface CaseEntry {
  readonly name: string
  readonly file: string
  /** One list of events for each batch row, before any truncation. */
  readonly streams: readonly (readonly EventEntry[])[]
  /** Keep the last so many tokens; null keeps all. */
  readonly max_sequence_length: number | null
  /** [start, end) applied afterwards. */
  readonly slice: readonly [number, number] | null
}

type EventEntry =
  | { readonly type: "text" | "padding"; readonly tokens: readonly number[] }
  | { readonly type: "image"; readonly image: number }

/** Read a case; pictures are resized and cut into patches as the processor does. Throws not_found or bad_input. */
export async function readGoldenCase(path: string, sizing: VisionSizing): Promise<GoldenCase> {
  const entry = await findEntry(path)
  const { images, labels } = await readTensors(path)
  const event = (item: EventEntry, time: number): Event => {
    if (item.type !== "image") {
      return createEvent({ type: item.type, time, data: Int32Array.from(item.tokens) })
    }
    const image = images[item.image]
    if (!image) throw new IsaacError("bad_input", `${path} has no image_${item.image}, which its index.json names`)
    return imageToEvent(image, sizing, time)
  }
  let tensorStream = new TensorStream(
    entry.streams.map((items) => Stream.create(items.map(event), ["text", "image", "padding"])),
  )
  const tokens = tensorStream.shape[1]
  const longest = entry.max_sequence_length
  if (longest !== null && tokens > longest) tensorStream = tensorStream.slice(tokens - longest, tokens)
  if (entry.slice) tensorStream = tensorStream.slice(...entry.slice)

  const [batch, length] = tensorStream.shape
  if (labels && labels.length !== batch * length) {
    throw new IsaacError("bad_input", `${path} has ${labels.length} labels for ${batch}×${length} tokens`)
  }
  return { name: entry.name, tensorStream, images, labels }
}

async function findEntry(path: string): Promise<CaseEntry> {
  const index = join(dirname(path), "index.json")
  const text = await readFile(index, "utf8").catch((cause) => {
    throw new IsaacError("not_found", `cannot read ${index}, which describes the case: ${cause.message}`, { cause })
  })
  let cases: unknown
  try {
    cases = (JSON.parse(text) as { cases?: unknown }).cases
  } catch (cause) {
    throw new IsaacError("bad_input", `${index} is not valid JSON: ${(cause as Error).message}`, { cause })
  }
  const entry = Array.isArray(cases) ? cases.find((c: Partial<CaseEntry>) => c?.file === basename(path)) : undefined
  if (!Array.isArray(entry?.streams)) {
    throw new IsaacError("bad_input", `${index} lists no case with the file ${basename(path)}`)
  }
  return entry as CaseEntry
}

async function readTensors(path: string): Promise<{ images: RgbImage[]; labels: Int32Array | undefined }> {
  const source = await openFile(path)
  try {
    const { tensors } = await readSafetensorsHeader(source)
    const images: RgbImage[] = []
    for (let k = 0; ; k++) {
      const info = tensors.get(`image_${k}`)
      if (!info) break
      const [height, width, channels] = info.shape
      if (info.dtype !== "U8" || info.shape.length !== 3 || channels !== 3) {
        throw new IsaacError("bad_input", `${path}: image_${k} is ${info.dtype} [${info.shape}], not U8 [h, w, 3]`)
      }
      images.push({ width, height, data: await source.read(info.offset, info.bytes) })
    }
    const labels = tensors.get("labels")
    if (labels && labels.dtype !== "I64") {
      throw new IsaacError("bad_input", `${path}: labels are ${labels.dtype}, not I64`)
    }
    const bytes = labels && (await source.read(labels.offset, labels.bytes))
    return { images, labels: bytes && Int32Array.from(new BigInt64Array(bytes.slice().buffer), Number) }
  } finally {
    await source.close()
  }
}
