/** One line on standard error that is overwritten in place; silent when standard error is no terminal. */

import type { AskOptions, LoadProgress } from "../index"
import type { Terminal } from "./terminal"

type AnswerProgress = Parameters<NonNullable<AskOptions["onProgress"]>>[0]

export class ProgressLine {
  #shown = ""

  constructor(private readonly terminal: Terminal) {}

  show(text: string): void {
    if (!this.terminal.errIsTty || text === this.#shown) return
    this.clear()
    this.terminal.err(text)
    this.#shown = text
  }

  /** How far loading is. A notice (the licence of what will be downloaded) is kept, also where there is no terminal. */
  loading({ stage, message, fraction }: LoadProgress): void {
    if (stage === "notice") {
      this.clear()
      this.terminal.err(`${message}\n`)
      return
    }
    // Tensor by tensor, but a line that changes with every name is hard to look at.
    this.show(`${stage === "weights" ? "loading weights" : message} ${Math.round(fraction * 100)} %`)
  }

  /** How far an answer is. */
  answering({ stage, done, total }: AnswerProgress): void {
    if (stage === "pictures") this.show("looking at the picture")
    else if (stage === "prompt") this.show(`reading the question ${Math.floor((100 * done) / Math.max(total, 1))} %`)
    else this.show(`answering, ${done} ${done === 1 ? "token" : "tokens"}`)
  }

  /** Call before anything else is written, so that the line does not mix with it. */
  clear(): void {
    // Back to the first column, erase to the end of the line.
    if (this.#shown !== "") this.terminal.err("\r\x1b[K")
    this.#shown = ""
  }
}
