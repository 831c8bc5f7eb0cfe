/** The backends that there are in Node. */

import { type Candidates, chooseBackend, type Selection, type SelectOptions } from "./select"

/** Loaded only when tried. */
const CANDIDATES: Candidates = {
  native: async ({ threads, abort }, note) => {
    const { createNativeBackend } = await import("./cpu/load-native-node")
    return createNativeBackend({ threads, abort, onNote: note })
  },
  wasm: async ({ threads, abort }, note) => {
    const { createWasmBackend } = await import("./cpu/load-wasm-node")
    return createWasmBackend({ threads, abort, onNote: note })
  },
  reference: async () => {
    const { createReferenceBackend } = await import("./reference")
    return createReferenceBackend()
  },
}

/** See `chooseBackend`. */
export function selectBackend(options: SelectOptions = {}): Promise<Selection> {
  return chooseBackend(CANDIDATES, options)
}
