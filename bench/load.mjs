// How long checkpoints take to load, and how much memory: `node bench/load.mjs [PRESET] [RUNS]`, after `npm run build`.
//
// Writes random checkpoints of the preset's shape into a temporary folder (isaac-0.1-tenth takes 2 GB of disk) and loads
// each in a process of its own, in the calling thread, whose peak memory is then the load's. Files come from the page
// cache: what is measured is the work, not the disk. Medians of RUNS.

import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { cpus, tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const self = fileURLToPath(import.meta.url)

if (process.argv[2] === "--child") {
  const [model, dtype] = process.argv.slice(3)
  const { Isaac } = await import("../dist/index.js")
  const before = process.resourceUsage().maxRSS
  const start = performance.now()
  const isaac = await Isaac.load(model, { dtype, worker: false })
  const ms = performance.now() - start
  const peak = process.resourceUsage().maxRSS * 1024
  const { used } = await isaac.memory()
  await isaac.dispose()
  console.log(JSON.stringify({ ms, peak, before: before * 1024, used }))
} else {
  const [preset = "isaac-0.1-tenth", runs = "3"] = process.argv.slice(2)
  const { synthesize } = await import("../dist/internal.js")
  const cli = fileURLToPath(new URL("../bin/isaac.js", import.meta.url))
  const folder = mkdtempSync(join(tmpdir(), "isaac-load-"))
  // A cache of its own: what this writes is of no use to anybody.
  const env = { ...process.env, ISAAC_CACHE: join(folder, "cache") }
  try {
    const [f32, bf16] = ["f32", "bf16"].map((name) => join(folder, name))
    const shardBytes = 4e8
    const { parameters, bytes } = await synthesize(f32, { preset, seed: 1, dtype: "f32", shardBytes })
    await synthesize(bf16, { preset, seed: 1, dtype: "bf16" })
    console.log(`${preset}: ${(parameters / 1e6).toFixed(0)} M parameters, ${(bytes / 1e6).toFixed(0)} MB as f32`)
    console.log(`${cpus()[0].model}, ${cpus().length} cores, Node ${process.version}\n`)
    console.log("| checkpoint | kept as | load, s | peak memory, MB | of it weights and caches, MB |")
    console.log("|---|---|---|---|---|")
    const row = (what, model, dtype, count = Number(runs)) => {
      const results = Array.from({ length: count }, () =>
        JSON.parse(execFileSync(process.execPath, [self, "--child", model, dtype], { env, encoding: "utf8" })),
      ).sort((a, b) => a.ms - b.ms)
      const { ms, peak, used } = results[results.length >> 1]
      console.log(
        `| ${what} | ${dtype} | ${[ms / 1e3, peak / 1e6, used / 1e6].map((n) => n.toPrecision(3)).join(" | ")} |`,
      )
    }
    row("f32, in shards", f32, "f32")
    row("f32, in shards", f32, "bf16")
    row("f32, in shards, first time", f32, "q8", 1)
    row("f32, in shards, from the cache", f32, "q8")
    row("bf16, one file", bf16, "bf16")
    row("bf16, one file, first time", bf16, "q8", 1)
    row("bf16, one file, from the cache", bf16, "q8")
    const q8 = join(folder, "q8")
    execFileSync(process.execPath, [cli, "convert", f32, "--dtype", "q8", "--out", q8], { env })
    row("converted to q8", q8, "auto")
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
