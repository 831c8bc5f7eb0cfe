/** `isaac inspect MODEL`: what a checkpoint holds and what it would take to run it. Reads headers, no weights. */

import type { Command } from "commander"
import type { LoadOptions } from "../index"
import {
  type Checkpoint,
  type CheckpointTensor,
  checkParameters,
  type IsaacConfig,
  openCheckpoint,
  openModel,
  parseConfig,
  plainText,
  planMemory,
} from "../internal"
import { formatBytes, formatCount, formatTable } from "./format"
import { ProgressLine } from "./progress"
import type { Terminal } from "./terminal"

const DTYPES = ["f32", "bf16", "q8", "q4"] as const
type Dtype = (typeof DTYPES)[number]

export interface MemoryEstimate {
  readonly weights: number
  /** Keys and values of `context` tokens. */
  readonly kv: number
  /** The largest set of activations alive at once, for a prompt of `context` tokens. */
  readonly activations: number
  readonly total: number
}

/** Context that memory is estimated for, unless the model has less. */
const CONTEXT = 4096

export interface Inspection {
  readonly model: string
  readonly config: IsaacConfig
  readonly parameters: number
  /** Tokens of context that `memory` is for. */
  readonly context: number
  /** Estimated bytes, by how weight matrices are kept. */
  readonly memory: Readonly<Record<Dtype, MemoryEstimate>>
  readonly warnings: readonly string[]
  readonly tensors: readonly Pick<CheckpointTensor, "name" | "storedName" | "file" | "dtype" | "shape" | "bytes">[]
}

export function addInspect(program: Command, terminal: Terminal): void {
  program
    .command("inspect")
    .description("a checkpoint's sizes, tensors, parameters and memory; reads no weights")
    .argument("<model>", "tiny (built in), a checkpoint folder, or ORG/NAME of the Hugging Face hub")
    .option("--json", "one line of JSON")
    .action(async (model: string, { json }: { json?: true }) => {
      const progress = new ProgressLine(terminal)
      const inspection = await inspect(model, {
        signal: terminal.signal,
        onProgress: (step) => progress.loading(step),
      }).finally(() => progress.clear())
      terminal.out(json ? `${JSON.stringify(inspection)}\n` : inspectionText(inspection))
    })
}

export async function inspect(
  model: string,
  options: Pick<LoadOptions, "signal" | "onProgress"> = {},
): Promise<Inspection> {
  const checkpoint = await openCheckpoint(await openModel(model, options))
  try {
    const config = parseConfig(
      checkpoint.config,
      checkpoint.generationConfig,
      checkpoint.processorConfig,
      checkpoint.tensors,
    )
    const tensors = [...checkpoint.tensors.values()]
    const context = Math.min(CONTEXT, config.maxSequenceLength)
    return {
      model,
      config,
      parameters: tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0),
      context,
      memory: Object.fromEntries(
        DTYPES.map((dtype) => [dtype, estimate(checkpoint, config, dtype, context)]),
      ) as Inspection["memory"],
      warnings: warnings(checkpoint, config),
      tensors: tensors.map(({ name, storedName, file, dtype, shape, bytes }) => {
        return { name, storedName, file, dtype, shape, bytes }
      }),
    }
  } finally {
    await checkpoint.close()
  }
}

function estimate(checkpoint: Checkpoint, config: IsaacConfig, stored: Dtype, maxContext: number): MemoryEstimate {
  const { weights, kv, activations, total } = planMemory(config, { stored, maxContext, tensors: checkpoint.tensors })
  return { weights, kv, activations, total }
}

function warnings(checkpoint: Checkpoint, config: IsaacConfig): string[] {
  const found: string[] = []
  try {
    checkParameters(checkpoint, config)
  } catch (error) {
    found.push(`cannot be loaded: ${(error as Error).message}`)
  }
  const stored = checkpoint.metadata["isaac.stored"]
  if (stored === "q8" || stored === "q4") found.push(`converted to ${stored}: it runs as ${stored} only`)
  if (config.mropeInterleaved) {
    found.push(
      "the config asks for mrope_interleaved: true, which is not obeyed: the reference splits the frequencies into " +
        "consecutive blocks whatever the config says",
    )
  }
  const head = checkpoint.tensors.get("lm_head.weight")
  if (!head) found.push("tied head: there is no lm_head.weight, the embedding matrix takes its place")
  else if (config.text.tied === true) {
    found.push("the config ties lm_head to embed_tokens, but lm_head.weight is stored too")
  }
  if (looksPublished(config)) {
    found.push(
      "this has the shape of a checkpoint published by Perceptron; its weights are licensed for non-commercial use " +
        "(CC-BY-NC-4.0 or Perceptron's Non-Production licence): read the licence on its model page",
    )
  }
  return found
}

/** The published models share one vision tower: SigLIP2 so400m, 27 layers of 1152. */
function looksPublished({ vision, text }: IsaacConfig): boolean {
  return vision.hiddenSize === 1152 && vision.layers === 27 && text.layers === 28
}

function inspectionText(inspection: Inspection): string {
  const { model, config, parameters, context, memory, warnings, tensors } = inspection
  const { text, vision } = config
  const r2 = vision.pixelShuffle ** 2
  const range = (unit: number) =>
    vision.minPatches === null
      ? `up to ${vision.maxPatches / unit}`
      : `${vision.minPatches / unit}..${vision.maxPatches / unit}`
  const heads = `${text.heads} heads and ${text.kvHeads} key/value heads of ${text.headDim}`
  const facts = [
    ["model", model],
    ["decoder", `${text.layers} layers, width ${text.hiddenSize}, mlp ${text.intermediateSize}, ${heads}`],
    ["", `vocabulary ${text.vocabSize}, rope theta ${text.ropeTheta}, rms eps ${text.rmsEps}`],
    ["vision", `${vision.layers} layers, width ${vision.hiddenSize}, mlp ${vision.intermediateSize}`],
    ["", `${vision.heads} heads of ${vision.headDim}, position table ${vision.gridSide}×${vision.gridSide}`],
    ["images", `${range(1)} patches of ${vision.patchSize}×${vision.patchSize}, ${range(r2)} tokens`],
    ["context", `${formatCount(config.maxSequenceLength)} tokens, stop ids ${config.stopIds.join(", ") || "none"}`],
    ["parameters", formatCount(parameters)],
  ]
  const memoryTable = [
    ["memory", "weights", `${formatCount(context)} tokens`, "activations", "total"],
    ...DTYPES.map((dtype) => {
      const { weights, kv, activations, total } = memory[dtype]
      return [dtype, ...[weights, kv, activations, total].map(formatBytes)]
    }),
  ]
  const tensorTable = [
    ["tensor", "dtype", "shape", "bytes"],
    ...tensors.map(({ name, dtype, shape, bytes }) => [
      plainText(name),
      dtype,
      `[${shape.join(", ")}]`,
      formatCount(bytes),
    ]),
  ]
  const parts = [
    formatTable(facts),
    ...warnings.map((line) => `warning: ${line}`),
    "",
    formatTable(memoryTable, [1, 2, 3, 4]),
    "",
    formatTable(tensorTable, [3]),
  ]
  return `${parts.join("\n")}\n`
}
