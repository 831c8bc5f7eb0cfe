/** Sessions of a small random model, prompts for them, and the oracle: the whole prompt in one pass, without any session. */

import { fileURLToPath } from "node:url"
import { IsaacError } from "../src/errors"
import { KernelFlag } from "../src/generate/abort"
import { Random } from "../src/generate/random"
import type { Session } from "../src/generate/session"
import { SessionPool, type SessionPoolInit } from "../src/generate/session-pool"
import { IsaacModel } from "../src/model"
import type { Backend } from "../src/ops/backend"
import { createEvent, type Event, Stream, TensorStream } from "../src/stream"
import { openCheckpoint } from "../src/weights/checkpoint"
import { openFolder } from "../src/weights/files-node"

export const LAYERS = 3
const WIDTH = 768
const VOCABULARY = 512

/** Made from a seed: equal numbers give equal events. */
export const text = (...tokens: number[]) => createEvent({ type: "text", time: 0, data: tokens })
export const ids = (n: number, seed: number) => {
  const random = new Random(seed)
  return Array.from({ length: n }, () => Math.floor(random.next() * VOCABULARY))
}
export const picture = (rows: number, columns: number, seed: number) => {
  const random = new Random(seed)
  const values = Float32Array.from({ length: rows * columns * WIDTH }, () => random.next() * 2 - 1)
  return createEvent({
    type: "image",
    time: 0,
    data: { values, rows: rows * columns, width: WIDTH },
    dimsReal: [1, rows, columns],
    dimsVirtual: [1, rows / 2, columns / 2],
  })
}
export const prompt = (...events: Event[]) => new TensorStream([new Stream(events, ["text", "image"])])

export class SessionRig {
  private constructor(
    readonly backend: Backend,
    readonly model: IsaacModel,
  ) {}

  static async create(backend: Backend): Promise<SessionRig> {
    const checkpoint = await openCheckpoint(
      await openFolder(fileURLToPath(new URL("fixtures/golden/random-tiny", import.meta.url))),
    )
    const model = await IsaacModel.load(checkpoint, backend)
    await checkpoint.close()
    return new SessionRig(backend, model)
  }

  /** Room for `blocks` blocks of keys and values; everything else ample unless told otherwise. */
  pool(blocks: number, init: Partial<SessionPoolInit> = {}): SessionPool {
    const { model } = this
    const sessionMemory = blocks * this.blockBytes()
    return new SessionPool({
      ...{ model, kernelFlag: new KernelFlag(), maxContext: 400, sessionMemory, imageMemory: 1 << 20 },
      ...init,
    })
  }

  /** Bytes of a block of 64 tokens. */
  blockBytes(): number {
    const empty = this.model.newCache(64)
    const bytes = empty.growth([0], 1)
    empty.free()
    return bytes
  }

  /** Logits of the last token. */
  async oneShot(stream: TensorStream): Promise<Float32Array> {
    const { logits } = this.model.forward({ tensorStream: stream, logits: "last" })
    const numbers = await this.backend.read(logits!)
    this.backend.free(logits!)
    return numbers
  }

  dispose(): Promise<void> {
    return this.backend.dispose()
  }
}

/** A turn as a generation has it: claimed, a prompt, then some tokens. The logits of each step. */
export async function turn(session: Session, stream: TensorStream, then: readonly number[] = []) {
  const release = session.claim()
  try {
    const { logits, ...rest } = await session.prefill(stream)
    const all = [logits]
    for (const id of then) all.push(await session.step(id))
    return { logits: all, ...rest }
  } finally {
    release()
  }
}

/** The operations that take memory. */
const ALLOCATING = new Set<PropertyKey>([
  ...["upload", "embed", "linear", "layerNorm", "rmsNorm", "swiglu", "silu", "gelu", "add", "concatRows"],
  ...["gatherRows", "varlenAttention", "causalAttention", "kvImport"],
])

/** A backend whose memory ends at an allocation of choice. */
export class FailingBackend {
  /** Allocations so far. */
  count = 0
  /** The first one that fails, and how many do. */
  fail = { from: Number.POSITIVE_INFINITY, times: 1 }
  readonly backend: Backend

  constructor(real: Backend) {
    const allocate = () => {
      const at = this.count++
      if (at < this.fail.from || at >= this.fail.from + this.fail.times) return
      throw new IsaacError("out_of_memory", `allocation ${at} was made to fail`)
    }
    this.backend = new Proxy(real, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name)
        if (typeof value !== "function") return value
        if (!ALLOCATING.has(name)) return value.bind(target)
        return (...args: unknown[]) => {
          allocate()
          const result = value.apply(target, args)
          if (name === "causalAttention") {
            // Its blocks were taken, then there is no room for its result.
            try {
              allocate()
            } catch (error) {
              target.free(result)
              throw error
            }
          }
          return result
        }
      },
    })
  }
}
