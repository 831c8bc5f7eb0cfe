// Describe, count, point and read: many questions about one picture, which is looked at once.
//
//     node examples/one-picture.js PICTURE "circles"

import { Isaac } from "isaac-vlm"

const [picture, things] = process.argv.slice(2)

const isaac = await Isaac.load("tiny")
const view = isaac.view(picture)

const { caption } = await view.caption()
console.log(`It shows: ${caption}`)

// They may be asked side by side; none knows of another.
const [counted, pointed, read] = await Promise.all([view.count(things), view.point(things), view.ocr()])
console.log(`${things}: ${counted.count}`)
for (const { mention, x, y } of pointed.pixels) console.log(`${mention ?? things} at ${Math.round(x)},${Math.round(y)}`)
console.log(`It reads: ${read.text.trim() || "nothing"}`)

const seen = [counted, pointed, read].filter(({ timings }) => timings.vision_ms > 0)
console.log(`looked at again ${seen.length} times`)
await view.dispose()
await isaac.dispose()
