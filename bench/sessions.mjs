// How long the first token of an answer takes: in the first turn about a picture, in the second, in a fork, and after a
// session was saved and restored; of the first and later questions to a view, which knows nothing of earlier ones.
// Medians, on isaac-tiny unless a model is named; npm run build first.
//
//     node bench/sessions.mjs [MODEL] [--backend B] [--dtype T] [--rounds N] [--size WIDTHxHEIGHT]

import { mkdtemp, rm, stat } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import sharp from "sharp"
import { Isaac } from "../dist/index.js"

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    backend: { type: "string", default: "auto" },
    dtype: { type: "string", default: "auto" },
    rounds: { type: "string", default: "5" },
    size: { type: "string", default: "4000x3000" },
  },
})
const [width, height] = values.size.split("x").map(Number)
const isaac = await Isaac.load(positionals[0] ?? "tiny", { backend: values.backend, dtype: values.dtype })
const folder = await mkdtemp(join(tmpdir(), "isaac-bench-"))

/** A drawn picture, of 12 megapixels unless told, a little different each time, so that nothing is known of it. */
async function photograph(seed) {
  const svg = `<svg width="${width}" height="${height}" viewBox="0 0 4000 3000" preserveAspectRatio="none">
    <rect width="4000" height="3000" fill="#${(seed * 7919).toString(16).padStart(6, "0").slice(-6)}"/>
    <circle cx="${1000 + seed}" cy="1500" r="700" fill="#cc2222"/></svg>`
  return new Uint8Array(await sharp(Buffer.from(svg)).jpeg().toBuffer())
}

/** Milliseconds to the first token, and the whole answer. */
async function timed(ask) {
  const start = performance.now()
  let ms
  const onProgress = ({ stage }) => {
    if (stage === "answer") ms ??= performance.now() - start
  }
  const answer = await ask(onProgress)
  return { ms, answer }
}

const first = (session, images, question) =>
  timed((onProgress) => session.ask(images, question, { maxNewTokens: 60, onProgress }))

const brief = { maxNewTokens: 12 }
const times = {}
const note = (name, ms) => {
  times[name] ??= []
  times[name].push(ms)
}
let bytes = 0
let tokens = 0
for (let round = 0; round < Number(values.rounds) + 1; round++) {
  const warm = round > 0 // the first round is not counted
  const count = (name, ms) => warm && note(name, ms)
  const picture = await photograph(1 + round)
  const session = isaac.session()
  count("turn 1", (await first(session, [picture], "Describe the image.")).ms)
  const fork = session.fork()
  count("turn 2", (await first(session, [], "How many circles are there?")).ms)
  count("fork", (await first(fork, [], "How many circles are there?")).ms)
  const stranger = isaac.session()
  count("another session, same picture", (await first(stranger, [picture], "Describe the image.")).ms)

  const shown = await photograph(1000 + round)
  const view = isaac.view(shown)
  count("view, question 1", (await timed((onProgress) => view.ask("Describe the image.", { ...brief, onProgress }))).ms)
  count(
    "view, question 2",
    (await timed((onProgress) => view.ask("How many circles are there?", { ...brief, onProgress }))).ms,
  )
  count(
    "view, first with another hint",
    (await timed((onProgress) => view.count("circles", { ...brief, onProgress }))).ms,
  )
  count("view, next with that hint", (await timed((onProgress) => view.count("squares", { ...brief, onProgress }))).ms)
  count(
    "alone, same picture",
    (await timed((onProgress) => isaac.ask(shown, "Is there a ring?", { ...brief, onProgress }))).ms,
  )
  await view.dispose()

  const path = join(folder, "session")
  let start = performance.now()
  await session.save(path)
  count("save", performance.now() - start)
  bytes = (await stat(path)).size
  start = performance.now()
  const restored = await isaac.restoreSession(path)
  count("restore", performance.now() - start)
  tokens = await restored.length()
  count("turn after restore", (await first(restored, [], "Is there a star?")).ms)
  for (const one of [session, fork, stranger, restored]) await one.dispose()
}
const median = (numbers) => numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)]
for (const [name, ms] of Object.entries(times)) console.log(name.padEnd(30), median(ms).toFixed(1).padStart(8), "ms")
console.log(`saved: ${(bytes / 1e6).toFixed(2)} MB of ${tokens} tokens and the picture`)
await isaac.dispose()
await rm(folder, { recursive: true })
