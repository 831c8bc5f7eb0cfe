/**
 * For tests that run commands in their own process: one loaded model, in this thread, for all of them.
 *
 *     vi.mock("../src/index", async (original) => (await import("./one-model")).oneModel(await original()))
 */

import type * as IsaacVlm from "../src/index"

let loaded: Promise<IsaacVlm.Isaac> | undefined

/** The package, of which every `Isaac.load("tiny")` gives the same model, which no command disposes of. */
export function oneModel(real: typeof IsaacVlm): typeof IsaacVlm {
  class Isaac extends real.Isaac {
    static override async load(...[model, options]: Parameters<typeof real.Isaac.load>) {
      if (model !== "tiny") return real.Isaac.load(model, { ...options, worker: false })
      loaded ??= real.Isaac.load("tiny", { worker: false }).then((isaac) => {
        isaac.dispose = async () => {}
        return isaac
      })
      options?.signal?.throwIfAborted()
      return loaded
    }
  }
  return { ...real, Isaac }
}

/** That model, to look at what commands ask of it. */
export async function theModel(): Promise<IsaacVlm.Isaac> {
  const { Isaac } = await import("../src/index")
  return Isaac.load("tiny")
}
