/** `isaac count IMAGE… OBJECTS`: how many there are. */

import type { Command } from "commander"
import type { CountAnswer } from "../index"
import { addTask } from "./task-command"
import type { TaskFlags } from "./task-options"
import { printCount } from "./task-text"
import type { Terminal } from "./terminal"

export function addCount(program: Command, terminal: Terminal): void {
  addTask<TaskFlags, CountAnswer>(program, terminal, {
    name: "count",
    description: 'say how many of something pictures show: isaac count photo.jpg "red circles"',
    objects: "count",
    plan: (_flags, objects) => ({
      settings: { objects },
      ask: (isaac, picture, options) => isaac.count(picture, objects, options),
    }),
    printer: printCount,
    fields: ({ count }) => ({ count }),
  })
}
