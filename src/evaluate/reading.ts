/**
 * Error rates of text that was read.
 *
 *   CER = Σ edits between characters / Σ characters of the true texts      WER: the same with words
 *
 * Edits are the fewest insertions, deletions and substitutions (Levenshtein). Characters are Unicode code points. The
 * sums run over all texts, so long texts weigh more; rates above 1 occur where much more is written than is there.
 * Normalised: in NFC, each run of white space one space, none at the ends. Case and punctuation count always.
 */

import { mean } from "./detection"

export interface ReadText {
  readonly expected: string
  readonly said: string
}

export interface ReadingScores {
  readonly texts: number
  /** Share of texts without an error. */
  readonly exact: number | null
  /** null when the true texts are empty. */
  readonly cer: number | null
  readonly wer: number | null
}

export function readingScores(texts: readonly ReadText[]): { raw: ReadingScores; normalised: ReadingScores } {
  return {
    raw: scoresOf(texts),
    normalised: scoresOf(
      texts.map(({ expected, said }) => ({ expected: normaliseText(expected), said: normaliseText(said) })),
    ),
  }
}

export function normaliseText(text: string): string {
  return text.normalize("NFC").replace(/\s+/gu, " ").trim()
}

function scoresOf(texts: readonly ReadText[]): ReadingScores {
  return {
    texts: texts.length,
    exact: mean(texts.map(({ expected, said }) => Number(expected === said))),
    cer: rate(texts, (text) => [...text]),
    wer: rate(texts, (text) => text.split(/\s+/u).filter(Boolean)),
  }
}

function rate(texts: readonly ReadText[], unitsOf: (text: string) => string[]): number | null {
  let edits = 0
  let units = 0
  for (const { expected, said } of texts) {
    const wanted = unitsOf(expected)
    edits += editDistance(wanted, unitsOf(said))
    units += wanted.length
  }
  return units === 0 ? null : edits / units
}

/** Fewest insertions, deletions and substitutions that make one list of the other. Time in the product of the lengths. */
export function editDistance(a: readonly string[], b: readonly string[]): number {
  // One row of the table: edits from the first i of a to the first j of b.
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + Number(a[i - 1] !== b[j - 1])))
    }
    row = next
  }
  return row[b.length]
}
