/** Sessions of the small random model, for tests of what is generated. */

import { fileURLToPath } from "node:url"
import { KernelFlag } from "../src/generate/abort"
import { Random } from "../src/generate/random"
import { SessionPool } from "../src/generate/session-pool"
import type { Vocabulary } from "../src/generate/vocabulary"
import { IsaacModel } from "../src/model"
import type { Backend } from "../src/ops/backend"
import { createEvent, type Event, Stream, TensorStream } from "../src/stream"
import { openCheckpoint } from "../src/weights/checkpoint"
import { openFolder } from "../src/weights/files-node"

export async function randomTinyModel(backend: Backend): Promise<IsaacModel> {
  const folder = fileURLToPath(new URL("fixtures/golden/random-tiny", import.meta.url))
  const checkpoint = await openCheckpoint(await openFolder(folder))
  try {
    return await IsaacModel.load(checkpoint, backend)
  } finally {
    await checkpoint.close()
  }
}

export function sessionPool(model: IsaacModel, sessionMemory = 1 << 24): SessionPool {
  return new SessionPool({
    model,
    kernelFlag: new KernelFlag(),
    maxContext: 400,
    sessionMemory,
    imageMemory: 1 << 20,
  })
}

/** Ids 0 … 499, each a letter; 499 is special. */
export const LETTERS: Vocabulary = {
  size: 500,
  tokenBytes: (id) => Uint8Array.of(97 + (id % 26)),
  isSpecial: (id) => id === 499,
}

const random = new Random(17)

export const textEvent = (...tokens: number[]) => createEvent({ type: "text", time: 0, data: tokens })
export const randomText = (n: number) => textEvent(...Array.from({ length: n }, () => Math.floor(random.next() * 499)))
export const randomImage = (rows: number, columns: number) =>
  createEvent({
    type: "image",
    time: 0,
    data: {
      values: Float32Array.from({ length: rows * columns * 768 }, () => random.next() * 2 - 1),
      rows: rows * columns,
      width: 768,
    },
    dimsReal: [1, rows, columns],
    dimsVirtual: [1, rows / 2, columns / 2],
  })
export const promptOf = (...events: Event[]) => new TensorStream([new Stream(events, ["text", "image"])])
