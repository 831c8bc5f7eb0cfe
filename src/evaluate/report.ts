/** A report of an evaluation, for people: as Markdown, and in short for a terminal. */

import type { EvalCase, TaskReports } from "./score-dataset"

/** What report.json holds. */
export interface EvalReport {
  readonly model: string | null
  /** What was asked and how, as far as answers depend on it. */
  readonly settings: Readonly<Record<string, unknown>>
  readonly pictures: {
    /** Pictures that the metrics are of. */
    readonly evaluated: number
    /** Pictures that failed; the metrics leave them out. */
    readonly failed: number
  }
  readonly tasks: TaskReports
  /** Of the answers made in this run; null when all were there already. */
  readonly speed: { readonly questions: number; readonly seconds: number; readonly tokens: number } | null
}

type Row = readonly [name: string, value: string, meaning?: string]

/** Worst answers that a report lists. */
const LISTED = 30
/** Categories that a report lists. */
const CATEGORIES = 100

export function reportMarkdown(report: EvalReport, worst: readonly EvalCase[], picture: string | null): string {
  const { model, settings, pictures, tasks, speed } = report
  const lines = [`# Evaluation${model === null ? "" : ` of ${cell(model)}`}`, ""]
  const failed = pictures.failed === 0 ? "" : ` ${pictures.failed} more failed and are left out.`
  lines.push(`${pictures.evaluated} pictures.${failed}`, "")
  for (const { title, rows } of tables(tasks)) {
    lines.push(`## ${title}`, "", "| metric | value | |", "|---|---|---|")
    lines.push(...rows.map(([name, value, meaning = ""]) => `| ${name} | ${value} | ${meaning} |`), "")
  }
  const { detect } = tasks
  if (detect && detect.coco.categories.length > 0) {
    const { categories } = detect.coco
    lines.push("## Categories", "", "| category | objects | AP | AP50 | AR@100 |", "|---|---|---|---|---|")
    for (const { category, objects, ap, ap50, ar100 } of categories.slice(0, CATEGORIES)) {
      lines.push(`| ${cell(String(category))} | ${objects} | ${number(ap)} | ${number(ap50)} | ${number(ar100)} |`)
    }
    if (categories.length > CATEGORIES) lines.push("", `${categories.length - CATEGORIES} more are in report.json.`)
    lines.push("")
    const { unmatched } = detect.names
    if (unmatched.length > 0) {
      const names = unmatched.map(({ name, times }) => `${cell(name)} (${times})`).join(", ")
      lines.push(`Names that stand for no category, the most frequent first: ${names}.`, "")
    }
  }
  if (worst.length > 0) {
    lines.push("## Worst answers", "")
    if (picture !== null) lines.push(`![worst answers](${picture})`, "")
    lines.push("| picture | task | about | expected | said |", "|---|---|---|---|---|")
    for (const { image, task, about, expected, said } of worst.slice(0, LISTED)) {
      lines.push(`| ${[image.file, task, about ?? "", expected, said].map(cell).join(" | ")} |`)
    }
    lines.push("")
  }
  if (speed) {
    const each = ((1000 * speed.seconds) / Math.max(speed.questions, 1)).toFixed(0)
    lines.push(
      `${speed.questions} questions in ${speed.seconds.toFixed(1)} s (${each} ms each), ${speed.tokens} tokens.`,
      "",
    )
  }
  lines.push("## Settings", "", "```json", JSON.stringify(settings, null, 2), "```", "")
  return lines.join("\n")
}

/** The tables without their explanations, columns aligned. */
export function reportText({ tasks, pictures }: EvalReport): string {
  const all = tables(tasks)
  const width = Math.max(0, ...all.flatMap(({ rows }) => rows.map(([name]) => name.length)))
  const lines = all.flatMap(({ title, rows }) => [
    title,
    ...rows.map(([name, value]) => `  ${name.padEnd(width)}  ${value}`),
  ])
  const failed = pictures.failed === 0 ? "" : `, ${pictures.failed} failed`
  return `${[...lines, `${pictures.evaluated} pictures${failed}`].join("\n")}\n`
}

function tables({ detect, point, count, vqa, ocr }: TaskReports): { title: string; rows: Row[] }[] {
  const list: { title: string; rows: Row[] }[] = []
  if (detect) {
    const { coco, matches, names, ranking, unreadable } = detect
    const ranks = {
      confidence: "the mean log-probability of its tokens",
      order: "its place in the answer",
      given: "the scores that were given",
    }[ranking]
    const unnamed = names.ambiguous + names.none
    list.push({
      title: "Detection",
      rows: [
        ["mAP@[.5:.95]", number(coco.ap), `each box ranked by ${ranks}`],
        ...(detect.apByOrder === null
          ? []
          : [["mAP by order", number(detect.apByOrder), "each box ranked by its place in the answer"] as const]),
        ["AP50", number(coco.ap50)],
        ["AP75", number(coco.ap75)],
        [
          "AP small, medium, large",
          [coco.apSmall, coco.apMedium, coco.apLarge].map(number).join(" "),
          "below 32², 96² pixels",
        ],
        ["AR@1, @10, @100", [coco.ar1, coco.ar10, coco.ar100].map(number).join(" ")],
        [
          "precision",
          percent(matches.precision),
          `${matches.matched} of ${matches.found} boxes, at IoU 0.5, without ranking`,
        ],
        ["recall", percent(matches.recall), `${matches.matched} of ${matches.objects} objects`],
        ["F1", percent(matches.f1)],
        ["mean IoU of matches", number(matches.meanIou)],
        ["names without a category", String(unnamed), `${names.exact} exact, ${names.words + names.contained} alike`],
        ["unreadable tags", String(unreadable)],
      ],
    })
  }
  if (point) {
    list.push({
      title: "Pointing",
      rows: [
        [
          "points inside",
          percent(point.insideShare),
          `${point.inside} of ${point.points} points, ${point.questions} questions`,
        ],
        ["recall", percent(point.recall), `${point.hit} of ${point.objects} objects have a point of their own`],
      ],
    })
  }
  if (count) {
    list.push({
      title: "Counting",
      rows: [
        ["exact", percent(count.exact), `${count.questions} questions`],
        ["mean absolute error", number(count.mae)],
        ["root mean square error", number(count.rmse)],
        ["mean error", number(count.bias), "below 0: too few"],
        ["without a number", String(count.unanswered)],
      ],
    })
  }
  if (vqa) {
    list.push({
      title: "Questions",
      rows: [
        ["exact", percent(vqa.exact), `${vqa.questions} questions`],
        ["normalised", percent(vqa.normalised), "without case, articles, punctuation"],
        ["VQA accuracy", percent(vqa.accuracy), "by how many people agree"],
      ],
    })
  }
  if (ocr) {
    const { raw, normalised } = ocr
    list.push({
      title: "Reading",
      rows: [
        ["CER", percent(normalised.cer), `raw: ${percent(raw.cer)}; ${raw.texts} texts`],
        ["WER", percent(normalised.wer), `raw: ${percent(raw.wer)}`],
        ["exact", percent(normalised.exact), `raw: ${percent(raw.exact)}`],
      ],
    })
  }
  return list
}

function number(value: number | null): string {
  return value === null ? "–" : value.toFixed(3)
}

function percent(value: number | null): string {
  return value === null ? "–" : `${(100 * value).toFixed(1)} %`
}

/** Text from models and files in a cell of a table, on one line. */
function cell(text: string): string {
  const short = text.length > 120 ? `${text.slice(0, 120)}…` : text
  return short.replace(/\s+/g, " ").replace(/[\\`*_<>|[\]]/g, "\\$&")
}
