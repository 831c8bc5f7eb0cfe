/**
 * Feeds made-up input to everything that reads what strangers wrote, and checks what must always hold.
 *
 *   npm run fuzz -- [--target safetensors,tags,…] [--inputs 200000] [--from 0] [--state FILE] [--keep FILE]
 *   npm run fuzz -- --target tags --only 1234
 *
 * An input follows from its number, so a failure can be made again (--only). With --state a run goes on where the last
 * one stopped, and counts all runs together. --keep writes the shortest input of every kind of outcome. Exit code 1 when
 * a promise was broken.
 */

import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { build } from "tsdown"

const { values } = parseArgs({
  options: {
    target: { type: "string" },
    inputs: { type: "string", default: "200000" },
    from: { type: "string" },
    only: { type: "string" },
    state: { type: "string" },
    keep: { type: "string" },
  },
})

const { targets, randomOf } = await loadTargets()
const names = values.target?.split(",") ?? [...targets.keys()]
const unknown = names.find((name) => !targets.has(name))
if (unknown) throw new Error(`there is no target ${unknown}; there are ${[...targets.keys()].join(", ")}`)
const state = values.state && existsSync(values.state) ? JSON.parse(readFileSync(values.state, "utf8")) : {}
const kept = {}
let broken = 0
for (const name of names) {
  if (values.only === undefined) await fuzz(name)
  else console.log(await one(targets.get(name), Number(values.only)))
}
if (values.keep) writeFileSync(values.keep, `${JSON.stringify(kept, null, 1)}\n`)
process.exitCode = broken > 0 ? 1 : 0

/** The sources as they are now, not what was last built. */
async function loadTargets() {
  const outDir = fileURLToPath(new URL(`../.cache/fuzz-${process.pid}`, import.meta.url))
  process.on("exit", () => rmSync(outDir, { recursive: true, force: true }))
  await build({
    config: false,
    entry: [fileURLToPath(new URL("./fuzz/targets.ts", import.meta.url))],
    outDir,
    format: "esm",
    platform: "node",
    dts: false,
    logLevel: "error",
    outExtensions: () => ({ js: ".mjs" }),
  })
  const { FUZZ_TARGETS, randomOf } = await import(`${outDir}/targets.mjs`)
  return { randomOf, targets: new Map(FUZZ_TARGETS.map((target) => [target.name, target])) }
}

/** Make and check the input with this number. */
async function one(target, number) {
  const random = randomOf(number)
  const input = target.make(random)
  try {
    const outcome = target.check(input, random)
    return { input, outcome: typeof outcome === "string" ? outcome : await outcome }
  } catch (error) {
    return { input, error: error.stack }
  }
}

async function fuzz(name) {
  const target = targets.get(name)
  const before = state[name] ?? { next: 0, inputs: 0, seconds: 0, broken: 0 }
  const first = Number(values.from ?? before.next)
  const last = first + Number(values.inputs)
  const outcomes = new Map()
  const start = process.cpuUsage()
  let brokenHere = 0
  let slowest = { ms: 0, number: first }

  const report = (next) => {
    const { user, system } = process.cpuUsage(start)
    const inputs = next - first
    const seconds = (user + system) / 1e6
    state[name] = {
      next,
      inputs: before.inputs + inputs,
      seconds: before.seconds + seconds,
      broken: before.broken + brokenHere,
    }
    if (values.state) writeFileSync(values.state, JSON.stringify(state, null, 1))
    return (
      `${name}: ${inputs} inputs from ${first} on, ${Math.round(inputs / seconds)} a second of CPU time, ` +
      `${outcomes.size} kinds of outcome, ${brokenHere} broken promises, ` +
      `slowest ${slowest.ms.toFixed(1)} ms (${slowest.number})`
    )
  }

  for (let number = first; number < last; number++) {
    const began = performance.now()
    const { input, outcome, error } = await one(target, number)
    const ms = performance.now() - began
    // The first ones wait for the compiler.
    if (ms > slowest.ms && number >= first + 1000) slowest = { ms, number }
    if (error) {
      brokenHere++
      console.log(`${name} ${number}: ${error}\n  ${JSON.stringify(input).slice(0, 2000)}`)
    } else if (!(outcomes.get(outcome)?.length <= input.length)) outcomes.set(outcome, input)
    if ((number + 1) % 100_000 === 0) report(number + 1)
  }
  console.log(report(last))
  broken += brokenHere
  kept[name] = Object.fromEntries(outcomes)
}
