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
 *     isaac.same         {"name": "other name", …}: tensors that are not stored because another has the same numbers
 *     isaac.source       fingerprint of the weights that it was made from
 */

import { IsaacError } from "../errors"
import { isPacked, PACKED, type PackedType, packedBytes } from "../ops/backend"

/** Raised whenever a file that was written before can no longer be read. */
export const LAYOUT_VERSION = "1"

export type ConvertedType = PackedType | "bf16"

export interface Conversion {
  readonly stored: ConvertedType
  /** Shapes of the packed tensors, by name. */
  readonly shapes: ReadonlyMap<string, readonly [out: number, in_: number]>
  /** Tensors that are not stored → which one has their numbers. */
  readonly same: ReadonlyMap<string, string>
  readonly source: string | undefined
}

export function conversionMetadata({ stored, shapes, same, source }: Conversion): Record<string, string> {
  return {
    "isaac.stored": stored,
    "isaac.layout": LAYOUT_VERSION,
    ...(isPacked(stored) && {
      "isaac.arithmetic": PACKED[stored].arithmetic,
      "isaac.shapes": JSON.stringify(Object.fromEntries(shapes)),
    }),
    ...(same.size > 0 && { "isaac.same": JSON.stringify(Object.fromEntries(same)) }),
    ...(source !== undefined && { "isaac.source": source }),
  }
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
  if (isPacked(stored) && arithmetic !== PACKED[stored].arithmetic) {
    throw unknown(`with the arithmetic ${JSON.stringify(arithmetic)}; "${PACKED[stored].arithmetic}" is known`)
  }

  // 2. Does it fit the tensors that are there?
  const bad = (what: string) =>
    new IsaacError("bad_checkpoint", `${file}: ${what}. The file is damaged; convert the original checkpoint again.`)
  const shapes = new Map<string, readonly [number, number]>()
  for (const [name, shape] of Object.entries(parseObject(own("isaac.shapes"), "isaac.shapes", bad))) {
    const stated = `isaac.shapes says ${JSON.stringify(shape)} of "${name}"`
    if (!isMatrixShape(shape)) throw bad(`${stated}, which is no shape of a matrix`)
    const bytes = storedBytes.get(name)
    if (bytes === undefined) throw bad(`${stated}, but the file has no such U8 tensor`)
    if (!isPacked(stored)) throw bad(`${stated}, but matrices kept as ${stored} are not packed`)
    const needed = packedBytes(shape, stored)
    if (bytes !== needed) throw bad(`${stated}, which takes ${needed} bytes as ${stored}, but ${bytes} are stored`)
    shapes.set(name, shape)
  }
  const same = new Map<string, string>()
  for (const [name, other] of Object.entries(parseObject(own("isaac.same"), "isaac.same", bad))) {
    if (typeof other !== "string") throw bad(`isaac.same says ${JSON.stringify(other)} of "${name}"`)
    same.set(name, other)
  }
  return { stored, shapes, same, source: own("isaac.source") }
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
