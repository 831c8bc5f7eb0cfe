/** `isaac score IMAGE… "QUESTION" "ANSWER"`: how well the model expects an answer. */

import type { Command } from "commander"
import { Isaac } from "../index"
import { tokenJson } from "./answer-output"
import { addEngineOptions, type EngineOptions } from "./engine-options"
import { UsageError } from "./failure"
import { formatTable } from "./format"
import { readPictures } from "./pictures"
import { ProgressLine } from "./progress"
import { addQuestionOptions, checkQuestion, type QuestionFlags } from "./question-options"
import type { Terminal } from "./terminal"

interface ScoreFlags extends EngineOptions, QuestionFlags {
  readonly json?: true
}

export function addScore(program: Command, terminal: Terminal): void {
  const command = program
    .command("score")
    .description("how well the model expects an answer, token by token")
    .usage('[options] [IMAGE…] "QUESTION" "ANSWER"')
    .argument("<picture-question-answer...>", "files, URLs, data URIs or - (standard input), the question, the answer")
  addQuestionOptions(addEngineOptions(command))
    .option("--json", "one line of JSON instead of a table")
    .action((operands: string[], flags: ScoreFlags) => score(operands, flags, terminal))
}

async function score(operands: readonly string[], flags: ScoreFlags, terminal: Terminal): Promise<void> {
  if (operands.length < 2) throw new UsageError("a question and an answer are needed")
  const [question, answer] = operands.slice(-2)
  const names = operands.slice(0, -2)
  checkQuestion(question, names.length)
  if (answer === "") throw new UsageError("the answer is empty")
  if (names.filter((name) => name === "-").length > 1) throw new UsageError("standard input (-) holds one picture only")

  const { signal } = terminal
  const progress = new ProgressLine(terminal)
  try {
    const images = await readPictures(names, signal, { allowPrivateUrls: flags.allowPrivateUrls })
    const { model, backend, dtype, kvDtype, threads, cache, maxContext, expect, truncate } = flags
    const onProgress = progress.loading.bind(progress)
    const options = { backend, dtype, kvDtype, threads, cache, maxContext, signal, onProgress }
    const isaac = await Isaac.load(model, options)
    try {
      progress.show("reading")
      const options = { expect, truncate, signal }
      const { loss, perplexity, tokens, usage } = await isaac.score(images, question, answer, options)
      progress.clear()
      if (flags.json) {
        const line = { model: isaac.info.model, loss, perplexity, tokens: tokens.map(tokenJson), usage }
        terminal.out(`${JSON.stringify(line)}\n`)
        return
      }
      const rows = tokens.map(({ text, logprob }) => [logprob.toFixed(4), JSON.stringify(text)])
      terminal.out(`${formatTable(rows, [0])}\n`)
      terminal.out(`loss ${loss.toFixed(4)}, perplexity ${perplexity.toFixed(4)}, ${tokens.length} tokens\n`)
    } finally {
      await isaac.dispose()
    }
  } finally {
    progress.clear()
  }
}
