/** `isaac bench`: how fast a model is here. One warm-up, then the median of several runs. */

import type { Command } from "commander"
import { type Backend, CpuBackend, type ProfiledBackend, profiledBackend } from "../internal"
import { loadForBench } from "./bench-load"
import { type BenchRun, runBench } from "./bench-measure"
import { type ProfileReport, profileRun } from "./bench-profile"
import { profileText } from "./bench-profile-text"
import type { PictureSize } from "./bench-prompt"
import { addEngineOptions, type EngineOptions } from "./engine-options"
import { UsageError } from "./failure"
import { formatBytes, formatDuration, formatNumber, formatTable } from "./format"
import { pictureSize, wholeNumber } from "./option-values"
import { ProgressLine } from "./progress"
import type { Terminal } from "./terminal"

interface BenchFlags extends EngineOptions {
  readonly image?: PictureSize
  readonly promptTokens: number
  readonly newTokens: number
  readonly runs: number
  readonly batch: number
  readonly profile?: true
  readonly json?: true
}

/** What `--json` prints. */
export interface BenchReport {
  readonly model: string
  readonly backend: string
  readonly isa: string
  readonly dtype: string
  readonly threads: number
  readonly load_s: number
  /** 0 where nothing was converted. */
  readonly convert_s: number
  /** Null without a picture, as the next. */
  readonly vision_patches: number | null
  readonly vision_ms: number | null
  /** The picture's tokens and those of the text. */
  readonly prefill_tokens: number
  readonly prefill_tok_s: number
  /** Steps: one fewer than new tokens. */
  readonly decode_tokens: number
  /** Null where there was no step. */
  readonly decode_tok_s: number | null
  readonly peak_rss_bytes: number
  /** With --kv-dtype: how keys and values are kept. */
  readonly kv_dtype?: string
  /** With --batch: how many sequences, and the tokens of all of them in a second. */
  readonly batch?: number
  readonly batch_decode_tok_s?: number | null
  /** With --profile. */
  readonly profile?: ProfileReport
}

const MOST_BATCH = 256

export function addBench(program: Command, terminal: Terminal): void {
  const command = program.command("bench").description("how fast a model is on this machine")
  addEngineOptions(command)
    .option("--image <HxW>", "a made-up picture of this height and width comes first (e.g. 480x640)", pictureSize)
    .option("--prompt-tokens <n>", "tokens of text in the prompt", wholeNumber(0), 512)
    .option("--new-tokens <n>", "tokens to write; the first of them belongs to the prompt", wholeNumber(1), 64)
    .option("--runs <n>", "runs to take the median of, after one to warm up", wholeNumber(1), 3)
    .option("--batch <n>", "write n sequences at once as well", wholeNumber(1), 1)
    .option("--profile", "tell where the time goes, operation by operation, in one run more")
    .option("--json", "one line of JSON")
    .action((flags: BenchFlags) => bench(flags, terminal))
}

