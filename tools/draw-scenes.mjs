// Writes drawn scenes, and what is true about them, as a dataset for `isaac eval`:
//
//     node tools/draw-scenes.mjs OUT [--count 200] [--seed 1]
//     npx isaac eval OUT/scenes.json
//
// The same seed gives the same pictures. Needs the built package (npm install builds it).

import { mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { parseArgs } from "node:util"
import sharp from "sharp"
import { datasetOf, drawScene } from "./scene.mjs"

const { values, positionals } = parseArgs({
  options: { count: { type: "string", default: "200" }, seed: { type: "string", default: "1" } },
  allowPositionals: true,
})
const [count, seed] = [values.count, values.seed].map(Number)
if (positionals.length !== 1 || !Number.isInteger(count) || count < 1 || !Number.isInteger(seed) || seed < 0) {
  console.error("usage: node tools/draw-scenes.mjs OUT [--count 200] [--seed 1]")
  process.exit(2)
}
const [out] = positionals
const { glyphDot } = await import(new URL("../dist/perception/label-font.js", import.meta.url).href)

const seeds = Array.from({ length: count }, (_, i) => seed * 100_000 + i)
const scenes = seeds.map((one) => drawScene(one, glyphDot))
const fileOf = (i) => `${String(i + 1).padStart(String(count).length, "0")}.png`
await mkdir(out, { recursive: true })
for (const [i, { image }] of scenes.entries()) {
  const { width, height, data } = image
  await sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toFile(join(out, fileOf(i)))
}
await writeFile(join(out, "scenes.json"), `${JSON.stringify(datasetOf(scenes, seeds, fileOf))}\n`)
console.log(`${count} pictures in ${out}; now: npx isaac eval ${join(out, "scenes.json")}`)
