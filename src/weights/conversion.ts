/**
 * What a converted checkpoint says about itself, in the `__metadata__` of its weight file.
 *
 * A conversion is an ordinary checkpoint folder. Where matrices are packed (q8, q4), their bytes are stored as U8 tensors
 * under their own names, and the metadata has what safetensors has no place for:
 *
 *     isaac.stored       how matrices are kept: q8, q4 or bf16
 *     isaac.layout       version of all this, and of the packed bytes
 *     isaac.arithmetic   what a packed number means, see PACKED
 *     isaac.shapes       {"name": [out, in], …} of every packed tensor
 *     isaac.types        {"name": "q8", …}: packed tensors that are not of the type `isaac.stored`
 *     isaac.same         {"name": "other name", …}: tensors that are not stored because another has the same numbers
 *     isaac.source       fingerprint of the weights that it was made from
 */

import { IsaacError } from "../errors"
import { isPacked, PACKED, type PackedType, packedBytes } from "../ops/backend"

/** Raised whenever a file that was written before can no longer be read. */
export const LAYOUT_VERSION = "1"

export type ConvertedType = PackedType | "bf16"

export interface PackedMatrix {
  readonly shape: readonly [out: number, in_: number]
  readonly stored: PackedType
}

export interface Conversion {
  /** Of most of the matrices. */
  readonly stored: ConvertedType
  /** The packed tensors, by name. */
  readonly packed: ReadonlyMap<string, PackedMatrix>
  /** Tensors that are not stored → which one has their numbers. */
  readonly same: ReadonlyMap<string, string>
  readonly source: string | undefined
}

export function conversionMetadata({ stored, packed, same, source }: Conversion): Record<string, string> {
  const all = [...packed]
  const others = all.filter(([, matrix]) => matrix.stored !== stored)
  return {
    "isaac.stored": stored,
    "isaac.layout": LAYOUT_VERSION,
    ...(isPacked(stored) && {
      "isaac.arithmetic": arithmeticOf(stored),
      "isaac.shapes": JSON.stringify(Object.fromEntries(all.map(([name, { shape }]) => [name, shape]))),
    }),
    ...(others.length > 0 && {
      "isaac.types": JSON.stringify(Object.fromEntries(others.map(([name, matrix]) => [name, matrix.stored]))),
    }),
    ...(same.size > 0 && { "isaac.same": JSON.stringify(Object.fromEntries(same)) }),
    ...(source !== undefined && { "isaac.source": source }),
  }
}

/** What the numbers of a conversion mean: one to q4 has matrices of q8 too. */
export function arithmeticOf(stored: PackedType): string {
  return stored === "q4" ? `q4: ${PACKED.q4.arithmetic}; q8: ${PACKED.q8.arithmetic}` : PACKED.q8.arithmetic
}

/**
 * What the metadata of one weight file says; undefined for a file that is no conversion.
 *
 * Throws unsupported when this version cannot read it, bad_checkpoint when it contradicts itself or the file.
 *
 * @param storedBytes sizes of the U8 tensors of the file
 */
export function readConversion(
  metadata: Readonly<Record<string, string>>,
  storedBytes: ReadonlyMap<string, number>,
  file: string,
): Conversion | undefined {
  const own = (key: string) => (Object.hasOwn(metadata, key) ? metadata[key] : undefined)
  const [stored, layout, arithmetic] = [own("isaac.stored"), own("isaac.layout"), own("isaac.arithmetic")]
  if (stored === undefined) return undefined

  // 1. Is it something that this version knows?
  const unknown = (what: string) =>
    new IsaacError(
      "unsupported",
      `${file} was converted ${what}, which this version cannot read. Convert the original checkpoint again with this ` +
        "version (isaac convert), or use the version that made it.",
    )
  if (!isPacked(stored) && stored !== "bf16") throw unknown(`to ${JSON.stringify(stored)}`)
  if (layout !== LAYOUT_VERSION)
    throw unknown(`with layout ${JSON.stringify(layout)}; layout ${LAYOUT_VERSION} is known`)
  if (isPacked(stored) && arithmetic !== arithmeticOf(stored)) {
    throw unknown(`with the arithmetic ${JSON.stringify(arithmetic)}; "${arithmeticOf(stored)}" is known`)
  }

  // 2. Does it fit the tensors that are there?
  const bad = (what: string) =>
    new IsaacError("bad_checkpoint", `${file}: ${what}. The file is damaged; convert the original checkpoint again.`)
  const types = parseObject(own("isaac.types"), "isaac.types", bad)
  const packed = new Map<string, PackedMatrix>()
  for (const [name, shape] of Object.entries(parseObject(own("isaac.shapes"), "isaac.shapes", bad))) {
    const stated = `isaac.shapes says ${JSON.stringify(shape)} of "${name}"`
    if (!isMatrixShape(shape)) throw bad(`${stated}, which is no shape of a matrix`)
    const bytes = storedBytes.get(name)
    if (bytes === undefined) throw bad(`${stated}, but the file has no such U8 tensor`)
    const type = Object.hasOwn(types, name) ? types[name] : stored
    if (typeof type !== "string" || !isPacked(type)) throw bad(`${stated}, but it is kept as ${JSON.stringify(type)}`)
    const needed = packedBytes(shape, type)
    if (bytes !== needed) throw bad(`${stated}, which takes ${needed} bytes as ${type}, but ${bytes} are stored`)
    packed.set(name, { shape, stored: type })
  }
  const same = new Map<string, string>()
  for (const [name, other] of Object.entries(parseObject(own("isaac.same"), "isaac.same", bad))) {
    if (typeof other !== "string") throw bad(`isaac.same says ${JSON.stringify(other)} of "${name}"`)
    same.set(name, other)
  }
  return { stored, packed, same, source: own("isaac.source") }
}

function parseObject(
  text: string | undefined,
  key: string,
  bad: (what: string) => IsaacError,
): Readonly<Record<string, unknown>> {
  if (text === undefined) return {}
  try {
    const value: unknown = JSON.parse(text)
    if (value !== null && typeof value === "object" && !Array.isArray(value)) return value as Record<string, unknown>
  } catch {
    // Told below.
  }
  throw bad(`${key} is no JSON object`)
}

function isMatrixShape(value: unknown): value is readonly [number, number] {
  return (
    Array.isArray(value) && value.length === 2 && value.every((n) => Number.isSafeInteger(n) && n >= 1 && n < 2 ** 31)
  )
}
