/** What bench/peers.mjs prints and writes: markdown tables of what was measured, and the place in a page where they go. */

import { decoder, decoderNumbers } from "./shape.mjs"

const BEGIN = "<!-- measured by npm run bench: begin -->"
const END = "<!-- measured by npm run bench: end -->"

/** A number with three digits that mean something. */
export function digits(value) {
  if (value == null || !Number.isFinite(value)) return ""
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3)
}

const times = (ratio) => (ratio == null || !Number.isFinite(ratio) ? "" : `${ratio.toFixed(2)}×`)
const gigabytes = (bytes) => (bytes == null ? "" : `${(bytes / 1e9).toFixed(2)} GB`)
const seconds = (ms) => (ms == null ? "" : `${digits(ms / 1000)} s`)

/** A markdown table; cells are strings, rows as long as the head. */
export function markdownTable(head, rows) {
  const line = (cells) => `| ${cells.map((cell) => String(cell).replaceAll("|", "\\|")).join(" | ")} |`
  return [line(head), `|${head.map(() => "---").join("|")}|`, ...rows.map(line)].join("\n")
}

/**
 * The page with the section between the two marks replaced. Where it has none yet, the section goes before its first
 * heading of the second order, or to the end.
 */
export function replaceSection(page, section) {
  const marked = `${BEGIN}\n\n${section.trim()}\n\n${END}`
  const begin = page.indexOf(BEGIN)
  const end = page.indexOf(END)
  if (begin >= 0 !== end >= 0 || end < begin) {
    throw new Error(`One of the marks "${BEGIN}" and "${END}" is missing, or they stand in the wrong order.`)
  }
  if (begin >= 0) return page.slice(0, begin) + marked + page.slice(end + END.length)
  const heading = page.search(/^## /m)
  const at = heading < 0 ? page.length : heading
  return `${page.slice(0, at).trimEnd()}\n\n${marked}\n\n${page.slice(at)}`.trimStart()
}

const columns = [
  ["prefill, tok/s", (m) => digits(m.prefill_tok_s)],
  ["decode, tok/s", (m) => digits(m.decode_tok_s)],
  ["decode, batch of 8", (m) => digits(m.batch_decode_tok_s)],
  ["1200 patches", (m) => seconds(m.vision_ms)],
  ["6144 patches", (m) => seconds(m.large_vision_ms)],
  ["load", (m) => (m.load_s == null ? "" : `${digits(m.load_s)} s`)],
  ["peak memory", (m) => gigabytes(m.peak_rss_bytes)],
]

/** A row for each subject, without the columns that nobody has. */
export function speedTable(subjects) {
  const shown = columns.filter(([, cell]) => subjects.some(({ best }) => cell(best) !== ""))
  const rows = subjects.map(({ label, best }) => [label, ...shown.map(([, cell]) => cell(best))])
  return markdownTable(["", ...shown.map(([name]) => name)], rows)
}

/** How many times as fast as each peer a subject of ours is; above 1 we are faster. */
export function ratioTable(ours, peers) {
  const measures = [
    ["prefill", (a, b) => a.prefill_tok_s / b.prefill_tok_s],
    ["decode", (a, b) => a.decode_tok_s / b.decode_tok_s],
    ["decode, batch of 8", (a, b) => a.batch_decode_tok_s / (b.batch_decode_tok_s || Number.NaN)],
    ["1200 patches", (a, b) => b.vision_ms / a.vision_ms],
    ["6144 patches", (a, b) => b.large_vision_ms / a.large_vision_ms],
  ]
  const rows = []
  for (const { label, best } of ours) {
    for (const [name, ratio] of measures) {
      const cells = peers.map((peer) => times(ratio(best, peer.best) || null))
      if (cells.some((cell) => cell !== "")) rows.push([`${label}: ${name}`, ...cells])
    }
  }
  return markdownTable(["", ...peers.map(({ label }) => label)], rows)
}

/**
 * The goals beside what was measured; those that nothing was measured for are left out. A goal is `{name, unit, least or
 * most, value}`, where value looks up what it needs by a subject's key. Undefined where there is none to show.
 */
export function goalTable(goals, find) {
  const rows = goals.flatMap(({ name, most, least, unit, value }) => {
    const measured = value(find)
    if (measured == null || !Number.isFinite(measured)) return []
    const met = least === undefined ? measured <= most : measured >= least
    const wanted = least === undefined ? `≤ ${most}` : `≥ ${least}`
    return [[name, `${wanted} ${unit}`, `${digits(measured)} ${unit}`, met ? "yes" : "no"]]
  })
  return rows.length === 0 ? undefined : markdownTable(["goal", "wanted", "measured", "met"], rows)
}

/** Shares of what the machine can do: reading in decode, int8 dot products in prefill. */
export function rooflineTable(ours, limits) {
  const decodeNumbers = decoderNumbers()
  const prefillNumbers = decodeNumbers - decoder.hidden * decoder.vocab // the head is for the last token alone
  const percent = (share) => (Number.isFinite(share) ? `${(100 * share).toFixed(0)} %` : "")
  const rows = ours.flatMap(({ label, backend, best, bytesPerNumber }) => {
    const limit = limits[backend]
    if (!limit) return []
    const operations = 2 * prefillNumbers * best.prefill_tok_s
    const bytes = decodeNumbers * bytesPerNumber * best.decode_tok_s
    return [
      [
        label,
        `${digits(limit.dot / 1e9)} GOP/s`,
        `${digits(operations / 1e9)} GOP/s, ${percent(operations / limit.dot)}`,
        `${digits(limit.read / 1e9)} GB/s`,
        `${digits(bytes / 1e9)} GB/s, ${percent(bytes / limit.read)}`,
      ],
    ]
  })
  return markdownTable(["", "dot products on registers", "prefill", "read loop", "decode"], rows)
}

/** The section of the page: what was measured where, the tables, and what was not measured. */
export function measuredSection({ measured, limits, goals, skipped, facts }) {
  const ours = measured.filter((subject) => subject.ours)
  const peers = measured.filter((subject) => !subject.ours)
  const distinct = (texts) => texts.filter((text, n) => text && texts.indexOf(text) === n)
  const isas = distinct(ours.map(({ best }) => best.isa))
  const runs = [
    `Node ${facts.node}`,
    ...(isas.length > 0 ? [`isaac on ${isas.join(" and ")}`] : []),
    ...distinct(peers.map(({ best }) => best.version)),
  ]
  const processors = `${facts.threads} ${facts.threads === 1 ? "thread" : "threads"}`
  const how = [
    `${facts.date}, ${facts.machine}, ${processors}; ${runs.join(", ")}.`,
    `Random weights of the real shape, ${facts.prompt} tokens of prompt, then ${facts.steps} tokens;`,
    `best of ${facts.rounds} ${facts.rounds === 1 ? "round" : "rounds in turn"}.`,
    `Before the measurements, ${(100 * facts.busy).toFixed(0)} % of the machine was busy with something else.`,
    ...(facts.clock === "processor" ? ["Seconds are those of the processor, not of the clock on the wall."] : []),
    ...(facts.layers ? [`Computed from ${facts.layers} layers.`] : []),
  ]
  const notes = [
    "llama.cpp and ONNX Runtime return logits and choose no token; isaac also chooses one.",
    "llama.cpp's head and embedding are kept as all else, which is less to read than usual for Q4_0.",
    "ONNX Runtime is given embeddings; its keys and values go out of one run and into the next, as transformers.js does it.",
  ]
  const ratios = ours.length > 0 && peers.length > 0 ? ratioTable(ours, peers) : undefined
  const roofline = ours.some(({ backend }) => limits[backend]) ? rooflineTable(ours, limits) : undefined
  const reached = goalTable(goals, (key) => measured.find((subject) => subject.key === key)?.best)
  const parts = [
    "## Measured: the whole model, beside others",
    how.join(" "),
    speedTable(measured),
    ...(ratios ? ["How many times as fast as each, in this run (above 1, isaac is faster):", ratios] : []),
    ...(roofline ? ["Beside what the machine can do with the same instructions and threads:", roofline] : []),
    ...(reached ? ["The goals:", reached] : []),
    notes.join(" "),
    ...(skipped.length > 0
      ? [`Not measured:\n\n${skipped.map((why) => `- ${why.replaceAll("\n", " ")}`).join("\n")}`]
      : []),
  ]
  return parts.join("\n\n")
}
