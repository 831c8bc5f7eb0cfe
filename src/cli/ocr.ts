/** `isaac ocr IMAGE…`: the text in a picture. */

import { type Command, Option } from "commander"
import type { OcrOptions } from "../index"
import { addTask } from "./task-command"
import type { TaskFlags } from "./task-options"
import { printText } from "./task-text"
import type { Terminal } from "./terminal"

interface OcrFlags extends TaskFlags {
  readonly format: NonNullable<OcrOptions["format"]>
}

export function addOcr(program: Command, terminal: Terminal): void {
  addTask(program, terminal, {
    name: "ocr",
    description: "read the text in pictures",
    addOptions: (command) =>
      command.addOption(
        new Option("--format <format>", "how to write it down").choices(["text", "markdown", "html"]).default("text"),
      ),
    plan: ({ format }: OcrFlags) => ({
      settings: { format },
      ask: (isaac, picture, options) => isaac.ocr(picture, { ...options, format }),
    }),
    printer: printText,
  })
}
