/** Options of the commands that put a question of their own: caption, detect, ocr, count, point. */

import { type Command, Option } from "commander"
import type { AskOptions } from "../index"
import { addBatchOptions, type BatchFlags } from "./batch-options"
import { addEngineOptions, type EngineOptions } from "./engine-options"
import { UsageError } from "./failure"
import { addGuidedOptions, type GuidedFlags, guidedOf } from "./guided-options"
import { fileEnding } from "./option-values"
import { addQuestionOptions, type QuestionFlags } from "./question-options"
import { addSamplingOptions, type SamplingFlags, samplingOf } from "./sampling-options"

export interface TaskFlags extends EngineOptions, QuestionFlags, SamplingFlags, GuidedFlags, BatchFlags {
  readonly system?: string
  readonly hintRole?: AskOptions["hintRole"]
  readonly reasoning?: true
  readonly focus?: true
  readonly json?: true
  readonly draw?: string
}

export function addTaskOptions(command: Command): Command {
  const asking = addGuidedOptions(addSamplingOptions(addQuestionOptions(addEngineOptions(command))))
    .option("--system <text>", "an instruction that comes before everything else")
    .addOption(
      new Option("--hint-role <role>", "who says what the answer should point with").choices(["system", "user"]),
    )
    .option("--reasoning", "ask for thoughts before the answer (Isaac 0.2)")
    .option("--focus", "ask to look closer where that helps (Isaac 0.2)")
    .option("--json", "one line of JSON instead of the text")
    .option("--draw <file>", "write the picture with what was pointed at", drawingEnding)
  return addBatchOptions(asking)
}

/** For the name of a drawing. */
export const drawingEnding = fileEnding(".png", ".svg", ".jpg", ".jpeg", ".webp")

export function checkTaskFlags({ logprobs, json }: TaskFlags, batch: boolean): void {
  if (logprobs !== undefined && !json && !batch) throw new UsageError("--logprobs needs --json")
}

/** What the flags ask of every answer. Reads the file of a schema; throws what that throws. */
export function taskOptionsOf(flags: TaskFlags): AskOptions {
  const { expect, truncate, system, hintRole, reasoning, focus } = flags
  return { expect, truncate, system, hintRole, reasoning, focus, ...guidedOf(flags), ...samplingOf(flags) }
}

/** What answers depend on beside their pictures, as JSON. Backends and threads answer the same. */
export function batchSettings(
  { model, dtype, kvDtype, maxContext }: EngineOptions & QuestionFlags,
  { logitBias, ...options }: AskOptions,
): Record<string, unknown> {
  return {
    folder: process.cwd(),
    model,
    dtype,
    kvDtype,
    maxContext,
    ...options,
    logitBias: logitBias && (logitBias instanceof Map ? [...logitBias] : logitBias),
  }
}
