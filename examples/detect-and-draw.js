// Find things, hear of each as soon as it is found, and write the picture with their boxes.
//
//     node examples/detect-and-draw.js PICTURE OUT.png [CLASS …]

import { writeFile } from "node:fs/promises"
import { extname } from "node:path"
import { drawImage, Isaac } from "isaac-vlm"

const [picture, out, ...classes] = process.argv.slice(2)

const isaac = await Isaac.load("tiny")
const found = []
// `guided`: no tag that cannot be read, and no other names than the classes.
const answer = isaac.detect(picture, { classes: classes.length > 0 ? classes : undefined, guided: true })
for await (const event of answer) {
  if (event.type !== "points.delta") continue
  for (const leaf of event.pixels) {
    found.push(leaf)
    console.log(`${found.length}. ${leaf.mention} at ${Math.round(leaf.x1)},${Math.round(leaf.y1)}`)
  }
}
await isaac.dispose()

const format = extname(out).slice(1).replace("jpg", "jpeg") // png, jpeg, webp or svg
await writeFile(out, await drawImage(picture, found, { format }))
console.log(`drawn on ${out}`)
