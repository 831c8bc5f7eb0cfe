/** Options that keep an answer within rules. */

import { readFileSync } from "node:fs"
import type { Command } from "commander"
import { type AskOptions, IsaacError, type JsonSchema } from "../index"
import { UsageError } from "./failure"

export interface GuidedFlags {
  readonly guided?: true
  readonly schema?: string
}

export function addGuidedOptions(command: Command): Command {
  return command
    .option("--guided", "every pointing tag comes well-formed and closed")
    .option("--schema <file>", "answer with JSON that is valid for the JSON Schema in this file")
}

/**
 * What the flags ask of an answer. Reads the schema's file.
 *
 * Throws not_found, or bad_input for a file that holds no JSON; a usage error for both flags at once.
 */
export function guidedOf({ guided, schema }: GuidedFlags): Pick<AskOptions, "guided" | "schema"> {
  if (schema === undefined) return guided ? { guided } : {}
  if (guided) throw new UsageError("--guided is for tags and --schema for JSON; give one of them")
  return { schema: readSchema(schema) }
}

function readSchema(path: string): JsonSchema {
  let text: string
  try {
    text = readFileSync(path, "utf8")
  } catch (cause) {
    throw new IsaacError("not_found", `the schema ${path} cannot be read: ${(cause as Error).message}`, { cause })
  }
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new IsaacError("bad_input", `the schema ${path} is no JSON: ${(cause as Error).message}`, { cause })
  }
}
