/** `isaac chat [IMAGE…]`: questions one after another, about pictures and what was said. */

import { type Command, InvalidArgumentError } from "commander"
import type { AskOptions, Expect, Message } from "../index"
import { IsaacError, isIsaacError, plainText } from "../internal"
import { answerJson } from "./answer-output"
import { CHAT_COMMANDS, type ChatCommand, isExpecting, parseChatLine } from "./chat-commands"
import { ChatLines } from "./chat-lines"
import { readPicture, type ShownPicture, Talk } from "./chat-talk"
import { addEngineOptions, type EngineOptions } from "./engine-options"
import { Failed, Interrupted, UsageError } from "./failure"
import { formatTable } from "./format"
import { addGuidedOptions, type GuidedFlags, guidedOf } from "./guided-options"
import { ProgressLine } from "./progress"
import { addQuestionOptions, type QuestionFlags } from "./question-options"
import { addSamplingOptions, type SamplingFlags, samplingOf } from "./sampling-options"
import { loadModel } from "./task-model"
import { drawingEnding } from "./task-options"
import { printLeaves, printText } from "./task-text"
import { INTERRUPTED, type Terminal } from "./terminal"

interface ChatFlags extends EngineOptions, QuestionFlags, SamplingFlags, GuidedFlags {
  readonly json?: true
  readonly history?: string
}

export function addChat(program: Command, terminal: Terminal): void {
  const command = program
    .command("chat")
    .description("ask again and again about pictures; the model remembers what was said")
    .usage("[options] [IMAGE…]")
    .argument("[pictures...]", "files, URLs or data URIs")
  addGuidedOptions(addSamplingOptions(addQuestionOptions(addEngineOptions(command))))
    .option("--json", "a line of JSON for each answer instead of the text")
    .option("--history <file>", "keep the lines that are typed for the arrow keys of the next chat")
    .action(async (names: string[], flags: ChatFlags) => {
      if (flags.logprobs !== undefined && !flags.json) throw new UsageError("--logprobs needs --json")
      const { signal } = terminal
      const progress = new ProgressLine(terminal)
      try {
        const guided = guidedOf(flags)
        // Before the model: a name that was mistyped should not have to wait for it.
        const pictures: ShownPicture[] = []
        for (const name of names) pictures.push(await readPicture(name, { ...flags, signal }))
        const isaac = await loadModel(flags, progress, signal)
        progress.clear()
        try {
          const talk = new Talk(isaac, pictures)
          await new Chat(talk, flags, guided, terminal, progress).run(isaac.info.model)
          await talk.dispose()
        } finally {
          await isaac.dispose()
        }
      } finally {
        progress.clear()
      }
    })
}

class Chat {
  #expect: Expect | undefined
  #lines!: ChatLines
  /** Of the answer that is being written. */
  #answer: AbortController | undefined
  #warned = false
  #left: "quit" | "interrupted" | undefined
  #failures = 0

  constructor(
    private readonly talk: Talk,
    private readonly flags: ChatFlags,
    private readonly guided: Pick<AskOptions, "guided" | "schema">,
    private readonly terminal: Terminal,
    private readonly progress: ProgressLine,
  ) {
    this.#expect = flags.expect
  }

  /** Throws Interrupted when it was left by Ctrl-C, Failed when a line of a pipe failed, and what ends the engine. */
  async run(model: string): Promise<void> {
    const { terminal } = this
    const onInterrupt = () => this.#interrupt()
    this.#lines = await ChatLines.open(terminal.keyboard, this.flags.history, onInterrupt)
    const giveBack = terminal.takeInterrupts(onInterrupt)
    const onAbort = () => this.#lines.close()
    terminal.signal.addEventListener("abort", onAbort)
    try {
      if (this.#lines.interactive) {
        const pictures = `${this.talk.waiting} ${this.talk.waiting === 1 ? "picture" : "pictures"}`
        this.#say(`${model}, ${pictures}. /help lists what else can be said, Ctrl-D leaves.`)
      }
      while (this.#left === undefined && !terminal.signal.aborted) {
        const line = await this.#lines.next(this.#prompt())
        if (line === undefined) break
        if (this.#lines.interactive) this.#warned = false
        await this.#line(line)
      }
    } finally {
      terminal.signal.removeEventListener("abort", onAbort)
      giveBack()
      this.#lines.close()
    }
    if (this.#left === "interrupted" || terminal.signal.aborted) throw new Interrupted()
    if (this.#failures > 0 && !this.#lines.interactive) throw new Failed()
  }

  #prompt(): string {
    return `${this.#expect === undefined || this.#expect === "text" ? "" : this.#expect}> `
  }

  /** What goes wrong with one line does not end the chat, but for the end of the engine. */
  async #line(line: string): Promise<void> {
    try {
      const said = parseChatLine(line)
      if (said.type === "question") await this.#ask(said.question, this.#expect)
      else if (said.type === "command") await this.#command(said.command, said.operand)
      else if (said.type === "unknown") {
        throw new IsaacError(
          "bad_input",
          `there is no command /${said.name}; /help lists them, a space before it asks it`,
        )
      }
    } catch (error) {
      this.progress.clear()
      if (!isIsaacError(error) || error.code === "worker_lost") throw error
      if (error.code === "aborted" && this.terminal.signal.aborted) return
      this.#failures++
      const { code, message } = error
      if (this.flags.json) this.terminal.out(`${JSON.stringify({ error: { code, message } })}\n`)
      else this.#say(`isaac: ${plainText(message)}`)
    }
  }

  async #ask(question: string, expect: Expect | undefined): Promise<void> {
    const { terminal, progress, flags } = this
    const answering = new AbortController()
    this.#answer = answering
    try {
      const write = (text: string) => {
        progress.clear()
        terminal.out(text)
      }
      const printer = expect === undefined || expect === "text" ? printText(write) : printLeaves(write)
      const options: AskOptions = {
        ...samplingOf(flags),
        ...this.guided,
        expect,
        truncate: flags.truncate,
        signal: AbortSignal.any([answering.signal, terminal.signal]),
        onProgress: (step) => {
          if (flags.json || printer.wholeLines || step.stage !== "answer") progress.answering(step)
        },
      }
      const running = this.talk.ask(question, options)
      if (!flags.json) for await (const event of running.events) printer.event(event)
      const answer = await running.end()
      progress.clear()
      if (flags.json) terminal.out(`${JSON.stringify(answerJson(answer, flags))}\n`)
      else printer.end(answer)
      if (answer.finishReason === "abort") this.#say("(stopped; the conversation is where it was before)")
    } finally {
      this.#answer = undefined
    }
  }

