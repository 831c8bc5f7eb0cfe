import type { DecoderShape } from "./shape.mjs"

export interface GgufTensor {
  readonly name: string
  readonly shape: readonly number[]
  readonly stored: "F32" | "Q4_0" | "Q8_0"
  readonly offset: number
  readonly bytes: number
}
export function ggufHeader(
  stored: "Q4_0" | "Q8_0",
  shape?: DecoderShape,
): { readonly header: Uint8Array; readonly tensors: readonly GgufTensor[]; readonly bytes: number }
export function writeGguf(path: string, stored: "Q4_0" | "Q8_0", shape?: DecoderShape, seed?: number): number
