// What ask does, stage by stage: processor → embedStream → forward → generate.
//
//     node examples/stages.js PICTURE "What shape is on the left?"

import { readFile } from "node:fs/promises"
import { Isaac } from "isaac-vlm"

const [file, question] = process.argv.slice(2)

const isaac = await Isaac.load("tiny")

// 1. Text and picture become a stream of events: text tokens, and one event for the picture's patches.
const text = `<image>${question}`
const inputs = await isaac.processor({ text, images: [await readFile(file)] })
console.log(
  "tokens",
  inputs.inputIds.length,
  "events",
  inputs.tensorStream.streams[0].events.map(({ type }) => type),
)

// 2. Every token becomes a vector: text through the embedding matrix, the picture through the vision tower.
const embeds = await isaac.model.embedStream(inputs.tensorStream)
console.log("embeddings", embeds.shape) // [1, T, D]

// 3. The decoder gives logits for each position; the last ones say how the text goes on.
const { logits } = await isaac.model.forward(inputs)
console.log("logits", logits.shape) // [1, T, V]

// 4. The same, again and again, with a cache: a text.
let answer = ""
for await (const token of isaac.generate(inputs, { maxNewTokens: 20 })) answer += token.text
console.log("continues with", JSON.stringify(answer))

await isaac.dispose()
