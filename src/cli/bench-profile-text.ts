/** A profile as people read it: for each phase, bars of where its time went. */

import type { Phase } from "./bench-measure"
import type { OperationReport, PhaseReport, ProfileReport } from "./bench-profile"
import { formatDuration, formatNumber, formatTable } from "./format"

const TITLES: Readonly<Record<Phase, string>> = {
  vision: "Looking at the picture",
  prefill: "Reading the prompt",
  decode: "Writing, one sequence",
  batch: "Writing, all sequences at once",
}

/** Characters of a bar that is all of the time. */
const BAR = 24
/** What takes less of the time is told in one line. */
const SMALL = 0.005
const EIGHTHS = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"]

export function profileText({ limits, phases }: ProfileReport): string {
  const parts = phases.map((phase) => phaseText(phase))
  const legend = [
    "Bars and percentages are shares of the phase's time. Speeds count two operations for a multiply-add, and the bytes",
    "that must be read and written at least.",
  ]
  if (limits) {
    const { f32_gops: f32, bf16_gops: bf16, int8_gops: int8 } = limits
    const arithmetic = Object.entries({ f32, bf16, int8 }).flatMap(([factors, gops]) =>
      gops === null ? [] : [`${formatNumber(gops)} Gop/s of ${factors} multiply-adds`],
    )
    legend.push(
      "The last column compares an operation with what this machine can do at most, measured beside it:",
      `  ${arithmetic.join(", ")}; reading ${formatNumber(limits.read_gb_s)} GB/s.`,
      "100 % of arithmetic or memory cannot be faster here, except by doing less; more than 100 % of memory were in a cache.",
    )
  }
  return `${[...parts, legend.join("\n")].join("\n\n")}\n`
}

function phaseText({ phase, ms, operations, outside_ms: outside, roofline }: PhaseReport): string {
  const large = operations.filter(({ share }) => share >= SMALL)
  const small = operations.filter(({ share }) => share < SMALL)
  const rows = large.map((operation) => operationRow(operation))
  if (small.length > 0) {
    const time = small.reduce((sum, operation) => sum + operation.ms, 0)
    const calls = small.reduce((sum, operation) => sum + operation.calls, 0)
    rows.push([`${small.length} more, below ${SMALL * 100} % each`, ...timeCells(time / ms, time), `${calls}`])
  }
  rows.push(["outside of operations", ...timeCells(outside / ms, outside)])
  const reached = roofline === null ? "" : `, ${percent(roofline)} of what the machine could do`
  const table = formatTable(
    [["", "", "share", "time", "calls", "arithmetic", "memory", "of the limit"], ...rows],
    RIGHT,
  )
  return `${TITLES[phase]}: ${formatDuration(ms)}${reached}\n${table}`
}

/** Columns of numbers. */
const RIGHT = [2, 3, 4, 5, 6]

function operationRow({ kind, name, calls, ms, share, gops, gb_s, bound, roofline }: OperationReport): string[] {
  const label = kind === "linear" || kind === "attention" ? `${kind} ${name}` : name
  return [
    label,
    ...timeCells(share, ms),
    `${calls}`,
    gops > 0 ? `${formatNumber(gops)} Gop/s` : "",
    gb_s > 0 ? `${formatNumber(gb_s)} GB/s` : "",
    roofline === null ? "" : `${percent(roofline)} of ${bound}`,
  ]
}

function timeCells(share: number, ms: number): string[] {
  return [bar(share), percent(share), formatDuration(ms)]
}

function bar(share: number): string {
  const eighths = Math.round(Math.min(1, share) * BAR * 8)
  return "█".repeat(eighths >> 3) + EIGHTHS[eighths & 7]
}

function percent(share: number): string {
  return `${(share * 100).toFixed(share < 0.0995 ? 1 : 0)} %`
}
