/**
 * Whether short answers are right, by the convention of the VQA dataset (Antol et al., "VQA: Visual Question
 * Answering", 2015; https://visualqa.org/evaluation.html).
 *
 * Normalised: lower case, without punctuation, without articles, "zero" … "ten" and "none" as digits, apostrophes of
 * contractions put back. With the answers of n ≥ 4 people, accuracy is the mean over all n ways to leave one of them out
 * of min(those of the others who gave this answer / 3, 1). With fewer, any of them is right.
 */

import { mean } from "./detection"

export interface VqaPair {
  /** What people answered, each as often as it was given, or all that is right. */
  readonly accepted: readonly string[]
  readonly said: string
}

export interface VqaScores {
  readonly questions: number
  /** Share of answers that are, letter for letter, one that was accepted; spaces at the ends do not count. */
  readonly exact: number | null
  /** The same, normalised. */
  readonly normalised: number | null
  /** Mean accuracy by agreement of people. */
  readonly accuracy: number | null
}

/** From so many answers on they are votes. */
const VOTES = 4

export function vqaScores(pairs: readonly VqaPair[]): VqaScores {
  return {
    questions: pairs.length,
    exact: mean(pairs.map(({ accepted, said }) => Number(accepted.some((answer) => answer.trim() === said.trim())))),
    normalised: mean(
      pairs.map(({ accepted, said }) => {
        const answer = normaliseAnswer(said)
        return Number(accepted.some((other) => normaliseAnswer(other) === answer))
      }),
    ),
    accuracy: mean(pairs.map(vqaAccuracy)),
  }
}

/** 0 … 1 */
export function vqaAccuracy({ accepted, said }: VqaPair): number {
  const answer = normaliseAnswer(said)
  const votes = accepted.map((other) => normaliseAnswer(other) === answer)
  const agreeing = votes.filter(Boolean).length
  if (votes.length < VOTES) return Math.min(agreeing, 1)
  return mean(votes.map((vote) => Math.min((agreeing - Number(vote)) / 3, 1))) ?? 0
}

const NUMBERS: ReadonlyMap<string, string> = new Map([
  ["none", "0"],
  ...["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"].map(
    (word, value) => [word, String(value)] as const,
  ),
])
const ARTICLES: ReadonlySet<string> = new Set(["a", "an", "the"])

/** Words that people write without their apostrophe, and never mean as another word. */
const CONTRACTIONS: ReadonlyMap<string, string> = new Map(
  (
    "ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he's how'd how'll how's isn't it'd " +
    "it'll ma'am might've mightn't must've mustn't needn't o'clock oughtn't shan't should've shouldn't somebody's " +
    "someone'd someone'll someone's something'd something'll that's there'd there're there's they'd they'll they're " +
    "they've wasn't we've weren't what'll what're what's what've when's where'd where's where've who'd who'll who's " +
    "who've why'll why're why's won't would've wouldn't y'all you'd you'll you're you've"
  )
    .split(" ")
    .map((word) => [word.replaceAll("'", ""), word]),
)

const PUNCTUATION = [...";/[]\"{}()=+\\_-><@`,?!'"]

export function normaliseAnswer(text: string): string {
  const line = text.normalize("NFC").replaceAll("’", "'")
  return withoutPunctuation(line)
    .toLowerCase()
    .split(/\s+/u)
    .map((word) => NUMBERS.get(word) ?? word)
    .filter((word) => word !== "" && !ARTICLES.has(word))
    .map((word) => CONTRACTIONS.get(word) ?? word)
    .join(" ")
}

/** A mark parts words, but in a text with a number such as 1,000 it is dropped, and so are apostrophes always. */
function withoutPunctuation(text: string): string {
  const grouped = /\d,\d/.test(text)
  let plain = text
  for (const mark of PUNCTUATION) plain = plain.replaceAll(mark, grouped || mark === "'" ? "" : " ")
  return plain.replace(/\.(?!\d)/g, "")
}
