// Every picture of a folder: a line of JSON for each, and one sheet that shows all of them. `isaac detect FOLDER --out
// FILE --sheet FILE` does the same, and goes on after a kill.
//
//     node examples/batch-folder.js FOLDER SHEET.png

import { readdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import { contactSheet, Isaac } from "isaac-vlm"
import { decodeImage, writeImage } from "isaac-vlm/internal"

const [folder, sheet] = process.argv.slice(2)
const names = (await readdir(folder)).filter((name) => /\.(png|jpe?g|webp)$/i.test(name)).sort()

const isaac = await Isaac.load("tiny")
const tiles = []
for (const name of names) {
  try {
    const picture = await decodeImage(await readFile(join(folder, name)), name) // upright RGB pixels
    const { pixels } = await isaac.detect(picture, { guided: true })
    console.log(JSON.stringify({ name, found: pixels.map(({ mention }) => mention) }))
    tiles.push({ picture, leaves: pixels, caption: `${name}: ${pixels.length}` })
  } catch (error) {
    console.log(JSON.stringify({ name, error: error.code, message: error.message })) // one bad file stops nothing
  }
}
await isaac.dispose()

await writeImage(sheet, contactSheet(tiles, { title: folder, tileSize: 200 }))
