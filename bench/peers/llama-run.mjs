/**
 * llama.cpp through node-llama-cpp, one measurement in a process of its own; prints one line of JSON.
 *
 *   node llama-run.mjs FILE.gguf '{"threads":2,"prompt":512,"steps":64,"batch":8,"repeat":2}'
 *
 * The batches go to llama.cpp directly, without a sampler: only the model's own time counts.
 */

import { readFile } from "node:fs/promises"
import { getLlama } from "node-llama-cpp"

const [path, settings] = process.argv.slice(2)
const { threads, prompt, steps, batch, repeat } = JSON.parse(settings)

const started = performance.now()
const llama = await getLlama({ gpu: false, build: "never", skipDownload: true, logLevel: "error", maxThreads: threads })
const model = await llama.loadModel({ modelPath: path, gpuLayers: 0 })
const context = await model.createContext({
  threads,
  sequences: batch,
  contextSize: prompt + steps + 64,
  batchSize: prompt,
  ignoreMemorySafetyChecks: true,
})
const load_s = (performance.now() - started) / 1000
const raw = context._ctx

const ids = Uint32Array.from({ length: prompt }, (_, n) => (n * 7919 + 13) % 100_000)

/** One call of the model; `rows` are [sequence, position, ids], logits for the last of each. Seconds. */
async function evaluate(rows) {
  const start = performance.now()
  raw.initBatch(rows.reduce((sum, [, , tokens]) => sum + tokens.length, 0))
  for (const [sequence, position, tokens] of rows) {
    raw.addToBatch(sequence, position, tokens, Uint32Array.of(tokens.length - 1))
  }
  await raw.decodeBatch()
  return (performance.now() - start) / 1000
}

/** Seconds of `count` steps of one token for each of `sequences`, from position `prompt` on. */
async function decode(sequences, count) {
  let seconds = 0
  for (let n = 0; n < count; n++) {
    const rows = Array.from({ length: sequences }, (_, s) => [
      s,
      prompt + n,
      Uint32Array.of((n * 31 + s * 101) % 100_000),
    ])
    seconds += await evaluate(rows)
  }
  for (let s = 0; s < sequences; s++) raw.removeTokenCellsFromSequence(s, prompt, -1)
  return seconds
}

const best = { prefill: Infinity, decode: Infinity, batch: Infinity }
await evaluate([[0, 0, ids.subarray(0, 32)]])
for (let n = 0; n < repeat; n++) {
  raw.disposeSequence(0)
  best.prefill = Math.min(best.prefill, await evaluate([[0, 0, ids]]))
  best.decode = Math.min(best.decode, await decode(1, steps))
}
if (batch > 1) {
  // Every sequence needs a context of its own; copying the first one's saves computing it again.
  for (let s = 1; s < batch; s++) await raw.copySequenceStateFromOtherSequence(s, 0)
  for (let n = 0; n < repeat; n++) best.batch = Math.min(best.batch, await decode(batch, Math.ceil(steps / 4)))
}

const manifest = new URL("node_modules/node-llama-cpp/package.json", import.meta.url)
const { version } = JSON.parse(await readFile(manifest, "utf8"))
console.log(
  JSON.stringify({
    version: `node-llama-cpp ${version} (llama.cpp ${llama.llamaCppRelease.release})`,
    load_s,
    prefill_tok_s: prompt / best.prefill,
    decode_tok_s: steps / best.decode,
    batch_decode_tok_s: batch > 1 ? (batch * Math.ceil(steps / 4)) / best.batch : null,
    peak_rss_bytes: process.resourceUsage().maxRSS * 1024,
  }),
)
process.exit(0)
