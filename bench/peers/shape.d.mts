export interface DecoderShape {
  readonly layers: number
  readonly hidden: number
  readonly heads: number
  readonly kvHeads: number
  readonly headDim: number
  readonly mlp: number
  readonly vocab: number
  readonly eps: number
  readonly ropeTheta: number
}
export const decoder: DecoderShape
export function decoderNumbers(shape?: DecoderShape): number
