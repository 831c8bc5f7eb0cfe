// Read an answer while it is being written, and stop it when it has become long enough.
//
//     node examples/stream-and-stop.js PICTURE "Describe the image." 20

import { Isaac } from "isaac-vlm"

const [picture, question, enough] = process.argv.slice(2)

const isaac = await Isaac.load("tiny")
const controller = new AbortController()
let written = ""
for await (const event of isaac.ask([picture], question, { signal: controller.signal })) {
  switch (event.type) {
    case "text.delta":
      process.stdout.write(event.text)
      written += event.text
      if (written.length >= Number(enough)) controller.abort()
      break
    case "points.delta":
      for (const point of event.points) console.log("\n  points at", point)
      break
    case "final":
      console.log(`\nended by ${event.answer.finishReason} after ${event.answer.usage.completion_tokens} tokens`)
  }
}
await isaac.dispose()
