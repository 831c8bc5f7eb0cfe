/**
 * Regular expressions out of a tokenizer.json: the one thing in a checkpoint that runs on what people type. Backtracking
 * can take for ever, so only patterns of the plain kind that tokenizers have are run.
 */

/** Longest pattern, in characters; GPT-4o's has 300. */
const LONGEST = 2000
/** Most unbounded repetitions that may stand one after another: known patterns have two ("\s*[\r\n]+"). */
const MOST_REPEATS = 3

/** Why a pattern is not run; undefined when its time grows gently with the text. */
export function patternDanger(pattern: string): string | undefined {
  if (pattern.length > LONGEST) return `it has ${pattern.length} characters, at most ${LONGEST} are read`
  let repeats = 0
  let classes = 0
  /** What a repetition would apply to. */
  let last: "atom" | "group" | "repeat" = "atom"
  for (let i = 0; i < pattern.length; i++) {
    const character = pattern[i]
    if (character === "\\") {
      if (classes === 0 && /[1-9k]/.test(pattern[i + 1] ?? "")) return "it refers back to what it has matched"
      i++
      last = "atom"
    } else if (character === "[") classes++
    else if (classes > 0) {
      if (character === "]") classes--
      last = "atom"
    } else if (character === ")") last = "group"
    else if (character === "|") {
      repeats = 0
      last = "atom"
    } else if (last !== "repeat" && isUnbounded(pattern, i)) {
      if (last === "group") return "it repeats a group without a limit"
      if (++repeats > MOST_REPEATS) return `it has more than ${MOST_REPEATS} repetitions without a limit in a row`
      last = "repeat"
    } else last = character === "+" || character === "?" ? last : "atom"
  }
  return undefined
}

/** True for *, + and {n,} at `at`. */
function isUnbounded(pattern: string, at: number): boolean {
  const character = pattern[at]
  return character === "*" || character === "+" || (character === "{" && /^\{\d*,\}/.test(pattern.slice(at, at + 12)))
}
