/** What people read of an answer, as it comes. */

import type { Answer, AnswerEvent, PixelLeaf } from "../index"

/** Gets every event of an answer, then the whole. */
export interface AnswerPrinter<A extends Answer> {
  /** Nothing but whole lines is written: progress may be shown between them. */
  readonly wholeLines: boolean
  event(event: AnswerEvent<A>): void
  end(answer: A): void
}

type Out = (text: string) => void

/** The text as the model writes it. */
export function printText(out: Out): AnswerPrinter<Answer> {
  let last = "\n"
  return {
    wholeLines: false,
    event(event) {
      if (event.type !== "text.delta" || event.text === "") return
      out(event.text)
      last = event.text
    },
    end() {
      if (!last.endsWith("\n")) out("\n")
    },
  }
}

/** A line for each thing that is pointed at; the text where there is none. */
export function printLeaves(out: Out): AnswerPrinter<Answer> {
  return {
    wholeLines: true,
    event(event) {
      if (event.type === "points.delta") out(event.pixels.map((leaf) => `${leafLine(leaf)}\n`).join(""))
    },
    end({ pixels, text }) {
      if (pixels.length === 0 && text.trim() !== "") out(`${text.trim()}\n`)
    },
  }
}

/** The number; what the model says where that has none. */
export function printCount(out: Out): AnswerPrinter<Answer & { readonly count: number | null }> {
  return {
    wholeLines: true,
    event() {},
    end({ count, text }) {
      out(`${count ?? text.trim()}\n`)
    },
  }
}

/** `red circle  12 34 56 78`: what it is, then whole pixels: x y, x1 y1 x2 y2, or x1,y1 x2,y2 … of a polygon. */
export function leafLine(leaf: PixelLeaf): string {
  const label = (leaf.mention ?? "").replace(/\s+/g, " ").trim() || "-"
  return `${label}  ${coordinates(leaf)}`
}

function coordinates(leaf: PixelLeaf): string {
  switch (leaf.type) {
    case "point":
      return whole([leaf.x, leaf.y]).join(" ")
    case "box":
      return whole([leaf.x1, leaf.y1, leaf.x2, leaf.y2]).join(" ")
    case "polygon":
      return leaf.points.map((corner) => whole(corner).join(",")).join(" ")
  }
}

function whole(numbers: readonly number[]): number[] {
  return numbers.map(Math.round)
}
