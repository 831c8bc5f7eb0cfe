/** Runs the command line inside the test's own process, with a terminal that only remembers. */

import { PassThrough } from "node:stream"
import { run } from "../src/cli/program"
import type { Terminal } from "../src/cli/terminal"

export interface CommandResult {
  readonly code: number
  readonly out: string
  readonly err: string
}

export interface FakeTerminal extends Terminal {
  readonly written: { out: string; err: string }
  readonly controller: AbortController
  /** Standard input: nothing has been typed yet. */
  readonly typed: PassThrough
  /** What a person sees of it, when somebody is there. */
  readonly screen: PassThrough
  /** Press Ctrl-C; where input is a terminal of its own, type "\x03". */
  interrupt(): void
  /** Called with every piece of standard output as it comes. */
  onOut: (text: string) => void
}

/** @param person somebody sits at the keyboard */
export function fakeTerminal({ tty = false, person = false } = {}): FakeTerminal {
  const written = { out: "", err: "" }
  const controller = new AbortController()
  const [typed, screen] = [new PassThrough(), new PassThrough()]
  screen.resume()
  let taken: (() => void) | undefined
  const terminal: FakeTerminal = {
    written,
    controller,
    onOut: () => {},
    out(text) {
      written.out += text
      terminal.onOut(text)
    },
    err(text) {
      written.err += text
    },
    errIsTty: tty,
    signal: controller.signal,
    typed,
    screen,
    keyboard: { input: typed, screen: person ? screen : undefined },
    takeInterrupts(handler) {
      taken = handler
      return () => {
        taken = undefined
      }
    },
    interrupt() {
      if (taken) taken()
      else controller.abort("interrupted")
    },
  }
  return terminal
}

export async function runCommand(args: readonly string[], terminal = fakeTerminal()): Promise<CommandResult> {
  const code = await run(args, terminal)
  return { code, ...terminal.written }
}
