/** How likely a given continuation of a prompt is, token by token. */

import { IsaacError } from "../errors"
import type { TensorStream } from "../stream"
import { type AbortFlag, yieldToEventLoop } from "./abort"
import { LogDistribution } from "./logprobs"
import { Session } from "./session"

/** Rows of logits in memory at a time: the vocabulary has 150k columns. */
const ROWS = 16

/**
 * Log-probabilities of `ids`, each given the prompt and those before it: [n].
 *
 * They are those of generation, and what the model's loss averages when no row of the embedding is without a token.
 *
 * @param size ids that can be sampled
 * Throws bad_input for no ids or ids out of range, too_long when they do not fit, out_of_memory, aborted.
 */
export async function scoreTokens(
  session: Session,
  prompt: TensorStream,
  ids: Int32Array,
  { size, maxContext, abort }: { readonly size: number; readonly maxContext: number; readonly abort?: AbortFlag },
): Promise<Float64Array> {
  if (ids.length === 0) {
    throw new IsaacError("bad_input", "there is no answer to score: it has no tokens")
  }
  const wrong = ids.find((id) => id < 0 || id >= size)
  if (wrong !== undefined) {
    throw new IsaacError("bad_input", `the answer has the token ${wrong}; ids go from 0 to ${size - 1}`)
  }
  const [, tokens] = prompt.shape
  if (tokens + ids.length - 1 > maxContext) {
    throw new IsaacError(
      "too_long",
      `the prompt has ${tokens} tokens, the answer ${ids.length}, and a session takes ${maxContext}; ` +
        "shorten them or load with a larger maxContext",
    )
  }
  const release = session.claim()
  try {
    const { logits: first } = await session.prefill(prompt, abort) // [V]
    const logprobs = new Float64Array(ids.length)
    logprobs[0] = new LogDistribution(first, size).of(ids[0])
    // The row of each token tells of the next one; nobody wants to know what follows the last.
    for (let at = 0; at < ids.length - 1; at += ROWS) {
      const piece = ids.subarray(at, Math.min(at + ROWS, ids.length - 1))
      const rows = await Session.advance([session], piece, abort) // [n, V]
      const width = rows.length / piece.length
      for (let i = 0; i < piece.length; i++) {
        const row = rows.subarray(i * width, (i + 1) * width)
        logprobs[at + i + 1] = new LogDistribution(row, size).of(ids[at + i + 1])
      }
      await yieldToEventLoop()
    }
    return logprobs
  } finally {
    release()
  }
}
