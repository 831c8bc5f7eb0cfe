/** How a command ends when it does not succeed: one line, and an exit code that scripts can branch on. */

import { CommanderError } from "commander"
import { isIsaacError, plainText } from "../internal"
import { INTERRUPTED, OUTPUT_CLOSED, type Terminal } from "./terminal"

export const EXIT = { ok: 0, failure: 1, usage: 2, interrupted: 130 } as const

/** A command line that contradicts itself in a way the option parser cannot see. */
export class UsageError extends Error {}

/** Thrown by a command that has already written what is wrong. */
export class Failed extends Error {}

/** Thrown by a command that was interrupted and has already written what it had. */
export class Interrupted extends Error {}

/**
 * Report what stopped a command and choose the exit code.
 *
 * With `--json` a line `{"error":{"code","message"}}` on standard output, otherwise `isaac: message` on standard
 * error; nothing at all when the reader of standard output has gone away.
 */
export function reportFailure(error: unknown, terminal: Terminal, json: boolean): number {
  if (terminal.signal.reason === OUTPUT_CLOSED) return EXIT.ok
  if (error instanceof Interrupted) return EXIT.interrupted
  if (error instanceof Failed) return EXIT.failure
  if (error instanceof CommanderError && (error.exitCode === 0 || error.code === "commander.help")) {
    return error.exitCode === 0 ? EXIT.ok : EXIT.usage
  }
  const interrupted = terminal.signal.reason === INTERRUPTED
  const { code, message } = interrupted ? { code: "aborted", message: "interrupted" } : describe(error)
  if (json) terminal.out(`${JSON.stringify({ error: { code, message } })}\n`)
  else terminal.err(`isaac: ${plainText(message)}${code === "usage" ? ' (see "isaac help")' : ""}\n`)
  if (interrupted) return EXIT.interrupted
  return code === "usage" ? EXIT.usage : EXIT.failure
}

function describe(error: unknown): { code: string; message: string } {
  if (error instanceof CommanderError || error instanceof UsageError) {
    const hint =
      error instanceof CommanderError && error.code === "commander.unknownOption"
        ? "; put -- before a file name or a question that begins with a dash"
        : ""
    return { code: "usage", message: oneLine(error.message.replace(/^error: /, "")) + hint }
  }
  if (isIsaacError(error)) return { code: error.code, message: oneLine(error.message) }
  const message = error instanceof Error ? error.message : String(error)
  return { code: "internal", message: oneLine(`unexpected error, please report it: ${message}`) }
}

function oneLine(text: string): string {
  return text.trim().replace(/\s*\n\s*/g, " ")
}
