/**
 * A checkpoint folder: its JSON files and, by canonical name, its tensors, each read when asked for.
 *
 * Weights are one model.safetensors, or shards with model.safetensors.index.json. Everything here comes from
 * strangers: names are checked before they become paths, and what contradicts itself is refused.
 */

import { IsaacError, plainText, shown } from "../errors"
import { type FilePlace, PACKED, type PackedSource, type PackedType } from "../ops/backend"
import { canonicalName, canonicalShape, compareNames } from "./checkpoint-names"
import { readConversion } from "./conversion"
import { readSafetensorsHeader, type SafetensorsType, type TensorInfo, toFloat32 } from "./safetensors"
import { type ByteSource, type FileSet, readJson } from "./source"

/** How a tensor is stored: numbers, or a matrix packed as the backends compute on it (see conversion.ts). */
export type TensorType = SafetensorsType | PackedSource

/** One tensor of a checkpoint, not yet read. */
export interface CheckpointTensor {
  /** Canonical (Isaac 0.1) name. */
  readonly name: string
  /** The name in the file. */
  readonly storedName: string
  readonly file: string
  readonly dtype: TensorType
  /** Canonical shape; linear weights are [out, in], packed ones too. */
  readonly shape: readonly number[]
  readonly bytes: number
}

/** The stored numbers of one tensor: little-endian, row-major. */
export interface TensorBytes {
  readonly bytes: Uint8Array
  readonly dtype: TensorType
  readonly shape: readonly number[]
  /** The same numbers widened to float32 (F32, F16, BF16; F64 rounded); throws unsupported for others. */
  float32(): Float32Array
}

export interface Checkpoint {
  /** For messages: the folder or address. */
  readonly name: string
  readonly config: Readonly<Record<string, unknown>>
  readonly generationConfig?: Readonly<Record<string, unknown>>
  /** processor_config.json over preprocessor_config.json, whichever exist. */
  readonly processorConfig?: Readonly<Record<string, unknown>>
  /** The `__metadata__` of the weight files, all shards together. */
  readonly metadata: Readonly<Record<string, string>>
  readonly tensors: ReadonlyMap<string, CheckpointTensor>
  /** Throws bad_checkpoint naming every tensor of `needed` that is missing and every one in neither list. */
  expectNames(needed: Iterable<string>, optional: Iterable<string>): void
  read(name: string): Promise<TensorBytes>
  /** `length` stored bytes of a tensor from `offset` on: for tensors that are not wanted in memory whole. */
  readPart(name: string, offset: number, length: number): Promise<Uint8Array>
  /** Where a tensor's bytes lie in a file of this machine; undefined where they come from elsewhere. */
  place(name: string): FilePlace | undefined
  /** Whether two tensors have the same dtype, shape and bytes; reads both in pieces and stops at a difference. */
  sameTensor(a: string, b: string): Promise<boolean>
  close(): Promise<void>
}

/** What matrices are packed as: q4 where some of them are; undefined where all tensors are plain numbers. */
export function packedTypeOfTensors(tensors: ReadonlyMap<string, { readonly dtype: string }>): PackedType | undefined {
  const dtypes = new Set(Array.from(tensors.values(), ({ dtype }) => dtype))
  return dtypes.has("Q4") ? "q4" : dtypes.has("Q8") ? "q8" : undefined
}

const SINGLE = "model.safetensors"
const INDEX = "model.safetensors.index.json"

/**
 * Open a checkpoint folder; reads the JSON files and the headers of the weight files, no tensor.
 * Throws bad_checkpoint: no config.json, no weights, a missing shard, a tensor in two shards, an index that names a
 * tensor its shard does not hold, a truncated file, two names for one tensor, a conversion that contradicts itself.
 * Throws unsupported for a conversion that this version does not know.
 */
