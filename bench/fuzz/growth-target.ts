/** Long texts made of few pieces: eight times the text may take about eight times the time, not sixty-four. */

import {
  extractReasoning,
  parse,
  ReasoningCleaner,
  ReasoningStream,
  stripTags,
  TagStream,
} from "../../src/perception/parse"
import { pick } from "./random"
import { type FuzzTarget, promise } from "./target"

const PIECES = [
  ...[
    "<",
    ">",
    "/",
    "=",
    '"',
    "(",
    ")",
    ",",
    " ",
    "\n",
    "1",
    "a",
    "&",
    ";",
    "😀",
    "ı",
    "\u001c",
    "<point",
    "<point>",
    "</point>",
  ],
  ...[
    "<point_box ",
    "</point_box>",
    "<polygon>",
    "</polygon>",
    "<collection>",
    "<collection ",
    "</collection>",
    "<collectıon>",
  ],
  ...[
    "(1,2)",
    "(1,",
    "( ",
    " ,",
    "mention=",
    't="',
    "&notit",
    "&#x",
    "&amp",
    "<think>",
    "</think>",
    "</thin",
    "<th",
    "  \t",
  ],
]
const SHORT = 1 << 14
const LONG = SHORT << 3
/** What a time must exceed before it says anything, in milliseconds of this process. */
const NOISE = 60

const readers: Readonly<Record<string, (text: string) => void>> = {
  parse,
  stripTags,
  extractReasoning,
  TagStream: (text) => {
    const stream = new TagStream()
    for (let at = 0; at < text.length; at += 16) stream.push(text.slice(at, at + 16))
    stream.end()
  },
  ReasoningStream: (text) => {
    const stream = new ReasoningStream()
    for (let at = 0; at < text.length; at += 16) stream.push(text.slice(at, at + 16))
    stream.end()
  },
  ReasoningCleaner: (text) => {
    const cleaner = new ReasoningCleaner()
    for (let at = 0; at < text.length; at += 16) cleaner.consume(text.slice(at, at + 16))
  },
}

/** Inputs: JSON of [what comes first, what is repeated, what comes last]. */
export const growthTarget: FuzzTarget = {
  name: "growth",

  make(random) {
    const some = (most: number) => Array.from({ length: random(most) }, () => pick(random, PIECES)).join("")
    return JSON.stringify([some(4), some(4) || pick(random, PIECES), some(4)])
  },

  check(input) {
    const [first, repeated, last] = JSON.parse(input) as [string, string, string]
    const textOf = (length: number) => first + repeated.repeat(Math.ceil(length / repeated.length)) + last
    const [short, long] = [textOf(SHORT), textOf(LONG)]
    for (const [name, read] of Object.entries(readers)) {
      const time = timeOf(() => read(long))
      if (time < NOISE) continue
      // Again, in case that something else ran; the shortest of each counts.
      const least = (text: string) => Math.min(...[1, 2, 3].map(() => timeOf(() => read(text))))
      const [little, much] = [least(short), Math.min(time, least(long))]
      promise(
        much < NOISE || much < 24 * Math.max(little, 2),
        `${name}: ${LONG} characters take ${much.toFixed(0)} ms, ${SHORT} take ${little.toFixed(1)} ms`,
      )
    }
    return "linear"
  },
}

/** Milliseconds of this process, whatever else the machine does. */
function timeOf(run: () => void): number {
  const before = process.cpuUsage()
  run()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000
}
