// An evaluation of your own: how often is the box of the answer the right one? (`isaac eval` measures much more.)
//
//     node examples/evaluate.js SAMPLES.json
//
// SAMPLES.json: [{"image": "a.png", "question": "…", "box": [x1, y1, x2, y2]}, …], in thousandths

import { readFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { Isaac } from "isaac-vlm"

const [file] = process.argv.slice(2)

const area = ([x1, y1, x2, y2]) => Math.max(0, x2 - x1) * Math.max(0, y2 - y1)
const overlap = (a, b) => {
  const shared = area([Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3])])
  return shared / (area(a) + area(b) - shared)
}

const isaac = await Isaac.load("tiny")
const scores = []
for (const { image, question, box } of JSON.parse(await readFile(file, "utf8"))) {
  const { points } = await isaac.ask(join(dirname(file), image), question, {
    expect: "box",
    guided: { kinds: ["box"] },
  })
  scores.push(Math.max(0, ...points.map(({ x1, y1, x2, y2 }) => overlap([x1, y1, x2, y2], box))))
  console.log(`${scores.at(-1).toFixed(2)}  ${image}  ${question}`)
}
await isaac.dispose()

const right = scores.filter((score) => score >= 0.5).length
console.log(`${right} of ${scores.length} right (overlap of at least one half)`)
