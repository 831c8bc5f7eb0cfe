// A prompt of your own, piece by piece: instructions, pictures, places in them, and turns that were answered before.
//
//     node examples/own-prompt.js PICTURE X1 Y1 X2 Y2      (in thousandths of the picture's sides)

import { assistant, box, Isaac, image, user } from "isaac-vlm"

const [picture, ...corners] = process.argv.slice(2)

const isaac = await Isaac.load("tiny")
try {
  const turns = [
    image(picture),
    "Is there a circle?",
    assistant("Yes."),
    user("What is in ", box(...corners.map(Number)), "?"),
  ]
  // Iterate for the text as it is written …
  const answer = isaac.prompt(turns, { maxNewTokens: 60 })
  for await (const event of answer) if (event.type === "text.delta") process.stdout.write(event.text)
  // … and await the same for the whole.
  const { usage, finishReason } = await answer
  console.log(`\n(${usage.prompt_tokens} tokens asked, ${finishReason})`)
} finally {
  await isaac.dispose()
}
