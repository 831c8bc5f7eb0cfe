// Show what you mean: pictures in which the thing is marked come before the question.
//
//     node examples/few-shot.js PICTURE EXAMPLES.json
//
// EXAMPLES.json: [{"image": "a.png", "boxes": {"scratch": [[x1, y1, x2, y2], …]}}, …], in pixels

import { readFile } from "node:fs/promises"
import { box, Isaac } from "isaac-vlm"

const [picture, file] = process.argv.slice(2)

const examples = JSON.parse(await readFile(file, "utf8")).map(({ image, boxes }) => ({
  image,
  annotations: Object.entries(boxes).flatMap(([mention, list]) => list.map((corners) => box(...corners, { mention }))),
}))

const isaac = await Isaac.load("tiny")
const { pixels, usage } = await isaac.detect(picture, { examples, guided: true })
await isaac.dispose()

console.log(`${examples.length} examples, ${usage.image_tokens} tokens of pictures`)
for (const { mention, x1, y1, x2, y2 } of pixels) {
  console.log(`${mention}: ${[x1, y1, x2, y2].map(Math.round).join(" ")}`)
}
