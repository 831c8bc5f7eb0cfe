/** A product with a weight as the kernels get it, and how its rows are cut into blocks. */

/** Pointers and sizes of out [rows, N] = activation(x [rows, K] · Wᵀ + bias) + residual; 0 for what there is not. */
export interface LinearJob {
  readonly x: number
  readonly out: number
  readonly bias: number
  readonly residual: number
  readonly activation: number
  readonly rows: number
}

export function roundUp(n: number, multiple: number): number {
  return Math.ceil(n / multiple) * multiple
}

/** The size of blocks of at most `most` that differ least; a multiple of `unit`, unless one block takes all. */
export function balanced(n: number, most: number, unit: number): number {
  if (n <= most) return n
  return Math.min(roundUp(n / Math.ceil(n / most), unit), Math.max(unit, most - (most % unit)))
}
