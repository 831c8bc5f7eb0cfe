/** The entry that bin/isaac.js calls: the real process around the program. */

import { run } from "./program"
import { processTerminal } from "./terminal"

export async function main(args: readonly string[]): Promise<void> {
  const terminal = processTerminal()
  try {
    process.exitCode = await run(args, terminal)
  } finally {
    terminal.dispose()
  }
}
