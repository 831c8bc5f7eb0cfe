// Read the tags in a text from anywhere (another server, a file): no model, no weights, nothing to load.
//
//     node examples/parse-tags.js ANSWER.txt 640x480

import { readFile } from "node:fs/promises"
import { parse, stripTags, TagStream, toPixels } from "isaac-vlm/parse"

const [file, size] = process.argv.slice(2)
const [width, height] = size.split("x").map(Number)
const text = await readFile(file, "utf8")

// 1. All at once.
const { leaves, issues } = parse(text)
for (const leaf of leaves) console.log(JSON.stringify(toPixels(leaf, { width, height })))
for (const issue of issues) console.log(`not understood: ${issue.message}`)
console.log(`without tags: ${stripTags(text).trim()}`)

// 2. Or while it arrives, in pieces of any size: each leaf comes out once, as soon as its tag closes.
const tags = new TagStream()
let seen = 0
for (let at = 0; at < text.length; at += 7) seen += tags.push(text.slice(at, at + 7)).length
seen += tags.end().length
console.log(`streamed: ${seen} of ${leaves.length}`)
