// Find things and write the picture with their boxes as SVG.
//
//     node examples/boxes-to-svg.js PICTURE "Find all squares." OUT.svg

import { readFile, writeFile } from "node:fs/promises"
import { Isaac } from "isaac-vlm"
import { decodeImage, drawSvg, toDataUri } from "isaac-vlm/internal"

const [file, question, out] = process.argv.slice(2)

const bytes = await readFile(file)
const picture = await decodeImage(bytes, file) // upright RGB pixels
const isaac = await Isaac.load("tiny")
const { pixels } = await isaac.ask([picture], question, { expect: "box" })
await isaac.dispose()

const { width, height } = picture
await writeFile(out, drawSvg({ width, height, href: toDataUri(bytes) }, pixels))
console.log(`${out}: ${pixels.length} boxes`)
