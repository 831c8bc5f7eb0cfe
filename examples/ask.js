// Ask about a picture and use where the answer points.
//
//     node examples/ask.js PICTURE "Where is the red circle?"

import { Isaac } from "isaac-vlm"

const [picture, question] = process.argv.slice(2)

const isaac = await Isaac.load("tiny")
try {
  const { text, pixels } = await isaac.ask([picture], question, { expect: "box" })
  console.log(text)
  for (const { mention, x1, y1, x2, y2 } of pixels) {
    console.log(
      `${mention}: ${Math.round(x2 - x1)}×${Math.round(y2 - y1)} pixels at (${Math.round(x1)}, ${Math.round(y1)})`,
    )
  }
} finally {
  await isaac.dispose()
}
