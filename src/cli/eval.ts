/** `isaac eval DATASET.json…`: how well a model does on pictures with true answers. */

import { createHash } from "node:crypto"
import { mkdir, readFile } from "node:fs/promises"
import { dirname, join, resolve } from "node:path"
import { type Command, InvalidArgumentError, Option } from "commander"
import type { AskOptions } from "../index"
import {
  type AskingOptions,
  checkTasks,
  type Dataset,
  type DatasetImage,
  EVAL_TASKS,
  type EvalReport,
  type EvalTask,
  type Evaluation,
  IsaacError,
  type Predictions,
  plainText,
  questionsAbout,
  readDataset,
  readPredictions,
  reportMarkdown,
  reportText,
  scoreDataset,
  tasksOf,
  writeFileAtomically,
} from "../internal"
import { addEngineOptions, type EngineOptions } from "./engine-options"
import { EvalRun } from "./eval-run"
import { drawWorst, worstOf } from "./eval-worst"
import { Failed, UsageError } from "./failure"
import { wholeNumber } from "./option-values"
import { addSamplingOptions, type SamplingFlags, samplingOf } from "./sampling-options"
import type { Terminal } from "./terminal"

export interface EvalFlags extends EngineOptions, SamplingFlags {
  readonly task: "all" | readonly EvalTask[]
  readonly images?: string
  readonly limit?: number
  readonly guided?: true
  readonly perClass?: true
  readonly absent: number
  readonly predictions?: string
  readonly out?: string
  readonly json?: true
  readonly maxContext?: number
  readonly system?: string
  readonly hintRole?: AskOptions["hintRole"]
}

export function addEval(program: Command, terminal: Terminal): void {
  const command = program
    .command("eval")
    .description("how well a model detects, points, counts, answers and reads, on pictures with true answers")
    .argument("<dataset...>", "JSON in the format of COCO, with objects, questions, counts or text")
    .option("--task <names>", `${EVAL_TASKS.join(", ")} with commas between, or all`, taskNames, "all")
    .option("--images <dir>", "where the pictures are (default: beside the dataset)")
    .option("--limit <n>", "the first n pictures only", wholeNumber(1))
    .option("--per-class", "detect one category at a time (default: everything at once)")
    .option("--absent <n>", "categories that are not in a picture and are asked for all the same", wholeNumber(0), 1)
    .option("--guided", "keep detections and points to tags that can be read, and to the dataset's names")
    .option("--predictions <file>", "evaluate these answers; no model is asked")
    .option("--out <dir>", "write report.md, report.json, worst.png and the answers; run again to go on")
    .option("--json", "the report as one line of JSON")
    .option("--max-context <n>", "most tokens of question, picture and answer (default: at most 4096)", wholeNumber(1))
    .option("--system <text>", "an instruction that comes before everything else")
    .addOption(
      new Option("--hint-role <role>", "who says what the answer should point with").choices(["system", "user"]),
    )
  addSamplingOptions(addEngineOptions(command)).action((files: string[], flags: EvalFlags) =>
    evaluate(files, flags, terminal),
  )
}

function taskNames(text: string): "all" | EvalTask[] {
  if (text === "all") return "all"
  const names = text.split(",").map((name) => name.trim()) as EvalTask[]
  if (names.every((name) => EVAL_TASKS.includes(name))) return EVAL_TASKS.filter((task) => names.includes(task))
  throw new InvalidArgumentError(`Names of ${EVAL_TASKS.join(", ")} are needed, with commas between, or all.`)
}

