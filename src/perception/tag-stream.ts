/** Pointing tags out of an answer that is still being written. */

import { IsaacError } from "../errors"
import type { Leaf, TagIssue } from "./pointing"
import { TagMatcher } from "./tag-matcher"

/**
 * Feed it the answer in pieces of any size; each leaf comes out once, in order, when its tag has closed.
 *
 * A leaf in a collection comes out while the collection is open, with the collection's mention and t. Nothing is ever
 * taken back, and all leaves together are `parse(text).leaves`.
 *
 *   const tags = new TagStream()
 *   for await (const delta of deltas) for (const leaf of tags.push(delta)) draw(leaf)
 *   for (const leaf of tags.end()) draw(leaf)
 */
export class TagStream {
  private readonly matcher = new TagMatcher()
  private ended = false

  /** Takes the next piece and returns the leaves that closed with it. */
  push(piece: string): Leaf[] {
    if (this.ended) throw new IsaacError("bad_input", "this TagStream has ended; make a new one for another text")
    return this.matcher.push(piece)
  }

  /** The text is complete: returns the leaves that stood behind a tag that never closed (of a good answer: none). */
  end(): Leaf[] {
    this.ended = true
    return this.matcher.end()
  }

  /** Tags that stayed text, as far as known, in order of discovery; complete after `end`. */
  get issues(): readonly TagIssue[] {
    return this.matcher.issues
  }
}
