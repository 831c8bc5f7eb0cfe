/** `isaac point IMAGE… OBJECTS`: where they are. */

import type { Command } from "commander"
import { addTask } from "./task-command"
import type { TaskFlags } from "./task-options"
import { printLeaves } from "./task-text"
import type { Terminal } from "./terminal"

export function addPoint(program: Command, terminal: Terminal): void {
  addTask(program, terminal, {
    name: "point",
    description: 'point at something in pictures, a line "NAME  X Y" for each: isaac point photo.jpg "red circles"',
    objects: "point at",
    plan: (_flags: TaskFlags, objects) => ({
      settings: { objects },
      ask: (isaac, picture, options) => isaac.point(picture, objects, options),
    }),
    printer: printLeaves,
  })
}
