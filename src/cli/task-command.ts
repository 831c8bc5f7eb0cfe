/** What the commands caption, detect, ocr, count and point have in common: one picture, or a batch of them. */

import { existsSync } from "node:fs"
import type { Command } from "commander"
import type { Answer, AnswerStream, AskOptions, Isaac } from "../index"
import { plainText, type RgbImage } from "../internal"
import { answerJson } from "./answer-output"
import { runBatch } from "./batch"
import { isPictureName } from "./batch-images"
import { asksForBatch } from "./batch-options"
import { drawAnswer } from "./draw"
import { Interrupted, UsageError } from "./failure"
import { readPictures } from "./pictures"
import { ProgressLine } from "./progress"
import { loadModel } from "./task-model"
import { addTaskOptions, batchSettings, checkTaskFlags, type TaskFlags, taskOptionsOf } from "./task-options"
import type { AnswerPrinter } from "./task-text"
import type { Terminal } from "./terminal"

export interface TaskCommand<F extends TaskFlags, A extends Answer> {
  readonly name: string
  readonly description: string
  /** "count": what to look for is the last operand, and this is what is done with it. */
  readonly objects?: string
  addOptions?(command: Command): Command
  /** What is asked; may read files. Throws usage errors, IsaacError. */
  plan(flags: F, objects: string, signal: AbortSignal): TaskPlan<A> | Promise<TaskPlan<A>>
  printer(out: (text: string) => void): AnswerPrinter<A>
  /** What `--json` tells beside the answer. */
  fields?(answer: A): Record<string, unknown>
}

export interface TaskPlan<A extends Answer> {
  /** What the answer depends on, beside the options of all tasks. */
  readonly settings: Record<string, unknown>
  ask(isaac: Isaac, picture: RgbImage, options: AskOptions): AnswerStream<A>
}

export function addTask<F extends TaskFlags, A extends Answer>(
  program: Command,
  terminal: Terminal,
  task: TaskCommand<F, A>,
): void {
  const command = program
    .command(task.name)
    .description(task.description)
    .usage(`[options] IMAGE…${task.objects ? " OBJECTS" : ""}`)
    .argument(
      task.objects ? "<pictures-and-objects...>" : "<pictures...>",
      `files, URLs, data URIs or - (standard input); a folder or a pattern for many${task.objects ? "; then what to look for" : ""}`,
    )
  addTaskOptions(task.addOptions?.(command) ?? command).action(async (operands: string[], flags: F) => {
    const { names, objects } = split(task, operands)
    const batch = names.length > 1 || (await asksForBatch(names, flags))
    checkTaskFlags(flags, batch)
    if (batch && flags.draw !== undefined) {
      throw new UsageError("--draw is for one picture; --draw-dir draws each of many")
    }
    const asked = { options: taskOptionsOf(flags), flags }
    const plan = await task.plan(flags, objects, terminal.signal)
    await (batch ? runMany(task, plan, names, asked, terminal) : runOne(task, plan, names[0], asked, terminal))
  })
}

function split(
  { objects: verb }: Pick<TaskCommand<TaskFlags, Answer>, "objects">,
  operands: readonly string[],
): { names: readonly string[]; objects: string } {
  if (verb === undefined) return { names: operands, objects: "" }
  const objects = operands[operands.length - 1]
  // A picture at the end is no name of things; a file or folder that is called "cats" may be there by chance.
  if (operands.length < 2 || (isPictureName(objects) && existsSync(objects))) {
    throw new UsageError(`name what to ${verb} after the picture, such as "red circles"`)
  }
  if (objects.trim() === "") throw new UsageError(`what to ${verb} is empty`)
  return { names: operands.slice(0, -1), objects }
}

interface Asked<F extends TaskFlags> {
  readonly flags: F
  readonly options: AskOptions
}

async function runOne<F extends TaskFlags, A extends Answer>(
  task: TaskCommand<F, A>,
  plan: TaskPlan<A>,
  name: string,
  { flags, options }: Asked<F>,
  terminal: Terminal,
): Promise<void> {
  const { signal } = terminal
  const progress = new ProgressLine(terminal)
  try {
    // Before the model: a name that was mistyped should not have to wait for it.
    const [picture] = await readPictures([name], signal, { allowPrivateUrls: flags.allowPrivateUrls })
    const isaac = await loadModel(flags, progress, signal)
    try {
      const printer = task.printer((text) => {
        progress.clear()
        terminal.out(text)
      })
      const running = plan.ask(isaac, picture, {
        ...options,
        signal,
        // Not in the middle of a line of the answer.
        onProgress: (step) => {
          if (flags.json || printer.wholeLines || step.stage !== "answer") progress.answering(step)
        },
      })
      if (!flags.json) for await (const event of running) printer.event(event)
      const answer = await running
      progress.clear()
      if (!flags.json) printer.end(answer)
      if (flags.draw !== undefined) await drawAnswer(flags.draw, answer, [picture])
      if (flags.json) terminal.out(`${JSON.stringify(taskJson(task, answer, flags))}\n`)
      if (answer.finishReason === "abort") throw new Interrupted()
      if (!flags.json) tellIssues(answer, terminal)
    } finally {
      await isaac.dispose()
    }
  } finally {
    progress.clear()
  }
}

function tellIssues({ issues }: Answer, terminal: Terminal): void {
  if (issues.length === 0) return
  const tags = issues.length === 1 ? "a tag" : `${issues.length} tags`
  terminal.err(`isaac: the model wrote ${tags} that cannot be read: ${plainText(issues[0].message)}\n`)
}

async function runMany<F extends TaskFlags, A extends Answer>(
  task: TaskCommand<F, A>,
  plan: TaskPlan<A>,
  operands: readonly string[],
  { flags, options }: Asked<F>,
  terminal: Terminal,
): Promise<void> {
  const { signal } = terminal
  const { objects, classes } = plan.settings
  await runBatch<A>(
    {
      title: `isaac ${task.name}${(objects ?? classes) ? `: ${String(objects ?? classes)}` : ""}`,
      operands,
      settings: { task: task.name, ...plan.settings, ...batchSettings(flags, options) },
      load: (progress) => loadModel(flags, progress, signal),
      ask: async (isaac, picture) => plan.ask(isaac, picture, { ...options, signal }),
      fields: (answer) => taskJson(task, answer, flags),
    },
    flags,
    terminal,
  )
}

/** The fields that `ask --json` has, then the task's own. */
function taskJson<F extends TaskFlags, A extends Answer>(
  task: TaskCommand<F, A>,
  answer: A,
  flags: F,
): Record<string, unknown> {
  return { ...answerJson(answer, flags), ...task.fields?.(answer) }
}
