/** What a line of a chat says: a question, or a command. */

import type { Expect } from "../index"

/** Commands, what follows them, and what they do. */
export const CHAT_COMMANDS = {
  image: ["[FILE|URL]", "show a picture; alone: list those that were shown"],
  box: ["[QUESTION]", "answer with boxes, this question or from now on"],
  point: ["[QUESTION]", "the same with points"],
  polygon: ["[QUESTION]", "the same with outlines"],
  text: ["[QUESTION]", "the same with words"],
  draw: ["FILE", "write the picture with what the last answer points at (.png .svg .jpg .webp)"],
  save: ["FILE", "write the conversation to a file, its pictures included"],
  load: ["FILE", "go on with a conversation that was saved"],
  history: ["", "what was said so far"],
  reset: ["", "forget what was said; the pictures stay, but for those of /load"],
  new: ["[FILE|URL]", "forget everything, and begin with this picture"],
  help: ["", "this list"],
  quit: ["", "leave; so does Ctrl-D. Ctrl-C stops an answer"],
} as const satisfies Record<string, readonly [operand: string, does: string]>

export type ChatCommand = keyof typeof CHAT_COMMANDS

export type ChatLine =
  | { readonly type: "nothing" }
  | { readonly type: "question"; readonly question: string }
  | { readonly type: "command"; readonly command: ChatCommand; readonly operand: string }
  | { readonly type: "unknown"; readonly name: string }

const EXPECTING: readonly string[] = ["box", "point", "polygon", "text"] satisfies Expect[]

/** What a command is about is all that follows it. A question may begin with a slash after a space. */
export function parseChatLine(line: string): ChatLine {
  const [, name, operand = ""] = /^\/(\S*)\s*(.*?)\s*$/s.exec(line) ?? []
  if (name === undefined) {
    const question = line.trim()
    return question === "" ? { type: "nothing" } : { type: "question", question }
  }
  const command = name.toLowerCase() === "exit" ? "quit" : name.toLowerCase()
  return isCommand(command) ? { type: "command", command, operand } : { type: "unknown", name }
}

/** /box and the like. */
export function isExpecting(command: ChatCommand): command is ChatCommand & Expect {
  return EXPECTING.includes(command)
}

function isCommand(name: string): name is ChatCommand {
  return Object.hasOwn(CHAT_COMMANDS, name)
}
