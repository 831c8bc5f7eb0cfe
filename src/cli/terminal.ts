/** What a command sees of the process around it. Tests pass their own. */

import type { Readable, Writable } from "node:stream"
import { plainText } from "../internal"

/** Where lines are typed. */
export interface Keyboard {
  readonly input: Readable
  /** Where a person sees what they type, control codes included; undefined when nobody does: input comes from a pipe. */
  readonly screen?: Writable & { readonly columns?: number }
}

export interface Terminal {
  /** Write to standard output; silently nothing once the reader has gone away. */
  out(text: string): void
  /** Write to standard error. */
  err(text: string): void
  /** True when standard error is a terminal: only then is progress shown. */
  readonly errIsTty: boolean
  /** Fires on the first Ctrl-C, and when the reader of standard output has gone away. */
  readonly signal: AbortSignal
  readonly keyboard: Keyboard
  /** Let Ctrl-C call this and not fire `signal`, until what is returned is called. */
  takeInterrupts(handler: () => void): () => void
}

/** `terminal.signal.reason` when Ctrl-C was pressed. */
export const INTERRUPTED = "interrupted"
/** `terminal.signal.reason` when standard output was closed (`isaac ask … | head -1`). */
export const OUTPUT_CLOSED = "output closed"

/**
 * Text as a terminal may show it: what a model reads off a picture, or a checkpoint says of itself, must not move the
 * cursor or set a title. Line ends and tabs stay; pipes and files get every byte as it is.
 */
export function visible(text: string): string {
  return text.replace(/[^\n\t]+/g, plainText)
}

/** The real process. `dispose` takes its handlers off again. */
export function processTerminal(): Terminal & { dispose(): void } {
  const controller = new AbortController()
  let open = true
  let taken: (() => void) | undefined
  const interrupt = () => {
    if (taken) {
      taken()
      return
    }
    // The second one does not wait for anything.
    if (controller.signal.aborted) process.exit(130)
    controller.abort(INTERRUPTED)
  }
  const outputError = (error: NodeJS.ErrnoException) => {
    open = false
    if (error.code !== "EPIPE") {
      // A full disk: nobody will get the answer, so there is nothing to go on for.
      process.stderr.write(`isaac: cannot write to standard output: ${error.message}\n`)
      process.exit(1)
    }
    controller.abort(OUTPUT_CLOSED)
  }
  process.on("SIGINT", interrupt)
  process.stdout.on("error", outputError)
  return {
    out: (text) => {
      if (open) process.stdout.write(process.stdout.isTTY ? visible(text) : text)
    },
    err: (text) => {
      process.stderr.write(text)
    },
    errIsTty: process.stderr.isTTY === true,
    signal: controller.signal,
    keyboard: {
      input: process.stdin,
      screen: process.stdin.isTTY && process.stdout.isTTY ? process.stdout : undefined,
    },
    takeInterrupts(handler) {
      taken = handler
      return () => {
        taken = undefined
      }
    },
    dispose() {
      process.off("SIGINT", interrupt)
    },
  }
}
