/** What the packed storage types have in common: panels of Q8_PANEL outputs, the same on every backend and in files. */

import type { StoredType } from "./backend"
import { Q4_ARITHMETIC, q4PanelBytes } from "./q4-layout"
import { Q8_ARITHMETIC, Q8_PANEL, q8PanelBytes } from "./q8-layout"

/** Storage types whose packed bytes are written to files as they are. */
export type PackedType = "q8" | "q4"
/** Such bytes as the source of a weight. */
export type PackedSource = "Q8" | "Q4"

interface PackedLayout {
  readonly source: PackedSource
  /** The scheme in a word; files that say another mean other numbers. */
  readonly arithmetic: string
  /** Bytes of a panel of a matrix with rows of `inner` numbers. */
  panelBytes(inner: number): number
}

export const PACKED: Readonly<Record<PackedType, PackedLayout>> = {
  q8: { source: "Q8", arithmetic: Q8_ARITHMETIC, panelBytes: q8PanelBytes },
  q4: { source: "Q4", arithmetic: Q4_ARITHMETIC, panelBytes: q4PanelBytes },
}

/** Of any type: whether it is one that is packed. */
export function isPacked(stored: string): stored is PackedType {
  return Object.hasOwn(PACKED, stored)
}

/** Of the type of any source or tensor: whether its bytes are packed. */
export function isPackedSource(source: string): source is PackedSource {
  return source === "Q8" || source === "Q4"
}

/** The storage type of packed bytes; undefined for plain numbers. */
export function packedTypeOf(source: string): PackedType | undefined {
  return isPackedSource(source) ? (source === "Q8" ? "q8" : "q4") : undefined
}

/**
 * Bytes of a weight: for packed types exactly those of `Backend.readWeight`, in memory and in files; for f32 and bf16
 * those of the numbers, to which a backend may add a few rows and columns of padding.
 */
export function packedBytes([out, inner]: readonly [out: number, in_: number], stored: StoredType): number {
  switch (stored) {
    case "f32":
      return out * inner * 4
    case "bf16":
      return out * inner * 2
    default:
      return Math.ceil(out / Q8_PANEL) * PACKED[stored].panelBytes(inner)
  }
}
