/** Options of the commands that put a question of their own: caption, detect, ocr, count, point. */

import { type Command, Option } from "commander"
import type { AskOptions } from "../index"
import type { BatchFlags } from "./batch"
import { addEngineOptions, type EngineOptions } from "./engine-options"
import { UsageError } from "./failure"
import { fileEnding } from "./option-values"
import { addQuestionOptions, type QuestionFlags } from "./question-options"
import { addSamplingOptions, type SamplingFlags, samplingOf } from "./sampling-options"

export interface TaskFlags extends EngineOptions, QuestionFlags, SamplingFlags, BatchFlags {
  readonly system?: string
  readonly hintRole?: AskOptions["hintRole"]
  readonly reasoning?: true
  readonly focus?: true
  readonly json?: true
  readonly draw?: string
}

export function addTaskOptions(command: Command): Command {
  return addSamplingOptions(addQuestionOptions(addEngineOptions(command)))
    .option("--system <text>", "an instruction that comes before everything else")
    .addOption(
      new Option("--hint-role <role>", "who says what the answer should point with").choices(["system", "user"]),
    )
    .option("--reasoning", "ask for thoughts before the answer (Isaac 0.2)")
    .option("--focus", "ask to look closer where that helps (Isaac 0.2)")
    .option("--json", "one line of JSON instead of the text")
    .option("--draw <file>", "write the picture with what was pointed at", drawingEnding)
    .option("--recursive", "of a folder: the pictures in its folders, too")
    .option("--out <file>", "write a line of JSON for each picture; run again to go on where it ended")
    .option("--draw-dir <dir>", "write each picture with what was pointed at into this folder")
}

/** For the name of a drawing. */
export const drawingEnding = fileEnding(".png", ".svg", ".jpg", ".jpeg", ".webp")

export function checkTaskFlags({ logprobs, json }: TaskFlags, batch: boolean): void {
  if (logprobs !== undefined && !json && !batch) throw new UsageError("--logprobs needs --json")
}

/** What the flags ask of every answer. */
export function taskOptionsOf(flags: TaskFlags): AskOptions {
  const { expect, truncate, system, hintRole, reasoning, focus } = flags
  return { expect, truncate, system, hintRole, reasoning, focus, ...samplingOf(flags) }
}

/** What answers depend on beside their pictures, as JSON. Backends and threads answer the same. */
export function taskSettings(flags: TaskFlags): Record<string, unknown> {
  const { model, dtype, kvDtype, maxContext } = flags
  const { logitBias, ...options } = taskOptionsOf(flags)
  return {
    model,
    dtype,
    kvDtype,
    maxContext,
    ...options,
    logitBias: logitBias && [...(logitBias as Map<string, number>)],
  }
}
