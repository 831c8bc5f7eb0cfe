/**
 * ONNX Runtime through onnxruntime-node, one measurement in a process of its own; prints one line of JSON.
 *
 *   node onnx-run.mjs FILE.onnx '{"threads":2,"prompt":512,"steps":64,"repeat":2,"shape":{…}}'
 *
 * Keys and values go out of one run and into the next, as transformers.js does it. Embeddings are given, logits are read,
 * nothing is sampled.
 */

import { readFile } from "node:fs/promises"
import { InferenceSession, Tensor } from "onnxruntime-node"

const [path, settings] = process.argv.slice(2)
const { threads, prompt, steps, repeat, shape } = JSON.parse(settings)
const { layers, hidden, kvHeads, headDim } = shape

const started = performance.now()
const session = await InferenceSession.create(path, {
  executionProviders: ["cpu"],
  intraOpNumThreads: threads,
  interOpNumThreads: 1,
  graphOptimizationLevel: "all",
})
const load_s = (performance.now() - started) / 1000

const embeds = Float32Array.from({ length: prompt * hidden }, () => Math.random() - 0.5)
const names = Array.from({ length: layers }, (_, n) => [`${n}.key`, `${n}.value`]).flat()
const nothing = () => new Tensor("float32", new Float32Array(0), [1, kvHeads, 0, headDim])

/** One run over `count` rows behind the cache; returns the outputs. */
function run(count, cache) {
  const past = cache ? cache[`present.${names[0]}`].dims[2] : 0
  const feeds = {
    embeds: new Tensor("float32", embeds.subarray(0, count * hidden), [1, count, hidden]),
    seqlens: new Tensor("int32", Int32Array.of(past + count - 1), [1]),
    total: new Tensor("int32", Int32Array.of(past + count), []),
  }
  for (const name of names) feeds[`past.${name}`] = cache?.[`present.${name}`] ?? nothing()
  return session.run(feeds)
}

const best = { prefill: Number.POSITIVE_INFINITY, decode: Number.POSITIVE_INFINITY }
await run(32)
for (let n = 0; n < repeat; n++) {
  let start = performance.now()
  let outputs = await run(prompt)
  best.prefill = Math.min(best.prefill, (performance.now() - start) / 1000)
  start = performance.now()
  for (let step = 0; step < steps; step++) outputs = await run(1, outputs)
  best.decode = Math.min(best.decode, (performance.now() - start) / 1000)
  if (!Number.isFinite(outputs.logits.data[0])) throw new Error("The logits are not numbers.")
}

const manifest = new URL("node_modules/onnxruntime-node/package.json", import.meta.url)
const { version } = JSON.parse(await readFile(manifest, "utf8"))
console.log(
  JSON.stringify({
    version: `onnxruntime-node ${version}`,
    load_s,
    prefill_tok_s: prompt / best.prefill,
    decode_tok_s: steps / best.decode,
    peak_rss_bytes: process.resourceUsage().maxRSS * 1024,
  }),
)
process.exit(0)
