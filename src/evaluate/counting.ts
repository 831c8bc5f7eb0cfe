/**
 * How far counts are off.
 *
 *   exact = share of counts that are right      MAE = mean of |said − true|      RMSE = √(mean of (said − true)²)
 *
 * An answer without a number is taken for 0 and never for right.
 */

import { mean } from "./detection"

export interface CountPair {
  readonly expected: number
  /** null: the answer has no number. */
  readonly said: number | null
}

export interface CountScores {
  readonly questions: number
  readonly unanswered: number
  readonly exact: number | null
  readonly mae: number | null
  readonly rmse: number | null
  /** Mean of said − true: below 0 where too few are seen. */
  readonly bias: number | null
}

export function countScores(pairs: readonly CountPair[]): CountScores {
  const errors = pairs.map(({ expected, said }) => (said ?? 0) - expected)
  const square = mean(errors.map((error) => error ** 2))
  return {
    questions: pairs.length,
    unanswered: pairs.filter(({ said }) => said === null).length,
    exact: mean(pairs.map(({ expected, said }) => Number(said === expected))),
    mae: mean(errors.map(Math.abs)),
    rmse: square === null ? null : Math.sqrt(square),
    bias: mean(errors),
  }
}
