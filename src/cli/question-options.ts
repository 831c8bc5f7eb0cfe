/** Options of every command that puts a question, and what a question may be. */

import { type Command, Option } from "commander"
import { type AskOptions, type Expect, IsaacError } from "../index"
import { UsageError } from "./failure"
import { wholeNumber } from "./option-values"

const EXPECT: readonly Expect[] = ["text", "point", "box", "polygon"]

export interface QuestionFlags {
  readonly expect?: Expect
  readonly truncate?: AskOptions["truncate"]
  readonly maxContext?: number
  readonly allowPrivateUrls?: true
}

export function addQuestionOptions(command: Command): Command {
  return command
    .addOption(new Option("--expect <kind>", "what the answer should point with").choices(EXPECT))
    .addOption(
      new Option("--truncate <side>", "too long a prompt: refuse it, or leave out its beginning").choices([
        "error",
        "left",
      ]),
    )
    .option("--max-context <n>", "most tokens of question, pictures and answer (default: at most 4096)", wholeNumber(1))
    .option("--allow-private-urls", "fetch pictures also from addresses inside your own network")
}

/** Pictures go before the question, one slot each; a slot written into the question would have no picture. */
export function checkQuestion(question: string, images: number): void {
  if (question.trim() === "" && images === 0) throw new UsageError("the question is empty")
  const slots = question.split("<image>").length - 1
  if (slots > images) {
    throw new IsaacError(
      "bad_input",
      `the question names ${slots} <image> but ${images} ${images === 1 ? "picture was" : "pictures were"} given; ` +
        "name the picture files before the question and leave <image> out",
    )
  }
}
