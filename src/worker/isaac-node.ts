/** The public class in Node. */

import { loadEngine } from "../engine-node"
import { IsaacError } from "../errors"
import type { LoadOptions, LoadProgress, ModelInput } from "../isaac"
import { optionsOf } from "./arguments"
import { type EngineService, engineService } from "./engine-service"
import { IsaacClient } from "./isaac-client"
import { LocalCaller } from "./local-caller"
import { startWorker } from "./worker-host-node"

export interface IsaacLoadOptions extends LoadOptions {
  /** false runs the model in the calling thread, which then blocks during each step. Default true. */
  readonly worker?: boolean
}

/**
 * Isaac: ask about pictures.
 *
 *   const isaac = await Isaac.load("tiny")
 *   const answer = await isaac.ask(["picture.png"], "Where is the red circle?", { expect: "box" })
 *   await isaac.dispose()
 */
export class Isaac extends IsaacClient {
  /**
   * Load a model, in a thread of its own.
   *
   * @param model "tiny", which ships with the package, a checkpoint folder, or ORG/NAME[@REVISION] of the Hugging Face
   *   Hub, which is downloaded once
   */
  static async load(model: ModelInput, options: IsaacLoadOptions = {}): Promise<Isaac> {
    const { worker = true, signal, onProgress, ...rest } = optionsOf(options, "load")
    if (onProgress !== undefined && typeof onProgress !== "function") {
      throw new IsaacError("bad_input", "load: onProgress must be a function")
    }
    const { caller, stop } = worker ? inWorker() : inThisThread()
    try {
      const progress = onProgress && ((step: unknown) => onProgress(step as LoadProgress))
      const input = { model: model instanceof URL ? model.href : model, options: rest }
      const info = await caller.call("load", input, { signal, onProgress: progress })
      return new Isaac(caller, info, stop)
    } catch (error) {
      await stop()
      throw error
    }
  }
}

function inWorker() {
  const { client, terminate } = startWorker<EngineService>()
  return { caller: client, stop: terminate }
}

function inThisThread() {
  const service = engineService(({ model, options }, { signal, progress }) =>
    loadEngine(model, { ...options, signal, onProgress: progress }),
  )
  return { caller: new LocalCaller<EngineService>(service), stop: () => service.calls.close() }
}
