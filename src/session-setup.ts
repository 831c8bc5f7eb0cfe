/** How much memory the sessions of an engine get. */

import type { LoadOptions, Platform } from "./engine-options"
import type { KernelFlag } from "./generate/abort"
import { LARGEST_CHUNK } from "./generate/session"
import { defaultSessionMemory, memoryOption } from "./generate/session-memory"
import { SessionPool } from "./generate/session-pool"
import { type IsaacModel, planMemory } from "./model"

/** Bytes of image embeddings kept for the next question about the same pictures, unless asked for more. */
const DEFAULT_IMAGE_MEMORY = 256 << 20

/** What the sessions of an engine share, with memory as asked for or as there is. */
export function sessionPool(
  model: IsaacModel,
  kernelFlag: KernelFlag,
  maxContext: number,
  { machineMemory }: Platform,
  options: Pick<LoadOptions, "sessionMemory" | "imageMemory">,
): SessionPool {
  const { backend, config } = model
  const imageMemory = memoryOption("imageMemory", options.imageMemory, 0, DEFAULT_IMAGE_MEMORY)
  const empty = model.newCache(maxContext)
  const [least, full] = [empty.growth([0], 1), empty.growth([0], maxContext)]
  empty.free()
  const prompt = 4 * maxContext * config.text.hiddenSize * 4 // its embeddings, while they are put together
  const sessionMemory = memoryOption(
    "sessionMemory",
    options.sessionMemory,
    least,
    defaultSessionMemory({
      limit: backend.info.memoryLimit,
      used: backend.memory().used,
      working: planMemory(config, { prefillTokens: LARGEST_CHUNK }).activations + prompt,
      images: imageMemory,
      machine: machineMemory,
      full,
    }),
  )
  return new SessionPool({ model, kernelFlag, maxContext, sessionMemory, imageMemory })
}