export async function openCheckpoint(files: FileSet): Promise<Checkpoint> {
  // 1. The JSON files beside the weights.
  if (!(await files.has("config.json"))) {
    throw new IsaacError("bad_checkpoint", `${files.name} has no config.json, so it is no Isaac checkpoint`)
  }
  const config = await readJson(files, "config.json")
  const generationConfig = await readOptional(files, "generation_config.json")
  const preprocessor = await readOptional(files, "preprocessor_config.json")
  const processor = await readOptional(files, "processor_config.json")
  const processorConfig = preprocessor || processor ? { ...preprocessor, ...processor } : undefined

  // 2. Which weight files there are, and what each must hold.
  const shards = await listShards(files)

  // 3. Their headers.
  const sources: ByteSource[] = []
  const close = async () => {
    for (const source of sources) await source.close()
  }
  try {
    const tensors = new Map<string, CheckpointTensor>()
    const places = new Map<string, Place>()
    const fileOf = new Map<string, string>()
    const metadata: Record<string, string> = {}
    for (const [file, listed] of shards) {
      const source = await files.open(file)
      sources.push(source)
      const header = await readSafetensorsHeader(source)
      Object.assign(metadata, header.metadata)
      const absent = listed.filter((name) => !header.tensors.has(name))
      if (absent.length > 0) {
        throw new IsaacError(
          "bad_checkpoint",
          `${files.name}/${INDEX} says that ${file} holds ${list(absent)}, but it does not. Download both again.`,
        )
      }
      const plainBytes = [...header.tensors.values()].filter(({ dtype }) => dtype === "U8")
      const sizes = new Map(plainBytes.map(({ name, bytes }) => [name, bytes]))
      const conversion = readConversion(header.metadata, sizes, source.name)
      for (const info of header.tensors.values()) {
        const other = fileOf.get(info.name)
        if (other !== undefined) {
          throw new IsaacError(
            "bad_checkpoint",
            `${files.name}: ${shown(info.name)} is in two shards, ${other} and ${file}`,
          )
        }
        fileOf.set(info.name, file)
        const name = canonicalName(info.name)
        if (name === undefined) continue
        const twin = tensors.get(name)
        if (twin !== undefined) {
          throw new IsaacError(
            "bad_checkpoint",
            `${files.name}: ${shown(twin.storedName)} and ${shown(info.name)} are two names of one tensor, ${list([name])}`,
          )
        }
        const packed = conversion?.packed.get(info.name)
        const shape = packed?.shape ?? canonicalShape(name, info.shape)
        const dtype = packed ? PACKED[packed.stored].source : info.dtype
        tensors.set(name, { name, storedName: info.name, file, dtype, shape, bytes: info.bytes })
        places.set(name, { source, info })
      }
      for (const [name, other] of conversion?.same ?? []) {
        const [tensor, place] = [tensors.get(other), places.get(other)]
        if (!tensor || !place || tensors.has(name)) {
          throw new IsaacError(
            "bad_checkpoint",
            `${source.name} says that ${list([name])} has the numbers of ${list([other])}, but ` +
              `${tensor ? `${list([name])} is stored itself` : `${list([other])} is not there`}. Convert the original checkpoint again.`,
          )
        }
        tensors.set(name, { ...tensor, name })
        places.set(name, place)
      }
    }
    return checkpoint(files.name, { config, generationConfig, processorConfig, metadata, tensors, close }, places)
  } catch (error) {
    await close()
    throw error
  }
}

type Place = { readonly source: ByteSource; readonly info: TensorInfo }

