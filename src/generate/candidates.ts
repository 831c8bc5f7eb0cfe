/** Several answers to one prompt: it is computed once, then the answers grow side by side, a token of each in one pass. */

import { IsaacError } from "../errors"
import type { TensorStream } from "../stream"
import { type AbortFlag, yieldToEventLoop } from "./abort"
import { Continuation, type ContinuationSetup, type GeneratedToken } from "./continuation"
import { type GenerationReport, imageTokens } from "./generation"
import { numberIn } from "./option-ranges"
import { derivedSeed } from "./random"
import { checkSeed } from "./sampler"
import { Session } from "./session"

/** Answers that grow side by side; more take turns. */
const LANES = 8
/**
 * A backend may add up a single row's products in another order than those of several rows, so a pass of one answer
 * would differ from a pass of two in its last bits. Of several rows each comes out the same whatever their number.
 */
const FEWEST_ROWS = 2
/** Most answers of one call. */
const MOST = 64

export interface CandidatesSetup extends ContinuationSetup {
  /** How many answers. */
  readonly n: number
  readonly abort?: AbortFlag
}

/** One of the answers. */
export interface CandidateRun {
  /** Which one it is: 0 … n-1. */
  readonly sample: number
  readonly tokens: readonly GeneratedToken[]
  readonly report: GenerationReport
  /** Mean of the tokens' log-probabilities. */
  readonly score: number
}

/** An answer that is growing, in a fork of the prompt's session. */
interface Lane {
  readonly sample: number
  readonly continuation: Continuation
  readonly tokens: GeneratedToken[]
  readonly session: Session
  readonly close: () => Promise<void>
  decodeMs: number
}

/**
 * Draw `n` answers, the likeliest first, of equal ones the one that was drawn first. Answers that come out the same are
 * all there.
 *
 * Answer i has the seed `derivedSeed(seed, i)` and does not depend on how many there are, nor on which of them grow side
 * by side. When memory does not suffice for all of these, fewer grow at a time.
 *
 * @param session stands at the end of the prompt afterwards, also after an abort in the answers
 * Throws bad_input for options out of range, too_long, out_of_memory when not even one answer has room, aborted.
 */
export async function drawCandidates(
  session: Session,
  prompt: TensorStream,
  setup: CandidatesSetup,
): Promise<CandidateRun[]> {
  const { abort } = setup
  const n = numberIn("n", setup.n, { low: 1, high: MOST, integer: true })
  const seed = checkSeed(setup.seed)
  const logprobs = setup.logprobs || true // the scores are made of them
  const start = (sample: number) => new Continuation(prompt, { ...setup, logprobs, seed: derivedSeed(seed, sample) })
  start(0) // options out of range are refused before anything is computed
  if (n > 1 && (setup.temperature === 0 || setup.topK === 1)) {
    const why = setup.topK === 1 ? "topK 1" : "temperature 0"
    throw new IsaacError("bad_input", `${n} candidates would all be the same at ${why}; set it higher`)
  }

  const release = session.claim()
  const open = new Set<Lane>()
  try {
    // 1. The prompt, once.
    const prefilled = await session.prefill(prompt, abort)
    const shared = {
      promptTokens: prompt.shape[1],
      imageTokens: imageTokens(prompt),
      reusedTokens: prefilled.reused,
      visionMs: prefilled.visionMs,
      prefillMs: prefilled.prefillMs,
    }

    // 2. Answers, some at a time.
    const runs: CandidateRun[] = []
    const waiting = Array.from({ length: n }, (_, sample) => sample)
    let width = LANES
    for (;;) {
      while (open.size < width && waiting.length > 0) {
        const sample = waiting.shift()!
        const lane = openLane(session, sample, start(sample))
        open.add(lane)
        take(lane, prefilled.logits)
      }
      for (const lane of await closeEnded(open)) {
        runs.push(runOf(lane, shared))
      }
      if (open.size > 0) {
        width = await stepOrNarrow(open, waiting, width, abort)
        await yieldToEventLoop()
      } else if (waiting.length === 0) {
        break
      }
    }
    return runs.sort((a, b) => b.score - a.score || a.sample - b.sample)
  } finally {
    for (const lane of open) await lane.close()
    release()
  }
}

