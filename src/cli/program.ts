/** The command line: one file per command, all with the same way to fail. */

import { Command } from "commander"
import { addAsk } from "./ask"
import { addBench } from "./bench"
import { addBuildNative } from "./build-native"
import { addCaption } from "./caption"
import { addChat } from "./chat"
import { addConvert } from "./convert"
import { addCount } from "./count"
import { addDetect } from "./detect"
import { addDoctor } from "./doctor"
import { addEval } from "./eval"
import { EXIT, reportFailure } from "./failure"
import { addInspect } from "./inspect"
import { addMcp } from "./mcp"
import { addOcr } from "./ocr"
import { version } from "./package-version"
import { addPoint } from "./point"
import { addScore } from "./score"
import { addSynth } from "./synth"
import type { Terminal } from "./terminal"
import { addTrace } from "./trace"

/** Run one command line (without "node" and the script's name); the exit code. Never throws. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  try {
    await createProgram(terminal).parseAsync(args, { from: "user" })
    return EXIT.ok
  } catch (error) {
    const flags = args.includes("--") ? args.slice(0, args.indexOf("--")) : args
    return reportFailure(error, terminal, flags.includes("--json"))
  }
}

function createProgram(terminal: Terminal): Command {
  const program = new Command("isaac")
    .description(
      "Isaac, a small vision-language model: pictures and a question in; words, points, boxes, polygons out.",
    )
    .version(version())
    .exitOverride()
    // Errors are reported once, by reportFailure.
    .configureOutput({ writeOut: terminal.out, writeErr: terminal.err, outputError: () => {} })
  // Settings above are inherited by commands added afterwards.
  addAsk(program, terminal)
  addCaption(program, terminal)
  addDetect(program, terminal)
  addOcr(program, terminal)
  addCount(program, terminal)
  addPoint(program, terminal)
  addChat(program, terminal)
  addEval(program, terminal)
  addMcp(program, terminal)
  addScore(program, terminal)
  addTrace(program, terminal)
  addInspect(program, terminal)
  addConvert(program, terminal)
  addBench(program, terminal)
  addBuildNative(program, terminal)
  addDoctor(program, terminal)
  addSynth(program, terminal)
  return program
}
