/** `isaac convert MODEL --dtype q8|q4|bf16 --out DIR`: a checkpoint folder that is smaller and loads faster. */

import { type Command, Option } from "commander"
import type { BackendChoice } from "../index"
import { CONVERTED_TYPES, type ConvertedType, convertModel } from "../internal"
import { backendOption } from "./engine-options"
import { formatBytes } from "./format"
import { wholeNumber } from "./option-values"
import { ProgressLine } from "./progress"
import type { Terminal } from "./terminal"

interface ConvertFlags {
  readonly dtype: ConvertedType
  readonly out: string
  readonly backend: BackendChoice
  readonly threads?: number
  readonly json?: true
}

export function addConvert(program: Command, terminal: Terminal): void {
  program
    .command("convert")
    .description("write a model as a checkpoint folder whose weights are kept in another type")
    .argument("<model>", "tiny (built in), a checkpoint folder, or ORG/NAME of the Hugging Face hub")
    .addOption(new Option("--dtype <type>", "how the weights are kept").choices(CONVERTED_TYPES).makeOptionMandatory())
    .requiredOption("--out <dir>", "the folder to make; an earlier conversion there is replaced, nothing else")
    .addOption(backendOption())
    .option("--threads <n>", "threads (default: what the machine has)", wholeNumber(1))
    .option("--json", "one line of JSON")
    .action(async (model: string, { json, ...flags }: ConvertFlags) => {
      const { signal } = terminal
      const progress = new ProgressLine(terminal)
      const { bytes, sourceBytes } = await convertModel(model, {
        ...flags,
        signal,
        onProgress: (step) => progress.loading(step),
      }).finally(() => progress.clear())
      const { dtype, out } = flags
      if (json) terminal.out(`${JSON.stringify({ model, dtype, out, bytes, source_bytes: sourceBytes })}\n`)
      else terminal.out(`${out}: ${formatBytes(bytes)} of weights as ${dtype}, from ${formatBytes(sourceBytes)}\n`)
    })
}
