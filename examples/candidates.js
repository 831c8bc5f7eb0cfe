// Draw several answers to one question, and ask how well the model expects one of your own.
//
//     node examples/candidates.js PICTURE "Where is the red circle?" 4 ["MY ANSWER"]

import { Isaac } from "isaac-vlm"

const [picture, question, n, mine] = process.argv.slice(2)

const isaac = await Isaac.load("tiny")
try {
  const options = { n: Number(n), temperature: 1, seed: 7, expect: "box" }
  for (const { text, score, seed } of await isaac.candidates([picture], question, options)) {
    console.log(score.toFixed(3), `seed ${seed}`, text)
  }
  if (mine !== undefined) {
    const { perplexity, tokens } = await isaac.score([picture], question, mine, { expect: "box" })
    const surprise = tokens.reduce((a, b) => (a.logprob < b.logprob ? a : b))
    console.log(`perplexity ${perplexity.toFixed(3)}; the least expected token is ${JSON.stringify(surprise.text)}`)
  }
} finally {
  await isaac.dispose()
}
