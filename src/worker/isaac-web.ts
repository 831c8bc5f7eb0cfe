/** The public class in a browser. */

import { IsaacError } from "../errors"
import type { LoadProgress, ModelInput } from "../isaac"
import { optionsOf } from "./arguments"
import type { EngineService } from "./engine-service"
import { IsaacClient } from "./isaac-client"
import type { IsaacLoadOptions } from "./isaac-node"
import { pageAddress } from "./page-address-web"
import { PageCaller } from "./page-caller-web"
import { startWorker } from "./worker-host-web"

export type { IsaacLoadOptions }

/** See isaac-node.ts: the same calls. */
export class Isaac extends IsaacClient {
  /**
   * Load a model, in a worker of its own.
   *
   * @param model the address of a checkpoint's folder (relative to the page), ORG/NAME[@REVISION] of the Hugging Face Hub,
   *   or a folder that a person picked
   */
  static async load(model: ModelInput, options: IsaacLoadOptions = {}): Promise<Isaac> {
    const { worker = true, signal, onProgress, ...rest } = optionsOf(options, "load")
    if (onProgress !== undefined && typeof onProgress !== "function") {
      throw new IsaacError("bad_input", "load: onProgress must be a function")
    }
    if (!worker) throw new IsaacError("unsupported", "in a browser the model always runs in a worker of its own")
    const sendable = modelToSend(model)
    const { client, terminate } = startWorker<EngineService>()
    try {
      const progress = onProgress && ((step: unknown) => onProgress(step as LoadProgress))
      const info = await client.call("load", { model: sendable, options: rest }, { signal, onProgress: progress })
      return new Isaac(new PageCaller(client), info, terminate)
    } catch (error) {
      await terminate()
      throw error
    }
  }
}

/** An address as a worker can use it, which has another base; files as an array. */
function modelToSend(model: ModelInput): ModelInput {
  if (model instanceof FileList) return [...model]
  if (model instanceof URL) return model.href
  if (typeof model !== "string") return model
  if (model === "") {
    throw new IsaacError("bad_input", "name a model: the address of a checkpoint's folder, or ORG/NAME of the Hub")
  }
  if (model === "tiny") {
    throw new IsaacError(
      "bad_input",
      'a browser cannot find "tiny" by itself: copy models/isaac-tiny of the package to your site, and give its address',
    )
  }
  // What could be either is a model of the Hub: an address within the site begins with "/" or ".", or ends with "/".
  const address = /^(?:\/|\.|[a-z][a-z0-9+.-]*:)|\/$/i.test(model)
  return address ? new URL(model, pageAddress()).href : model
}
