/** Lines that somebody types, or that come through a pipe. */

import { appendFile, readFile } from "node:fs/promises"
import { createInterface, type Interface } from "node:readline"
import { Writable } from "node:stream"
import { IsaacError, plainText } from "../internal"
import type { Keyboard } from "./terminal"

/** Lines that are remembered for the arrow keys. */
const MOST_LINES = 1000

/** What a person sees of what they type: nothing while an answer is being written. */
class Screen extends Writable {
  hidden = true
  readonly #to: NonNullable<Keyboard["screen"]>
  readonly #resized = () => this.emit("resize")

  constructor(to: NonNullable<Keyboard["screen"]>) {
    super({ decodeStrings: false })
    this.#to = to
    to.on("resize", this.#resized)
  }

  get columns(): number | undefined {
    return this.#to.columns
  }

  override _write(chunk: string | Buffer, encoding: BufferEncoding, done: () => void): void {
    if (!this.hidden) this.#to.write(chunk, encoding)
    done()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#to.off("resize", this.#resized)
    done(error)
  }
}

export class ChatLines {
  readonly #reader: Interface
  readonly #lines: AsyncIterator<string>
  readonly #screen: Screen | undefined
  readonly #historyFile: string | undefined
  /** By its owner or at the end of the input, which may come during an answer. Newer Nodes throw when a closed one is used. */
  #closed = false

  private constructor(
    { input, screen }: Keyboard,
    history: string[],
    historyFile: string | undefined,
    onInterrupt: () => void,
  ) {
    this.#screen = screen && new Screen(screen)
    this.#historyFile = historyFile
    this.#reader = createInterface(
      this.#screen
        ? {
            input,
            output: this.#screen,
            terminal: true,
            history,
            historySize: MOST_LINES,
            removeHistoryDuplicates: true,
          }
        : { input, terminal: false, crlfDelay: Number.POSITIVE_INFINITY },
    )
    // A terminal that edits lines gets Ctrl-C as a key.
    this.#reader.on("SIGINT", onInterrupt)
    this.#reader.on("close", () => {
      this.#closed = true
    })
    this.#lines = this.#reader[Symbol.asyncIterator]() // from now on, so that no line is missed
  }

  /**
   * @param historyFile lines of earlier times for the arrow keys, to which those of a person are added
   * Throws io when it cannot be read.
   */
  static async open(keyboard: Keyboard, historyFile: string | undefined, onInterrupt: () => void): Promise<ChatLines> {
    const history = historyFile === undefined ? [] : await readHistory(historyFile)
    return new ChatLines(keyboard, history, historyFile, onInterrupt)
  }

  /** Somebody sees what is typed. */
  get interactive(): boolean {
    return this.#screen !== undefined
  }

  /** The next line; undefined at the end of the input, or when it was closed. Throws io when history cannot be kept. */
  async next(prompt: string): Promise<string | undefined> {
    if (this.#screen) {
      this.#screen.hidden = false
      if (this.#closed) this.#screen.write(prompt)
      else {
        this.#reader.setPrompt(prompt)
        this.#reader.prompt(true)
      }
    }
    const { value, done } = await this.#lines.next()
    if (this.#screen) {
      // At the end of input the cursor stands behind the prompt.
      if (done) this.#screen.write("\n")
      this.#screen.hidden = true
    }
    if (done) return undefined
    if (this.#screen && this.#historyFile !== undefined && value.trim() !== "") await this.#keep(value)
    return value
  }

  /** Take back what was typed of a line. @returns false when there was nothing */
  clearLine(): boolean {
    if (this.#closed || this.#reader.line === undefined || this.#reader.line === "") return false
    this.#reader.write(null, { ctrl: true, name: "e" })
    this.#reader.write(null, { ctrl: true, name: "u" })
    return true
  }

  /** Say something while a line is being typed. */
  interject(say: () => void): void {
    if (!this.#screen || this.#screen.hidden) {
      say()
      return
    }
    this.#screen.write("\n")
    say()
    if (!this.#closed) this.#reader.prompt(true)
  }

  close(): void {
    this.#reader.close()
    this.#screen?.destroy()
  }

  async #keep(line: string): Promise<void> {
    const file = this.#historyFile!
    // What people ask is theirs alone.
    await appendFile(file, `${line}\n`, { mode: 0o600 }).catch((cause: Error) => {
      throw new IsaacError("io", `${plainText(file)} cannot be written: ${cause.message}`, { cause })
    })
  }
}

/** The newest first. */
async function readHistory(file: string): Promise<string[]> {
  try {
    const lines = (await readFile(file, "utf8")).split("\n").filter((line) => line !== "")
    return lines.reverse().slice(0, MOST_LINES)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return []
    throw new IsaacError("io", `${plainText(file)} cannot be read: ${(cause as Error).message}`, { cause })
  }
}
