import type { DecoderShape } from "./shape.mjs"

type Field = number | bigint | string | Uint8Array | readonly Field[]

/** A protobuf field: its bytes, perhaps in nested arrays. */
export function field(number: number, value: Field): Uint8Array[]
export function onnxDecoder(
  dataName: string,
  shape?: DecoderShape,
): {
  readonly model: Uint8Array
  readonly weights: readonly { readonly offset: number; readonly bytes: number }[]
  readonly bytes: number
}
export function writeOnnx(path: string, shape?: DecoderShape, seed?: number): number
