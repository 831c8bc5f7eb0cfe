/** Chooses a backend: try the fastest first, and say why each faster one was refused. */

import { IsaacError } from "../errors"
import type { Backend } from "./backend"

export type BackendChoice = "auto" | "native" | "wasm" | "reference"

export interface SelectOptions {
  /** Default "auto": the fastest one that runs here. A name: that one or an error. */
  readonly backend?: BackendChoice
  /** The calling thread included. Default: chosen by the backend. */
  readonly threads?: number
  /** Word 0 not 0: running operations end with `aborted`. */
  readonly abort?: Int32Array
}

/** A backend, or a part of one, that was not to be had. */
export interface Refusal {
  readonly name: string
  readonly why: string
}

export interface Selection {
  readonly backend: Backend
  /** Fastest first; also what the chosen one goes without, e.g. relaxed SIMD. */
  readonly refused: readonly Refusal[]
}

/** Tries to make one backend. `note` is told what it goes without. */
export type Candidate = (options: SelectOptions, note: (why: string) => void) => Promise<Backend>

/** Fastest first. */
export type Candidates = Readonly<Record<Exclude<BackendChoice, "auto">, Candidate>>

/**
 * The fastest of these that runs here, or the one that is named. Throws backend_unavailable when the named one cannot
 * run, bad_input for options that make no sense.
 */
export async function chooseBackend(candidates: Candidates, options: SelectOptions = {}): Promise<Selection> {
  const choice = options.backend ?? "auto"
  const refused: Refusal[] = []
  const names = Object.keys(candidates) as Exclude<BackendChoice, "auto">[]
  if (choice !== "auto" && !names.includes(choice)) {
    throw new IsaacError("bad_input", `there is no backend "${choice}": auto, ${names.join(", ")} are to choose from`)
  }
  for (const name of choice === "auto" ? names : [choice]) {
    try {
      const backend = await candidates[name](options, (why) => refused.push({ name, why }))
      return { backend, refused }
    } catch (error) {
      const unavailable = error instanceof IsaacError && error.code === "backend_unavailable"
      if (!unavailable) throw error
      if (choice !== "auto") {
        throw new IsaacError("backend_unavailable", `the ${name} backend cannot run here: ${error.message}`, {
          cause: error,
        })
      }
      refused.push({ name, why: error.message })
    }
  }
  throw new IsaacError("internal", "no backend runs here, not even the reference")
}
