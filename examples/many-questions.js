// Ask many questions about one picture, which is looked at once; then keep the conversation in a file and go on later.
//
//     node examples/many-questions.js PICTURE SESSION_FILE "Describe the image." "How many circles are there?" …

import { Isaac } from "isaac-vlm"

const [picture, file, first, ...others] = process.argv.slice(2)

const isaac = await Isaac.load("tiny")
const session = isaac.session()
console.log(first, "→", (await session.ask([picture], first)).text)

// Each fork goes on from the first answer by itself; they run side by side and share what is computed.
const answers = await Promise.all(
  others.map(async (question) => {
    const fork = session.fork()
    const answer = await fork.ask([], question)
    await fork.dispose()
    return `${question} → ${answer.text}`
  }),
)
for (const answer of answers) console.log(answer)

await session.save(file)
await session.dispose()

// Another day:
const again = await isaac.restoreSession(file)
console.log(`restored with ${await again.length()} tokens computed`)
console.log("Is there a star? →", (await again.ask([], "Is there a star?")).text)
await isaac.dispose()
