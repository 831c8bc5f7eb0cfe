/** Load a model for `isaac bench` in this thread, and tell the time of a conversion from that of the rest. */

import type { LoadOptions } from "../index"
import {
  type Backend,
  IsaacEngine,
  IsaacError,
  nodePlatform,
  openCheckpoint,
  openModel,
  parseConfig,
} from "../internal"
import { type BenchPrompt, benchPrompt, type PictureSize } from "./bench-prompt"

export interface BenchLoadOptions
  extends Pick<LoadOptions, "backend" | "dtype" | "kvDtype" | "threads" | "cache" | "signal" | "onProgress"> {
  readonly image?: PictureSize
  readonly promptTokens: number
  readonly newTokens: number
  /** What stands between the model and the backend. Default: nothing. */
  readonly wrapBackend?: (backend: Backend) => Backend
}

export interface LoadedBench {
  readonly engine: IsaacEngine
  readonly prompt: BenchPrompt
  /** From the first look at the files until the model can compute, a conversion not counted. */
  readonly loadMs: number
  /** 0 where nothing was converted. */
  readonly convertMs: number
}

export async function loadForBench(model: string, options: BenchLoadOptions): Promise<LoadedBench> {
  const { image, promptTokens, newTokens, wrapBackend = (backend) => backend, ...load } = options
  const start = performance.now()
  const files = await openModel(model, load)

  // 1. The prompt: memory is planned for as much context as it needs.
  const checkpoint = await openCheckpoint(files)
  let prompt: BenchPrompt
  try {
    const { config, generationConfig, processorConfig, tensors } = checkpoint
    const { vision, text, maxSequenceLength } = parseConfig(config, generationConfig, processorConfig, tensors)
    const checkLength = (ofPicture: number) => {
      const tokens = ofPicture + promptTokens + newTokens
      if (tokens <= maxSequenceLength) return
      throw new IsaacError(
        "too_long",
        `${promptTokens} tokens of text, ${ofPicture} of the picture and ${newTokens} new ones are ${tokens}; this model ` +
          `takes ${maxSequenceLength}. Ask for fewer`,
      )
    }
    checkLength(0) // before so many ids are made up
    prompt = benchPrompt(vision, text.vocabSize, promptTokens, image)
    checkLength(prompt.imageTokens)
  } finally {
    await checkpoint.close()
  }

  // 2. The model. Its conversion begins with the first word of it and ends with the packed files.
  let convertStart: number | undefined
  let convertMs = 0
  const platform = nodePlatform()
  const engine = await IsaacEngine.load(
    files,
    {
      ...platform,
      selectBackend: async (choice) => {
        const { backend, refused } = await platform.selectBackend(choice)
        return { backend: wrapBackend(backend), refused }
      },
      packedFiles: async (...args) => {
        const packed = await platform.packedFiles?.(...args)
        if (convertStart !== undefined) convertMs = performance.now() - convertStart
        return packed
      },
    },
    {
      ...load,
      name: model,
      maxContext: prompt.tokens + newTokens,
      onProgress: (step) => {
        if (step.stage === "convert") convertStart ??= performance.now()
        load.onProgress?.(step)
      },
    },
  )
  return { engine, prompt, loadMs: performance.now() - start - convertMs, convertMs }
}
