/** What a model may write before a guided answer: its thoughts. */

import { CustomLanguage, type Grammar, type Language } from "./language"

/**
 * `<think>`, anything, `</think>`, and what follows.
 *
 * @param endsInside whether the answer may end while thinking
 */
export function thinking(grammar: Grammar, then: Language, endsInside: boolean): Language {
  return grammar.sequence(grammar.text("<think>"), thought(grammar, "", then, endsInside))
}

const END_OF_THOUGHT = "</think>"

/** Inside of a <think> block, behind as much of "</think>" as `seen`. The end counts in any case, as it does for readers. */
function thought(grammar: Grammar, seen: string, then: Language, ends: boolean): Language {
  return grammar.once(
    `thought ${seen} ${then.id} ${ends}`,
    () =>
      new CustomLanguage(grammar, {
        ends,
        exit: () => [END_OF_THOUGHT.slice(seen.length), then],
        next: (byte) => {
          if (isLookalike(byte, END_OF_THOUGHT.charCodeAt(seen.length))) return null
          const character = String.fromCharCode(byte).toLowerCase()
          if (character !== END_OF_THOUGHT[seen.length]) {
            return thought(grammar, character === "<" ? "<" : "", then, ends)
          }
          const more = seen + character
          return more === END_OF_THOUGHT ? then : thought(grammar, more, then, ends)
        },
      }),
  )
}

/** Readers take "ı", "İ" for an i and the Kelvin sign for a k. No guided answer spells a tag with them. */
export function isLookalike(byte: number, expected: number): boolean {
  return (byte === 0xc4 && expected === 0x69) || (byte === 0xe2 && expected === 0x6b)
}
