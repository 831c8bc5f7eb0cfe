/** Runs the command line inside the test's own process, with a terminal that only remembers. */

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
  /** Called with every piece of standard output as it comes. */
  onOut: (text: string) => void
}

export function fakeTerminal({ tty = false } = {}): FakeTerminal {
  const written = { out: "", err: "" }
  const controller = new AbortController()
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
  }
  return terminal
}

export async function runCommand(args: readonly string[], terminal = fakeTerminal()): Promise<CommandResult> {
  const code = await run(args, terminal)
  return { code, ...terminal.written }
}