  async #command(command: ChatCommand, operand: string): Promise<void> {
    if (isExpecting(command)) {
      if (operand !== "") return this.#ask(operand, command)
      this.#expect = command
      return
    }
    const reading = { signal: this.terminal.signal, allowPrivateUrls: this.flags.allowPrivateUrls }
    switch (command) {
      case "image":
        if (operand === "") this.#listPictures()
        else await this.talk.addPicture(operand, reading)
        return
      case "draw":
        await this.talk.draw(drawingName(needed(command, operand)))
        return
      case "save":
        await this.talk.save(needed(command, operand))
        if (this.talk.waiting > 0)
          this.#say(`(without ${this.talk.waiting} of the pictures: nothing was asked about them)`)
        return
      case "load":
        await this.talk.load(needed(command, operand))
        return
      case "history":
        this.terminal.out((await this.talk.messages()).map(messageText).join(""))
        return
      case "reset": {
        const { loaded } = this.talk
        await this.talk.reset()
        if (loaded > 0) {
          this.#say(`(without ${loaded} of the pictures: they came with the saved session; show them with /image)`)
        }
        return
      }
      case "new":
        await this.talk.reset(operand === "" ? [] : [await readPicture(operand, reading)])
        return
      case "help":
        this.terminal.out(`${helpText()}\n`)
        return
      case "quit":
        this.#left = "quit"
    }
  }

  #listPictures(): void {
    const lines = this.talk.pictures.map(({ name, picture }, i) => {
      const size = picture ? `, ${picture.width}×${picture.height}` : ""
      return `${i + 1}: ${plainText(name)}${size}\n`
    })
    this.terminal.out(lines.length === 0 ? "no pictures\n" : lines.join(""))
  }

  /**
   * During an answer: stop it. At the prompt: take back the line, then say how to leave, then leave. One that follows
   * before anything else has happened means the program.
   */
  #interrupt(): void {
    if (this.#answer !== undefined && !this.#answer.signal.aborted && !this.#warned) {
      // Lines of a pipe follow each other by themselves: there, a second Ctrl-C is one about the rest.
      if (!this.#lines.interactive) this.#warnFor(SOON_MS)
      this.#answer.abort(INTERRUPTED)
      return
    }
    if (this.#answer === undefined) {
      if (this.#lines.clearLine()) {
        this.#warned = false
        return
      }
      if (!this.#warned) {
        this.#warned = true
        this.#lines.interject(() => this.#say("(Ctrl-C again, or Ctrl-D, leaves)"))
        return
      }
    }
    this.#left = "interrupted"
    this.#answer?.abort(INTERRUPTED)
    this.#lines.close()
  }

  #warnFor(ms: number): void {
    this.#warned = true
    setTimeout(() => {
      this.#warned = false
    }, ms).unref()
  }

  /** To the person, not into the answers. */
  #say(text: string): void {
    this.terminal.err(`${text}\n`)
  }
}

const SOON_MS = 2000

function needed(command: ChatCommand, operand: string): string {
  if (operand !== "") return operand
  throw new IsaacError("bad_input", `/${command} needs the name of a file`)
}

function drawingName(name: string): string {
  try {
    return drawingEnding(name)
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) throw error
    throw new IsaacError("bad_input", error.message)
  }
}

function messageText({ role, content }: Message): string {
  const parts =
    typeof content === "string"
      ? [content]
      : content.map((part) => (part.type === "text" ? part.text : `[picture ${part.image + 1}] `))
  // Models that can think and did not say so, too.
  const said = parts.join("").replace(/^<think>\s*<\/think>/, "")
  return `${role}: ${said.trim()}\n`
}

function helpText(): string {
  const rows = Object.entries(CHAT_COMMANDS).map(([name, [operand, does]]) => [`/${name} ${operand}`.trim(), does])
  return `${formatTable(rows)}\nAnything else is a question.`
}
