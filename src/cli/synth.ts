/** `isaac synth`: a random checkpoint of a real shape, with tokenizer and template, for tests of scale. */

import { type Command, Option } from "commander"
import { PRESETS, type SynthDtype, synthesize } from "../internal"
import { formatBytes, formatCount } from "./format"
import { wholeNumber } from "./option-values"
import { ProgressLine } from "./progress"
import type { Terminal } from "./terminal"

interface SynthFlags {
  readonly preset: string
  readonly seed: number
  readonly dtype: SynthDtype
  readonly out: string
  readonly layers?: number
}

export function addSynth(program: Command, terminal: Terminal): void {
  program
    .command("synth")
    .description("write a random checkpoint of a real shape: it answers nonsense, at the real speed and size")
    .addOption(new Option("--preset <name>", "the shape").choices(Object.keys(PRESETS)).makeOptionMandatory())
    .requiredOption("--out <dir>", "the folder to write")
    .option("--seed <n>", "same seed, same numbers", wholeNumber(0), 0)
    .addOption(new Option("--dtype <type>", "how the numbers are stored").choices(["bf16", "f32"]).default("bf16"))
    .option("--layers <n>", "at most so many layers of the decoder, and of the vision tower", wholeNumber(1))
    .action(async ({ out, ...options }: SynthFlags) => {
      const progress = new ProgressLine(terminal)
      const { parameters, bytes } = await synthesize(out, {
        ...options,
        signal: terminal.signal,
        onProgress: ({ written, total }) => progress.show(`writing ${out} ${Math.floor((100 * written) / total)} %`),
      }).finally(() => progress.clear())
      terminal.out(`${out}: ${formatCount(parameters)} parameters, ${formatBytes(bytes)}\n`)
    })
}
