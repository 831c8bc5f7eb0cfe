/** Options of commands that take many pictures, and whether they were asked to. */

import type { Command } from "commander"
import { operandKind } from "./batch-images"
import { fileEnding } from "./option-values"

export interface BatchFlags {
  readonly recursive?: true
  readonly out?: string
  readonly drawDir?: string
  readonly sheet?: string
  readonly allowPrivateUrls?: true
}

export function addBatchOptions(command: Command): Command {
  return command
    .option("--recursive", "of a folder: the pictures in its folders, too")
    .option("--out <file>", "write a line of JSON for each picture; run it again to go on where it ended")
    .option("--draw-dir <dir>", "write each picture with what was pointed at into this folder")
    .option(
      "--sheet <file>",
      "write all pictures with what was pointed at on one sheet, a hundred at most; then on more",
      fileEnding(".png", ".jpg", ".jpeg", ".webp"),
    )
}

/** There is a folder or a pattern among the names, or an option that only many pictures have. */
export async function asksForBatch(
  names: readonly string[],
  { recursive, out, drawDir, sheet }: BatchFlags,
): Promise<boolean> {
  if (recursive || out !== undefined || drawDir !== undefined || sheet !== undefined) return true
  for (const name of names) if ((await operandKind(name)) !== "picture") return true
  return false
}