function checkpoint(
  name: string,
  parts: Pick<Checkpoint, "config" | "generationConfig" | "processorConfig" | "metadata" | "tensors" | "close">,
  places: ReadonlyMap<string, Place>,
): Checkpoint {
  const place = (tensor: string): Place => {
    const found = places.get(tensor)
    if (!found) throw new IsaacError("bad_checkpoint", `${name} has no tensor ${tensor}`)
    return found
  }
  const readPart = async (tensor: string, offset: number, length: number): Promise<Uint8Array> => {
    const { source, info } = place(tensor)
    if (offset < 0 || length < 0 || offset + length > info.bytes) {
      throw new IsaacError("internal", `${tensor} has ${info.bytes} bytes, not ${offset}…${offset + length}`)
    }
    return source.read(info.offset + offset, length)
  }
  const read = async (tensor: string): Promise<TensorBytes> => {
    const { info } = place(tensor)
    const { dtype, shape } = parts.tensors.get(tensor)!
    const bytes = await readPart(tensor, 0, info.bytes)
    return { bytes, dtype, shape, float32: () => toFloat32(bytes, info.dtype) }
  }
  const compare = async (a: string, b: string): Promise<boolean> => {
    const [x, y] = [place(a), place(b)]
    if (x.info === y.info) return true
    const [s, t] = [parts.tensors.get(a)!, parts.tensors.get(b)!]
    if (s.dtype !== t.dtype || String(s.shape) !== String(t.shape)) return false
    const piece = 16 << 20
    for (let at = 0; at < x.info.bytes; at += piece) {
      const length = Math.min(piece, x.info.bytes - at)
      const left = await x.source.read(x.info.offset + at, length)
      const right = await y.source.read(y.info.offset + at, length)
      for (let i = 0; i < length; i++) if (left[i] !== right[i]) return false
    }
    return true
  }
  /** Comparisons are of gigabytes, and asked for by the plan, the loading and the conversion. */
  const compared = new Map<string, boolean>()
  return {
    name,
    ...parts,
    read,
    readPart,
    place(tensor) {
      const { source, info } = place(tensor)
      return source.path === undefined ? undefined : { path: source.path, fileBytes: source.size, offset: info.offset }
    },
    expectNames(needed, optional) {
      const { missing, leftOver } = compareNames(needed, optional, parts.tensors.keys())
      const complaints: string[] = []
      if (missing.length > 0) complaints.push(`it lacks ${missing.length} tensors: ${list(missing)}`)
      if (leftOver.length > 0) {
        const stored = leftOver.map((tensor) => parts.tensors.get(tensor)!.storedName)
        complaints.push(`it has ${leftOver.length} that the model does not use: ${list(stored)}`)
      }
      if (complaints.length > 0) {
        throw new IsaacError("bad_checkpoint", `${name} does not fit its config.json: ${complaints.join("; ")}`)
      }
    },
    async sameTensor(a, b) {
      const key = `${a}\0${b}`
      const same = compared.get(key) ?? (await compare(a, b))
      compared.set(key, same)
      return same
    },
  }
}

async function readOptional(files: FileSet, file: string): Promise<Record<string, unknown> | undefined> {
  return (await files.has(file)) ? readJson(files, file) : undefined
}

/** Weight files and the stored names the index promises in each (none for a single file). */
async function listShards(files: FileSet): Promise<Map<string, string[]>> {
  if (await files.has(SINGLE)) return new Map([[SINGLE, []]])
  if (!(await files.has(INDEX))) {
    throw new IsaacError("bad_checkpoint", `${files.name} has neither ${SINGLE} nor ${INDEX}: there are no weights`)
  }
  const { weight_map: map } = await readJson(files, INDEX)
  if (map === null || typeof map !== "object" || Array.isArray(map)) {
    throw new IsaacError("bad_checkpoint", `${files.name}/${INDEX} has no weight_map`)
  }
  const shards = new Map<string, string[]>()
  for (const [tensor, file] of Object.entries(map)) {
    // A shard is a plain file beside the index: nothing in a download may point out of its folder.
    if (typeof file !== "string" || !/^[\w][\w.-]*\.safetensors$/.test(file)) {
      throw new IsaacError(
        "bad_checkpoint",
        `${files.name}/${INDEX} puts ${shown(tensor)} into ${shown(file)}, which is no file name of a shard`,
      )
    }
    const names = shards.get(file)
    if (names) names.push(tensor)
    else shards.set(file, [tensor])
  }
  if (shards.size === 0) throw new IsaacError("bad_checkpoint", `${files.name}/${INDEX} lists no tensors`)
  for (const [file, names] of shards) {
    if (!(await files.has(file))) {
      throw new IsaacError(
        "bad_checkpoint",
        `${files.name} lacks the shard ${file} (${names.length} tensors, one of ${shards.size} shards). Download it.`,
      )
    }
  }
  return shards
}

/** At most eight names, then how many more. */
function list(names: readonly string[]): string {
  const first = names.slice(0, 8).map((name) => plainText(name.length > 200 ? `${name.slice(0, 200)}…` : name))
  return names.length > 8 ? `${first.join(", ")} and ${names.length - 8} more` : first.join(", ")
}
