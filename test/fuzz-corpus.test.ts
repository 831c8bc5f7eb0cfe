/** Inputs that fuzzing found worth keeping, and a few of the endless rest, which `npm run fuzz` makes. */

import { readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import { randomOf } from "../bench/fuzz/random"
import { FUZZ_TARGETS } from "../bench/fuzz/targets"

const corpus = JSON.parse(readFileSync(new URL("./fixtures/fuzz/corpus.json", import.meta.url), "utf8")) as Readonly<
  Record<string, readonly string[]>
>

// How time grows is measured where nothing else runs; pictures are kept beside the decoder's tests.
const targets = FUZZ_TARGETS.filter(({ name }) => name !== "growth" && name !== "image")

describe.each(targets)("$name", ({ name, make, check }) => {
  it("keeps its promises on every input of the corpus", async () => {
    expect(corpus[name].length).toBeGreaterThan(5)
    for (const [i, input] of corpus[name].entries()) {
      // The texts are cut at other places each time.
      for (const seed of [i, i + 1000]) {
        const outcome = Promise.resolve().then(() => check(input, randomOf(seed)))
        await expect(outcome, input.slice(0, 500)).resolves.toBeTypeOf("string")
      }
    }
  })

  it("keeps them on two hundred more", async () => {
    for (let seed = 0; seed < 200; seed++) {
      const random = randomOf(seed)
      const input = make(random)
      const outcome = Promise.resolve().then(() => check(input, random))
      await expect(outcome, `--target ${name} --only ${seed}: ${input.slice(0, 500)}`).resolves.toBeTypeOf("string")
    }
  })
})