async function bench(flags: BenchFlags, terminal: Terminal): Promise<void> {
  const { model, image, promptTokens, newTokens, runs, batch, kvDtype, profile, json, ...options } = flags
  if (promptTokens === 0 && !image)
    throw new UsageError("--prompt-tokens 0 needs an --image: the prompt would be empty")
  if (batch > MOST_BATCH) throw new UsageError(`--batch is at most ${MOST_BATCH}`)
  if (batch > 1 && newTokens === 1) throw new UsageError("--batch needs at least 2 --new-tokens")

  const { signal } = terminal
  const progress = new ProgressLine(terminal)
  let watched: { readonly backend: Backend; readonly profiled: ProfiledBackend } | undefined
  const wrapBackend = (backend: Backend) => {
    const profiled = profiledBackend(backend)
    watched = { backend, profiled }
    return profiled.backend
  }
  try {
    const { engine, prompt, loadMs, convertMs } = await loadForBench(model, {
      ...options,
      kvDtype,
      image,
      promptTokens,
      newTokens,
      wrapBackend: profile && wrapBackend,
      signal,
      onProgress: (step) => progress.loading(step),
    })
    try {
      const work = { prompt, newTokens, batch, signal }
      const measured: BenchRun[] = []
      for (let run = 0; run <= runs; run++) {
        progress.show(run === 0 ? "warming up" : `run ${run} of ${runs}`)
        const result = await runBench(engine.model, work)
        if (run > 0) measured.push(result)
      }
      let profileReport: ProfileReport | undefined
      if (watched) {
        progress.show("timing operations")
        const { backend, profiled } = watched
        const limits = () => (backend instanceof CpuBackend ? backend.limits() : undefined)
        profileReport = await profileRun(engine.model, work, profiled, limits)
      }
      progress.clear()
      const { backend, isa, dtype, threads, kvDtype: kept } = engine.info
      const steps = newTokens - 1
      const perSecond = (tokens: number, ms: number | null) =>
        ms === null || tokens === 0 ? null : round(tokens / (ms / 1000))
      const report: BenchReport = {
        model,
        backend,
        isa,
        dtype,
        threads,
        load_s: round(loadMs / 1000),
        convert_s: round(convertMs / 1000),
        vision_patches: image ? prompt.patches : null,
        vision_ms: round(median(measured.map(({ visionMs }) => visionMs))),
        prefill_tokens: prompt.tokens,
        prefill_tok_s: perSecond(prompt.tokens, median(measured.map(({ prefillMs }) => prefillMs)))!,
        decode_tokens: steps,
        decode_tok_s: perSecond(steps, median(measured.map(({ decodeMs }) => decodeMs))),
        // The system counts in kilobytes.
        peak_rss_bytes: process.resourceUsage().maxRSS * 1024,
        ...(kvDtype !== "auto" && { kv_dtype: kept }),
        ...(batch > 1 && {
          batch,
          batch_decode_tok_s: perSecond(batch * steps, median(measured.map(({ batchMs }) => batchMs))),
        }),
        ...(profileReport && { profile: profileReport }),
      }
      terminal.out(json ? `${JSON.stringify(report)}\n` : reportText(report, kept, prompt.imageTokens))
    } finally {
      await engine.dispose()
    }
  } finally {
    progress.clear()
  }
}

/** Null where nothing was measured. */
function median(values: readonly (number | undefined)[]): number | null {
  const sorted = values.filter((value) => value !== undefined).sort((a, b) => a - b)
  if (sorted.length === 0) return null
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** To a thousandth: more digits are noise. */
function round<T extends number | null>(value: T): T {
  return (value === null ? null : Math.round(value * 1000) / 1000) as T
}

function reportText(report: BenchReport, kvDtype: string, imageTokens: number): string {
  const speed = (value: number | null | undefined) => (value == null ? "" : `${formatNumber(value)} tokens/s`)
  const { vision_patches: patches, vision_ms: ms, batch } = report
  const engine = `${report.backend} (${report.isa}), ${report.threads} ${report.threads === 1 ? "thread" : "threads"}`
  const converted = report.convert_s > 0 ? `, after ${report.convert_s.toFixed(1)} s of conversion` : ""
  const ofPicture = imageTokens > 0 ? `, ${imageTokens} of the picture` : ""
  const rows = [
    ["model", report.model],
    ["runs on", engine],
    ["kept as", `weights ${report.dtype}, keys and values ${kvDtype}`],
    ["loaded in", `${report.load_s.toFixed(2)} s${converted}`],
    ...(patches === null ? [] : [["picture", `${formatDuration(ms!)} for ${patches} patches`]]),
    ["prompt", `${speed(report.prefill_tok_s)}, ${report.prefill_tokens} tokens${ofPicture}`],
    [
      "answer",
      report.decode_tok_s === null ? "no steps" : `${speed(report.decode_tok_s)}, ${report.decode_tokens} steps`,
    ],
    ...(batch === undefined ? [] : [[`${batch} answers`, `${speed(report.batch_decode_tok_s)}, all together`]]),
    ["memory", `${formatBytes(report.peak_rss_bytes)} at most`],
  ]
  return `${formatTable(rows)}\n${report.profile ? `\n${profileText(report.profile)}` : ""}`
}
