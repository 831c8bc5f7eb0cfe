/** One line on standard error that is overwritten in place; silent when standard error is no terminal. */

import type { Terminal } from "./terminal"

export class ProgressLine {
  #shown = ""

  constructor(private readonly terminal: Terminal) {}

  show(text: string): void {
    if (!this.terminal.errIsTty || text === this.#shown) return
    this.clear()
    this.terminal.err(text)
    this.#shown = text
  }

  /** Call before anything else is written, so that the line does not mix with it. */
  clear(): void {
    // Back to the first column, erase to the end of the line.
    if (this.#shown !== "") this.terminal.err("\r\x1b[K")
    this.#shown = ""
  }
}
