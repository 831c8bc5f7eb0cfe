/** The model of a command that asks. */

import { Isaac } from "../index"
import type { EngineOptions } from "./engine-options"
import type { ProgressLine } from "./progress"

/** Load it, and show how far that is. */
export function loadModel(
  { model, backend, dtype, kvDtype, threads, cache, maxContext }: EngineOptions & { readonly maxContext?: number },
  progress: ProgressLine,
  signal: AbortSignal,
): Promise<Isaac> {
  return Isaac.load(model, {
    backend,
    dtype,
    kvDtype,
    threads,
    cache,
    maxContext,
    signal,
    onProgress: (step) => progress.loading(step),
  })
}
