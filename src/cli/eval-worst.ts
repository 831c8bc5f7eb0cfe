/** The worst answers of an evaluation, for people to look at. */

import { contactSheet, type DatasetImage, type EvalCase, isIsaacError, writeImage } from "../internal"
import { readPictures } from "./pictures"

/** Pictures on the sheet. */
const SHOWN = 24

/** Those that are wrong at all, the worst of each task by turns. */
export function worstOf(cases: readonly EvalCase[]): EvalCase[] {
  const tasks = new Map<string, EvalCase[]>()
  for (const one of cases.filter(({ badness }) => badness > 0))
    tasks.set(one.task, [...(tasks.get(one.task) ?? []), one])
  const ranked = [...tasks.values()].map((list) => list.sort((a, b) => b.badness - a.badness))
  const most = Math.max(0, ...ranked.map(({ length }) => length))
  const worst: EvalCase[] = []
  for (let i = 0; i < most && worst.length < SHOWN; i++) worst.push(...ranked.flatMap((list) => list.slice(i, i + 1)))
  return worst.slice(0, SHOWN)
}

const oneLine = (text: string) => text.replace(/\s+/g, " ")

/**
 * A sheet of them: what was expected with dashed outlines, what was found with solid ones. False when there is nothing
 * to draw: nothing is wrong, or the pictures cannot be read (answers can be evaluated without them). Throws io.
 */
export async function drawWorst(
  path: string,
  worst: readonly EvalCase[],
  pictureOf: (image: DatasetImage) => string,
  signal: AbortSignal,
): Promise<boolean> {
  const tiles = []
  for (const { image, task, about, badness, expected, said, expectedLeaves, foundLeaves } of worst) {
    try {
      const [picture] = await readPictures([pictureOf(image)], signal)
      // What was said first: questions are long, and the line is cut.
      const words =
        task === "detect"
          ? `detect, F1 ${(1 - badness).toFixed(2)}`
          : `${oneLine(said)} (${oneLine(expected)}) ${about ?? task}`
      const caption = `${image.file} ${words}`
      tiles.push({ picture, leaves: foundLeaves, expected: expectedLeaves, caption })
    } catch (error) {
      if (signal.aborted || !isIsaacError(error)) throw error
    }
  }
  if (tiles.length === 0) return false
  await writeImage(path, contactSheet(tiles, { title: "Worst answers: said (expected); expected objects are dashed" }))
  return true
}
