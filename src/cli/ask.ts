/** `isaac ask IMAGE… "QUESTION"`: the answer on standard output as it is generated. */

import { existsSync } from "node:fs"
import type { Command } from "commander"
import { Isaac } from "../index"
import { answerJson, candidatesJson, candidatesText } from "./answer-output"
import { drawAnswer } from "./draw"
import { addEngineOptions, type EngineOptions } from "./engine-options"
import { Interrupted, UsageError } from "./failure"
import { addGuidedOptions, type GuidedFlags, guidedOf } from "./guided-options"
import { wholeNumber } from "./option-values"
import { readPictures } from "./pictures"
import { ProgressLine } from "./progress"
import { addQuestionOptions, checkQuestion, type QuestionFlags } from "./question-options"
import { addSamplingOptions, type SamplingFlags, samplingOf } from "./sampling-options"
import { drawingEnding } from "./task-options"
import type { Terminal } from "./terminal"

interface AskFlags extends EngineOptions, QuestionFlags, SamplingFlags, GuidedFlags {
  readonly n: number
  readonly json?: true
  readonly draw?: string
}

export function addAsk(program: Command, terminal: Terminal): void {
  const command = program
    .command("ask")
    .description("ask about pictures; with a question alone, answer from text")
    .usage('[options] [IMAGE…] "QUESTION"')
    .argument("<picture-or-question...>", "files, URLs, data URIs or - (standard input), then the question")
  addGuidedOptions(addSamplingOptions(addQuestionOptions(addEngineOptions(command))))
    .option("--n <n>", "draw n answers, the likeliest first (at temperature 1 unless told)", wholeNumber(1), 1)
    .option("--json", "one line of JSON instead of the text")
    .option("--draw <file>", "write the picture with what was pointed at", drawingEnding)
    .action((operands: string[], flags: AskFlags) => ask(operands, flags, terminal))
}

async function ask(operands: readonly string[], flags: AskFlags, terminal: Terminal): Promise<void> {
  const question = operands[operands.length - 1]
  const names = operands.slice(0, -1)
  if (names.length === 0 && existsSync(question)) {
    throw new UsageError(`${question} is a file; write the question after it`)
  }
  checkQuestion(question, names.length)
  checkSampling(flags)
  const guided = guidedOf(flags)
  if (names.filter((name) => name === "-").length > 1) throw new UsageError("standard input (-) holds one picture only")
  if (flags.draw !== undefined && names.length === 0) throw new UsageError("--draw needs a picture to draw on")

  const { signal } = terminal
  const progress = new ProgressLine(terminal)
  try {
    // Before the model: a name that was mistyped should not have to wait for it.
    const images = await readPictures(names, signal, { allowPrivateUrls: flags.allowPrivateUrls })
    const { model, backend, dtype, kvDtype, threads, cache, maxContext } = flags
    const isaac = await Isaac.load(model, {
      backend,
      dtype,
      kvDtype,
      threads,
      cache,
      maxContext,
      signal,
      onProgress: (step) => progress.loading(step),
    })
    try {
      if (images.length > 0) progress.show("looking at the picture")
      const { expect, truncate } = flags
      const options = { expect, truncate, ...guided, ...samplingOf(flags), signal }
      if (flags.n > 1) {
        const candidates = await isaac.candidates(images, question, { ...options, n: flags.n })
        progress.clear()
        if (flags.draw !== undefined) await drawAnswer(flags.draw, candidates[0], images)
        terminal.out(flags.json ? `${JSON.stringify(candidatesJson(candidates, flags))}\n` : candidatesText(candidates))
        return
      }
      const running = isaac.ask(images, question, options)
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
      if (flags.json) terminal.out(`${JSON.stringify(answerJson(answer, flags))}\n`)
      if (answer.finishReason === "abort") throw new Interrupted()
    } finally {
      await isaac.dispose()
    }
  } finally {
    progress.clear()
  }
}

function checkSampling({ n, json, logprobs, temperature, topK }: AskFlags): void {
  if (n > 64) throw new UsageError("--n is at most 64")
  if (n > 1 && (temperature === 0 || topK === 1)) {
    throw new UsageError(
      `--n ${n} at ${topK === 1 ? "--top-k 1" : "--temperature 0"} would give the same answer ${n} times`,
    )
  }
  if (logprobs !== undefined && !json) throw new UsageError("--logprobs needs --json")
}
