/** Options that several commands share: which model, on what, kept how. */

import { type Command, Option } from "commander"
import type { BackendChoice, DtypeChoice, KvDtypeChoice } from "../index"
import { wholeNumber } from "./option-values"

export interface EngineOptions {
  readonly model: string
  readonly backend: BackendChoice
  readonly dtype: DtypeChoice
  readonly kvDtype: KvDtypeChoice
  readonly threads?: number
  readonly cache: boolean
}

export const BACKENDS: readonly BackendChoice[] = ["auto", "native", "wasm", "reference"]
export const DTYPES: readonly DtypeChoice[] = ["auto", "f32", "bf16", "q8", "q4"]

export const KV_DTYPES: readonly KvDtypeChoice[] = ["auto", "f32", "bf16", "int8"]

export function backendOption(): Option {
  return new Option("--backend <name>", "what runs the model").choices(BACKENDS).default("auto")
}

export function dtypeOption(): Option {
  return new Option("--dtype <type>", "how the weights are kept").choices(DTYPES).default("auto")
}

export function addEngineOptions(command: Command): Command {
  return command
    .option("--model <model>", "tiny (built in), a checkpoint folder, or ORG/NAME of the Hugging Face hub", "tiny")
    .addOption(backendOption())
    .addOption(dtypeOption())
    .addOption(new Option("--kv-dtype <type>", "how keys and values are kept").choices(KV_DTYPES).default("auto"))
    .option("--threads <n>", "threads (default: what the machine has)", wholeNumber(1))
    .option("--no-cache", "do not keep the q8 or q4 form of a large checkpoint on disk")
}
