/** What bench/peers.mjs prints and writes: markdown tables of what was measured, and the place in a page where they go. */

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
 * The goals beside what was measured. A goal is [name, unit, backend, least or most, wanted, (best of a key) => number];
 * one that was not measured has an empty cell.
 */
export function goalTable(goals, find) {
  const rows = goals.map(({ name, most, least, unit, value }) => {
    const measured = value(find)
    const wanted = `${least === undefined ? "≤" : "≥"} ${least ?? most} ${unit}`
    if (measured == null || !Number.isFinite(measured)) return [name, wanted, "", ""]
    const met = least === undefined ? measured <= most : measured >= least
    return [name, wanted, `${digits(measured)} ${unit}`, met ? "yes" : "no"]
  })
  return markdownTable(["goal", "wanted", "measured", "met"], rows)
}

/** Shares of what the machine can do: reading in decode, int8 dot products in prefill. */
export function rooflineTable(ours, limits, work) {
  const percent = (share) => (Number.isFinite(share) ? `${(100 * share).toFixed(0)} %` : "")
  const rows = ours.flatMap(({ label, backend, best, bytesPerNumber }) => {
    const limit = limits[backend]
    if (!limit) return []
    const operations = 2 * work.prefillNumbers * best.prefill_tok_s
    const bytes = work.decodeNumbers * bytesPerNumber * best.decode_tok_s
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
