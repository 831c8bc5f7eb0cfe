/** The backends that there are in Node. */

import { IsaacError } from "../errors"
import { type Candidates, chooseBackend, type Selection, type SelectOptions } from "./select"

/** Loaded only when tried. */
const CANDIDATES: Candidates = {
  native: async () => {
    throw new IsaacError("backend_unavailable", "not built: this version has no native kernels")
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
