/** `isaac mcp`: the model as tools for agents, over the Model Context Protocol on standard input and output. */

import type { Command } from "commander"
import { addEngineOptions, type EngineOptions } from "./engine-options"
import { Interrupted } from "./failure"
import { wholeNumber } from "./option-values"
import { OUTPUT_CLOSED, type Terminal } from "./terminal"

export interface McpFlags extends EngineOptions {
  readonly maxContext?: number
  readonly allowPrivateUrls?: true
  readonly root?: readonly string[]
  readonly preload?: true
}

export function addMcp(program: Command, terminal: Terminal): void {
  const command = program
    .command("mcp")
    .description(
      "serve the tools question, caption, ocr, detect and list_models to agents, over standard input and output",
    )
  addEngineOptions(command)
    .option("--max-context <n>", "most tokens of question, picture and answer (default: at most 4096)", wholeNumber(1))
    .option("--root <dir>", "read picture files in this folder only; repeatable (default: any file)", collected)
    .option("--allow-private-urls", "fetch pictures also from addresses inside your own network")
    .option("--preload", "load the model at once, not with the first question")
    .action(async (flags: McpFlags) => {
      // The protocol's package takes a while to load, and no other command needs it.
      const { serveMcp } = await import("./mcp-serve")
      await serveMcp(flags, terminal)
      if (terminal.signal.aborted && terminal.signal.reason !== OUTPUT_CLOSED) throw new Interrupted()
    })
}

function collected(text: string, before: readonly string[] = []): string[] {
  return [...before, text]
}
