/**
 * From logits to the next token: greedy, or drawn at a temperature from the top-k and top-p candidates.
 */

export interface SamplingOptions {
  /** 0 (the default) takes the likeliest token; higher draws more freely. */
  readonly temperature?: number
  /** Draw from the k likeliest tokens only; 0 (the default) sets no limit. */
  readonly topK?: number
  /** Draw from the fewest tokens whose probabilities reach this sum; 1 (the default) sets no limit. */
  readonly topP?: number
  /** Same seed, same tokens; default: a random one. */
  readonly seed?: number
}
