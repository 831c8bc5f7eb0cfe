/** The backends that there are in browsers. Imported statically: a worker in one file needs no loader of parts. */

import { IsaacError } from "../errors"
import { createWasmBackend } from "./cpu/load-wasm-web"
import { createReferenceBackend } from "./reference"
import { type Candidates, chooseBackend, type Selection, type SelectOptions } from "./select"

const CANDIDATES: Candidates = {
  native: async () => {
    throw new IsaacError("backend_unavailable", "a browser runs no native code")
  },
  wasm: ({ threads, abort }, note) => createWasmBackend({ threads, abort, onNote: note }),
  reference: async () => createReferenceBackend(),
}

/** See `chooseBackend`. */
export function selectBackend(options: SelectOptions = {}): Promise<Selection> {
  return chooseBackend(CANDIDATES, options)
}