function openLane(parent: Session, sample: number, continuation: Continuation): Lane {
  const session = parent.fork()
  const release = session.claim() // so that nobody takes its memory away between two steps
  const close = async () => {
    release()
    await session.dispose()
  }
  return { sample, continuation, tokens: [], session, close, decodeMs: 0 }
}

/** Sample one more token. */
function take({ continuation, tokens, session }: Lane, logits: Float32Array): void {
  tokens.push(continuation.next(logits, session.room))
}

/** One pass over the weights: the last token of each lane goes in, its next one comes out. */
async function step(lanes: readonly Lane[], abort: AbortFlag | undefined): Promise<void> {
  const start = performance.now()
  const ids = Int32Array.from(lanes, ({ tokens }) => tokens[tokens.length - 1].id)
  const sessions = lanes.map(({ session }) => session)
  const logits = await advanceTogether(sessions, ids, abort) // [lanes, V]
  const elapsed = performance.now() - start
  const size = logits.length / lanes.length
  for (const [i, lane] of lanes.entries()) {
    lane.decodeMs += elapsed
    take(lane, logits.subarray(i * size, (i + 1) * size))
  }
}

/** One more token in each of the sessions, never in a pass of its own. */
async function advanceTogether(
  sessions: readonly Session[],
  ids: Int32Array,
  abort: AbortFlag | undefined,
): Promise<Float32Array> {
  if (sessions.length >= FEWEST_ROWS) return Session.advance(sessions, ids, abort)
  const [session] = sessions
  const ballast = session.fork()
  try {
    ballast.truncate(0)
    const logits = await Session.advance([session, ballast], Int32Array.of(ids[0], ids[0]), abort) // [2, V]
    return logits.subarray(0, logits.length / 2)
  } finally {
    await ballast.dispose()
  }
}

/**
 * One step. If there is no room for all, the later half is closed, to begin anew when there is: nothing of it was given
 * out yet. Returns how many may be open from now on.
 */
async function stepOrNarrow(
  open: Set<Lane>,
  waiting: number[],
  width: number,
  abort: AbortFlag | undefined,
): Promise<number> {
  try {
    await step([...open], abort)
    return width
  } catch (error) {
    if (!(error instanceof IsaacError && error.code === "out_of_memory" && open.size > 1)) throw error
    const kept = open.size >> 1
    const postponed = [...open].slice(kept)
    for (const lane of postponed) {
      open.delete(lane)
      await lane.close()
    }
    waiting.unshift(...postponed.map(({ sample }) => sample))
    return kept
  }
}

/** Close the lanes that have come to their end, and give them. */
async function closeEnded(open: Set<Lane>): Promise<Lane[]> {
  const ended = [...open].filter(({ continuation }) => continuation.finishReason !== undefined)
  for (const lane of ended) {
    open.delete(lane)
    await lane.close()
  }
  return ended
}

function runOf(
  { sample, tokens, continuation, decodeMs }: Lane,
  shared: Pick<GenerationReport, "promptTokens" | "imageTokens" | "reusedTokens" | "visionMs" | "prefillMs">,
): CandidateRun {
  const { finishReason, stopped, seed } = continuation
  const report = {
    ...{ ...shared, finishReason, stopped, completionTokens: tokens.length, decodeMs, seed, heldText: "" },
    forcedTokens: continuation.forcedTokens,
    whole: continuation.whole,
  }
  const score = tokens.reduce((sum, { logprob }) => sum + logprob!, 0) / tokens.length
  return { sample, tokens, report, score }
}
