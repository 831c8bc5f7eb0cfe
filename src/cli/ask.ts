/** `isaac ask IMAGE… "QUESTION"`: the answer on standard output as it is generated. */

import { existsSync } from "node:fs"
import { type Command, Option } from "commander"
import { type Answer, type AskOptions, type Expect, Isaac, IsaacError } from "../index"
import { drawAnswer } from "./draw"
import { addEngineOptions, type EngineOptions } from "./engine-options"
import { Interrupted, UsageError } from "./failure"
import { fileEnding, numberWithin, wholeNumber } from "./option-values"
import { readPictures } from "./pictures"
import { ProgressLine } from "./progress"
import type { Terminal } from "./terminal"

const EXPECT: readonly Expect[] = ["text", "point", "box", "polygon"]

interface AskFlags extends EngineOptions {
  readonly expect?: Expect
  readonly maxNewTokens?: number
  readonly temperature?: number
  readonly topP?: number
  readonly topK?: number
  readonly seed?: number
  readonly json?: true
  readonly draw?: string
  readonly truncate?: AskOptions["truncate"]
  readonly allowPrivateUrls?: true
}

export function addAsk(program: Command, terminal: Terminal): void {
  const command = program
    .command("ask")
    .description("ask about pictures; with a question alone, answer from text")
    .usage('[options] [IMAGE…] "QUESTION"')
    .argument("<picture-or-question...>", "files, URLs, data URIs or - (standard input), then the question")
  addEngineOptions(command)
    .addOption(new Option("--expect <kind>", "what the answer should point with").choices(EXPECT))
    .option("--max-new-tokens <n>", "longest answer", wholeNumber(1))
    .option("--temperature <t>", "0 takes the likeliest token", numberWithin(0, 100))
    .option("--top-p <p>", "draw from the likeliest tokens that reach this probability", numberWithin(0, 1, true))
    .option("--top-k <k>", "draw from the k likeliest tokens; 0: all", wholeNumber(0))
    .option("--seed <n>", "same seed, same answer", wholeNumber(0))
    .addOption(
      new Option("--truncate <side>", "too long a prompt: refuse it, or leave out its beginning").choices([
        "error",
        "left",
      ]),
    )
    .option("--allow-private-urls", "fetch pictures also from addresses inside your own network")
    .option("--json", "one line of JSON instead of the text")
    .option("--draw <file>", "write the picture with what was pointed at", fileEnding(".png", ".svg"))
    .action((operands: string[], flags: AskFlags) => ask(operands, flags, terminal))
}

async function ask(operands: readonly string[], flags: AskFlags, terminal: Terminal): Promise<void> {
  const question = operands[operands.length - 1]
  const names = operands.slice(0, -1)
  if (names.length === 0 && existsSync(question)) {
    throw new UsageError(`${question} is a file; write the question after it`)
  }
  checkQuestion(question, names.length)
  if (names.filter((name) => name === "-").length > 1) throw new UsageError("standard input (-) holds one picture only")
  if (flags.draw !== undefined && names.length === 0) throw new UsageError("--draw needs a picture to draw on")

  const { signal } = terminal
  const progress = new ProgressLine(terminal)
  try {
    // Before the model: a name that was mistyped should not have to wait for it.
    const images = await readPictures(names, signal, { allowPrivateUrls: flags.allowPrivateUrls })
    const { model, backend, dtype, threads, cache } = flags
    const isaac = await Isaac.load(model, {
      backend,
      dtype,
      threads,
      cache,
      signal,
      onProgress: (step) => progress.loading(step),
    })
    try {
      if (images.length > 0) progress.show("looking at the picture")
      const { expect, maxNewTokens, temperature, topP, topK, seed, truncate } = flags
      const sampling = { maxNewTokens, temperature, topP, topK, seed }
      const running = isaac.ask(images, question, { expect, truncate, ...sampling, signal })
      let last = "\n"
      for await (const event of running) {
        if (event.type !== "text.delta" || event.text === "") continue
        if (flags.json) progress.show("answering")
        else {
          progress.clear()
          terminal.out(event.text)
          last = event.text
        }
      }
      const answer = await running
      progress.clear()
      if (!flags.json && !last.endsWith("\n")) terminal.out("\n")
      if (flags.draw !== undefined) await drawAnswer(flags.draw, answer, images)
      if (flags.json) terminal.out(`${JSON.stringify(answerJson(answer))}\n`)
      if (answer.finishReason === "abort") throw new Interrupted()
    } finally {
      await isaac.dispose()
    }
  } finally {
    progress.clear()
  }
}

/** Pictures go before the question, one slot each; a slot written into the question would have no picture. */
function checkQuestion(question: string, images: number): void {
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

/** The fields of `--json`, in this order and no others. */
function answerJson(answer: Answer): Record<string, unknown> {
  const { model, text, reasoning, points, pixels, usage, finishReason, timings } = answer
  return { model, text, reasoning, points, pixels, usage, finish_reason: finishReason, timings }
}
