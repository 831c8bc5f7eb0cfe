/**
 * The kernels of kernels/ by name, each with its arguments in the order of its struct there. Every argument, pointers
 * included, is written as a double.
 */

/** Both attention kernels take the same: `attend` has queries side by side, `attend_few` keys. */
const ATTENTION = [
  "q",
  "out",
  "queries",
  "queryCount",
  "blocks",
  "heads",
  "kvHeads",
  "headDim",
  "stored",
  "causal",
  "scale",
  "scratch",
  "scratchSize",
  "partials",
] as const

/** Name → names of the arguments, in order. */
export const KERNELS = {
  pack_weight: ["source", "sourceType", "target", "stored", "rows", "in", "k"],
  embed: ["ids", "weight", "stored", "in", "k", "out"],
  pack_rows: ["x", "target", "rows", "in", "k"],
  linear: ["x", "weight", "stored", "out", "bias", "residual", "activation", "rows", "columns", "k", "kStart", "kEnd"],
  pack_q8: ["source", "sourceType", "target", "rows", "in"],
  check_q8: ["weight", "flags", "in"],
  embed_q8: ["ids", "weight", "in", "out"],
  quantise_rows: ["x", "target", "rows", "in"],
  linear_q8: ["x", "weight", "out", "bias", "residual", "activation", "rows", "columns", "in"],
  pack_q4: ["source", "sourceType", "target", "rows", "in"],
  check_q4: ["weight", "flags", "in"],
  embed_q4: ["ids", "weight", "in", "out"],
  linear_q4: ["x", "weight", "out", "bias", "residual", "activation", "rows", "columns", "in"],
  layer_norm: ["x", "weight", "bias", "out", "width", "eps"],
  rms_norm: ["x", "weight", "out", "width", "eps"],
  rope: ["x", "cos", "sin", "heads", "headDim"],
  silu_map: ["x", "y", "out", "size"],
  gelu_map: ["x", "y", "out", "size"],
  add_map: ["x", "y", "out", "size"],
  swiglu_map: ["x", "y", "out", "size"],
  exp_map: ["x", "y", "out", "size"],
  copy_map: ["x", "y", "out", "size"],
  gather_rows: ["x", "index", "out", "rowSize"],
  kv_write: ["k", "v", "writes", "kvHeads", "headDim", "stored"],
  attend: ATTENTION,
  attend_few: ATTENTION,
  join_ranges: ["partials", "out", "queries", "heads", "headDim"],
  pack_pairs: ["k", "v", "writes", "heads", "headDim"],
  attend_pairs: ["q", "out", "queries", "queryCount", "blocks", "heads", "headDim", "scale", "scratch", "scratchSize"],
  argmax: ["x", "out", "width"],
  top_k: ["x", "values", "indices", "width", "k"],
  log_softmax: ["x", "out", "width"],
  limit_multiply: ["x", "out", "count"],
  limit_dot: ["x", "out", "count"],
  limit_pairs: ["x", "out", "count"],
  limit_read: ["x", "out", "count"],
} as const

export type KernelName = keyof typeof KERNELS
export const KERNEL_NAMES = Object.keys(KERNELS) as KernelName[]
export type KernelArgs<K extends KernelName> = Readonly<Record<(typeof KERNELS)[K][number], number>>

/** The values of `Stored`, `Source` and `Activation` in kernels/abi.h. */
export const STORED_CODE = { f32: 0, bf16: 1, int8: 2 } as const
export const SOURCE_CODE = { F32: 0, F16: 1, BF16: 2 } as const
export const ACTIVATION_CODE = { none: 0, silu: 1, gelu_tanh: 2 } as const

/** Sizes that depend on the vector width a kernel was compiled for. */
export interface KernelSizes {
  /** Outputs in a panel of a packed weight. */
  readonly panel: number
  /** Most rows in a tile of a matrix product. */
  readonly tileRows: number
  /** Most rows in a job of `linear`. */
  readonly linearRows: number
  /** Packed rows are padded with zeros to a multiple of this. */
  readonly kMultiple: number
  /** Most rows in a tile of a product with a q8 or q4 weight. */
  readonly q8TileRows: number
  /** Bytes of a row of `inner` activations, quantised. */
  q8RowBytes(inner: number): number
  /** Numbers in a part of an elementwise job. */
  readonly elements: number
  /** Tokens in a block of keys and values. */
  readonly kvBlock: number
  /** Floats that must follow a block. */
  readonly kvBlockSlack: number
  /** Most neighbouring queries in a part of `attend`. */
  readonly queryRows: number
  /** Floats of scratch memory that each thread needs to attend. */
  attentionScratch(headDim: number): number
  /** Bytes of a head in a block of bfloat16 pairs; 0 where the instruction set does not multiply such pairs. */
  pairBlockBytes(headDim: number): number
  /** Floats of scratch memory that each thread needs to attend over them. */
  pairScratch(headDim: number): number
}

/** The size functions as the compiled kernels export them. */
export interface SizeExports {
  panel_columns(): number
  tile_rows(): number
  linear_rows(): number
  k_multiple(): number
  q8_tile_rows(): number
  q8_row_bytes(inner: number): number
  part_elements(): number
  kv_block_tokens(): number
  kv_block_slack(): number
  query_rows(): number
  attention_scratch(headDim: number): number
  pair_block_bytes(headDim: number): number
  pair_scratch(headDim: number): number
}

export function readSizes(exports: SizeExports): KernelSizes {
  return {
    panel: exports.panel_columns(),
    tileRows: exports.tile_rows(),
    linearRows: exports.linear_rows(),
    kMultiple: exports.k_multiple(),
    q8TileRows: exports.q8_tile_rows(),
    q8RowBytes: (inner) => exports.q8_row_bytes(inner),
    elements: exports.part_elements(),
    kvBlock: exports.kv_block_tokens(),
    kvBlockSlack: exports.kv_block_slack(),
    queryRows: exports.query_rows(),
    attentionScratch: (headDim) => exports.attention_scratch(headDim),
    pairBlockBytes: (headDim) => exports.pair_block_bytes(headDim),
    pairScratch: (headDim) => exports.pair_scratch(headDim),
  }
}
