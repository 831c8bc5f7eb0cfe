/** `isaac caption IMAGE…`: what a picture shows, in words. */

import { type Command, Option } from "commander"
import type { CaptionAnswer, CaptionOptions } from "../index"
import { addTask } from "./task-command"
import type { TaskFlags } from "./task-options"
import { printText } from "./task-text"
import type { Terminal } from "./terminal"

interface CaptionFlags extends TaskFlags {
  readonly style: NonNullable<CaptionOptions["style"]>
}

export function addCaption(program: Command, terminal: Terminal): void {
  addTask<CaptionFlags, CaptionAnswer>(program, terminal, {
    name: "caption",
    description: "say what pictures show",
    addOptions: (command) =>
      command.addOption(
        new Option("--style <style>", "a sentence, or more").choices(["concise", "detailed"]).default("concise"),
      ),
    plan: ({ style }) => ({
      settings: { style },
      ask: (isaac, picture, options) => isaac.caption(picture, { ...options, style }),
    }),
    printer: printText,
    fields: ({ caption }) => ({ caption }),
  })
}