async function evaluate(files: readonly string[], flags: EvalFlags, terminal: Terminal): Promise<void> {
  const { out } = flags
  if (flags.logprobs !== undefined) throw new UsageError("eval has no --logprobs")
  const texts = await Promise.all(files.map(readText))
  const dataset = readDataset(files.map((name, i) => ({ name, value: parseJson(texts[i], name) })))
  const answered = flags.predictions === undefined ? undefined : await given(flags.predictions, dataset, flags.task)
  const tasks = flags.task !== "all" ? flags.task : tasksOf(dataset).filter((task) => answered?.tasks.has(task) ?? true)
  if (answered?.tasks.size === 0 && tasks.length === 0) {
    throw new IsaacError(
      "bad_input",
      `${plainText(flags.predictions ?? "")} has no answers; say what they are to with --task`,
    )
  }
  checkTasks(dataset, tasks)
  const options: AskingOptions = { tasks, perClass: flags.perClass, absent: flags.absent }
  const images = dataset.images
    .filter((image) => questionsAbout(image, dataset, options).length > 0)
    .slice(0, flags.limit)
  if (out !== undefined) await makeFolder(out)

  const folder = flags.images ?? dirname(files[0])
  const pictureOf = (image: DatasetImage) => resolve(folder, image.file)
  const settings = { dataset: hashOf(texts), ...settingsOf(flags, tasks) }
  let failed = 0
  let predictions: Predictions
  let model: string | null = null
  let speed: EvalReport["speed"] = null
  if (answered === undefined) {
    const run = new EvalRun({ dataset, images, options, settings, pictureOf, flags, terminal })
    ;({ predictions, failed, speed } = await run.run())
    model = flags.model
  } else {
    const wanted = new Set(images)
    failed = answered.failed
    predictions = new Map([...answered.predictions].filter(([image]) => wanted.has(image)))
  }
  const evaluation = scoreDataset(dataset, predictions, options)
  const report: EvalReport = {
    model,
    settings: flags.predictions === undefined ? settings : { predictions: flags.predictions, tasks },
    pictures: { evaluated: evaluation.images, failed },
    tasks: evaluation.tasks,
    speed,
  }
  if (out !== undefined) await writeReport(out, report, evaluation, pictureOf, terminal.signal)
  terminal.out(flags.json ? `${JSON.stringify(report)}\n` : reportText(report))
  if (failed > 0) throw new Failed()
}

/** What answers depend on. Backends and threads answer the same. */
function settingsOf(flags: EvalFlags, tasks: readonly EvalTask[]): Record<string, unknown> {
  const { model, dtype, kvDtype, maxContext, perClass, absent, guided, system, hintRole } = flags
  const { logitBias, ...sampling } = samplingOf(flags)
  return {
    ...{ tasks, perClass: perClass ?? false, absent, guided: guided ?? false },
    ...{ model, dtype, kvDtype, maxContext, system, hintRole },
    ...sampling,
    logitBias: logitBias && [...(logitBias as Map<string, number>)],
  }
}

/** Answers of a file, and the tasks that it has answers to. */
async function given(file: string, dataset: Dataset, task: EvalFlags["task"]) {
  const [only, ...others] = task === "all" ? [] : task
  const found = readPredictions(await readText(file), dataset, others.length === 0 ? only : undefined)
  const tasks = new Set<EvalTask>()
  for (const { answers, boxes = [], byQuestion } of found.predictions.values()) {
    for (const { task } of answers) tasks.add(task)
    if (boxes.length > 0) tasks.add("detect")
    if (byQuestion) tasks.add("vqa")
  }
  return { ...found, tasks }
}

async function writeReport(
  out: string,
  report: EvalReport,
  evaluation: Evaluation,
  pictureOf: (image: DatasetImage) => string,
  signal: AbortSignal,
): Promise<void> {
  const worst = worstOf(evaluation.cases)
  const drawn = await drawWorst(join(out, "worst.png"), worst, pictureOf, signal)
  const listed = worst.map(({ image, task, about, badness, expected, said }) => {
    return { image: image.file, task, about, badness, expected, said }
  })
  await writeFileAtomically(join(out, "report.json"), `${JSON.stringify({ ...report, worst: listed }, null, 2)}\n`)
  await writeFileAtomically(join(out, "report.md"), reportMarkdown(report, worst, drawn ? "worst.png" : null))
}

function hashOf(texts: readonly string[]): string {
  const hash = createHash("sha256")
  for (const text of texts) hash.update(text).update("\0")
  return hash.digest("hex")
}

async function readText(file: string): Promise<string> {
  return readFile(file, "utf8").catch((cause: NodeJS.ErrnoException) => {
    throw new IsaacError(
      cause.code === "ENOENT" ? "not_found" : "io",
      `${plainText(file)} cannot be read: ${cause.message}`,
      {
        cause,
      },
    )
  })
}

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new IsaacError("bad_input", `${plainText(file)} is no JSON: ${plainText((cause as Error).message)}`, {
      cause,
    })
  }
}

async function makeFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true }).catch((cause: Error) => {
    throw new IsaacError("io", `the folder ${plainText(path)} cannot be made: ${cause.message}`, { cause })
  })
}
