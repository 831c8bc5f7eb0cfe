/** `isaac ask IMAGE… "QUESTION"`: the answer on standard output as it is generated. */

import { existsSync } from "node:fs"
import type { Command } from "commander"
import type { Answer, AskOptions } from "../index"
import { answerJson, candidatesJson, candidatesText } from "./answer-output"
import { runBatch } from "./batch"
import { addBatchOptions, asksForBatch, type BatchFlags } from "./batch-options"
import { drawAnswer } from "./draw"
import { addEngineOptions, type EngineOptions } from "./engine-options"
import { Interrupted, UsageError } from "./failure"
import { addGuidedOptions, type GuidedFlags, guidedOf } from "./guided-options"
import { wholeNumber } from "./option-values"
import { readPictures } from "./pictures"
import { ProgressLine } from "./progress"
import { addQuestionOptions, checkQuestion, type QuestionFlags } from "./question-options"
import { addSamplingOptions, type SamplingFlags, samplingOf } from "./sampling-options"
import { loadModel } from "./task-model"
import { batchSettings, drawingEnding } from "./task-options"
import type { Terminal } from "./terminal"

interface AskFlags extends EngineOptions, QuestionFlags, SamplingFlags, GuidedFlags, BatchFlags {
  readonly n: number
  readonly json?: true
  readonly draw?: string
}

export function addAsk(program: Command, terminal: Terminal): void {
  const command = program
    .command("ask")
    .description("ask about pictures; with a question alone, answer from text")
    .usage('[options] [IMAGE…] "QUESTION"')
    .argument(
      "<picture-or-question...>",
      "files, URLs, data URIs or - (standard input), then the question; it is put to each picture of a folder or pattern",
    )
  addBatchOptions(addGuidedOptions(addSamplingOptions(addQuestionOptions(addEngineOptions(command)))))
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
  const batch = await asksForBatch(names, flags)
  checkQuestion(question, batch ? 1 : names.length)
  checkSampling(flags, batch)
  if (names.filter((name) => name === "-").length > 1) throw new UsageError("standard input (-) holds one picture only")
  if (flags.draw !== undefined && names.length === 0) throw new UsageError("--draw needs a picture to draw on")
  const { expect, truncate } = flags
  const asked = { expect, truncate, ...guidedOf(flags), ...samplingOf(flags) }
  if (batch) return askEach(names, question, asked, flags, terminal)

  const { signal } = terminal
  const progress = new ProgressLine(terminal)
  try {
    // Before the model: a name that was mistyped should not have to wait for it.
    const images = await readPictures(names, signal, { allowPrivateUrls: flags.allowPrivateUrls })
    const isaac = await loadModel(flags, progress, signal)
    try {
      if (images.length > 0) progress.show("looking at the picture")
      const options = { ...asked, signal }
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

/** The question to each picture by itself. */
async function askEach(
  names: readonly string[],
  question: string,
  options: AskOptions,
  flags: AskFlags,
  terminal: Terminal,
): Promise<void> {
  const { signal } = terminal
  if (names.length === 0) throw new UsageError("name the pictures before the question")
  if (flags.draw !== undefined) throw new UsageError("--draw is for one answer; --draw-dir draws each of many")
  await runBatch<Answer>(
    {
      title: question,
      operands: names,
      settings: { task: "ask", question, ...batchSettings(flags, options) },
      load: (progress) => loadModel(flags, progress, signal),
      ask: async (isaac, picture) => isaac.ask([picture], question, { ...options, signal }),
      fields: (answer) => answerJson(answer, flags),
    },
    flags,
    terminal,
  )
}

function checkSampling({ n, json, logprobs, temperature, topK }: AskFlags, batch: boolean): void {
  if (n > 1 && batch) throw new UsageError("--n is for one question, not for many pictures")
  if (n > 64) throw new UsageError("--n is at most 64")
  if (n > 1 && (temperature === 0 || topK === 1)) {
    throw new UsageError(
      `--n ${n} at ${topK === 1 ? "--top-k 1" : "--temperature 0"} would give the same answer ${n} times`,
    )
  }
  if (logprobs !== undefined && !json && !batch) throw new UsageError("--logprobs needs --json")
}
