/**
 * `isaac trace CASE.safetensors --model DIR --out FILE.safetensors`: run one golden case and write every stage.
 *
 * The names, types and shapes are the golden's own, so that any two such files (a golden and a trace, or the traces of
 * two backends) can be compared tensor by tensor: the first that differs is the stage to look at.
 */

import { writeFile } from "node:fs/promises"
import type { Command } from "commander"
import type { BackendChoice, DtypeChoice } from "../index"
import {
  encodeSafetensors,
  IsaacError,
  IsaacModel,
  openCheckpoint,
  openModel,
  selectBackend,
  type TensorData,
} from "../internal"
import { backendOption, dtypeOption } from "./engine-options"
import { type GoldenCase, readGoldenCase } from "./golden-case"
import { StageRecorder } from "./stage-recorder"
import { streamTensors } from "./stream-tensors"
import type { Terminal } from "./terminal"
import { generateGreedy } from "./trace-generation"

/** Greedy ids in a golden. */
const STEPS = 24

interface TraceFlags {
  readonly model: string
  readonly out: string
  readonly backend: BackendChoice
  readonly dtype: DtypeChoice
}

export type Trace = Readonly<Record<string, TensorData>>

export function addTrace(program: Command, terminal: Terminal): void {
  program
    .command("trace")
    .description("run one golden case and write every stage under the golden's tensor names")
    .argument("<case>", "CASE.safetensors, with the index.json that describes it beside it")
    .requiredOption("--model <model>", "tiny (built in), a checkpoint folder, or ORG/NAME of the Hugging Face hub")
    .requiredOption("--out <file>", "the safetensors file to write")
    .addOption(backendOption())
    .addOption(dtypeOption())
    .action(async (path: string, flags: TraceFlags) => {
      const trace = await traceFile(path, flags, terminal.signal)
      await writeFile(flags.out, encodeSafetensors(trace)).catch((cause) => {
        throw new IsaacError("io", `cannot write ${flags.out}: ${(cause as Error).message}`, { cause })
      })
      terminal.err(`${flags.out}: ${Object.keys(trace).length} tensors\n`)
    })
}

/** Memory is planned for so much context: cases are short. */
const CONTEXT = 4096

async function traceFile(path: string, flags: TraceFlags, signal: AbortSignal): Promise<Trace> {
  const checkpoint = await openCheckpoint(await openModel(flags.model, { signal }))
  try {
    const { backend } = await selectBackend({ backend: flags.backend })
    try {
      const model = await IsaacModel.load(checkpoint, backend, {
        stored: flags.dtype,
        maxContext: CONTEXT,
        signal,
      })
      return await traceCase(model, await readGoldenCase(path, model.config.vision), signal)
    } finally {
      await backend.dispose()
    }
  } finally {
    await checkpoint.close()
  }
}

/** Every tensor of the case's golden. Batches of more than one row are not generated from, as in the golden. */
export async function traceCase(model: IsaacModel, golden: GoldenCase, signal?: AbortSignal): Promise<Trace> {
  const { tensorStream, labels, images } = golden
  const [batch, tokens] = tensorStream.shape

  // 1. What the processor makes of the case.
  const trace: Record<string, TensorData> = {}
  for (const [k, { width, height, data }] of images.entries()) {
    trace[`image_${k}`] = { shape: [height, width, 3], data }
  }
  Object.assign(trace, streamTensors(tensorStream))

  // 2. One forward pass over everything, stage by stage.
  const recorder = new StageRecorder(model.backend)
  const hooks = { onStage: recorder.onStage, checkAbort: () => signal?.throwIfAborted() }
  const { logits, loss, ropeDelta } = model.forward({ tensorStream, labels }, hooks)
  model.backend.free(logits!)
  Object.assign(trace, Object.fromEntries(await recorder.stages()))
  trace.rope_deltas = { shape: [batch, 1], data: BigInt64Array.from(ropeDelta, BigInt) }
  if (labels) trace.labels = { shape: [batch, tokens], data: BigInt64Array.from(labels, BigInt) }
  if (loss) trace.loss = { shape: [], data: Float32Array.of(await loss) }

  // 3. The greedy continuation.
  if (batch === 1) {
    const { ids, secondIds, gaps, positions, logits } = await generateGreedy(model, tensorStream, STEPS, signal)
    trace.gen_ids = { shape: [STEPS], data: BigInt64Array.from(ids, BigInt) }
    trace.gen_second_ids = { shape: [STEPS], data: BigInt64Array.from(secondIds, BigInt) }
    trace.gen_gap = { shape: [STEPS], data: gaps }
    trace.gen_positions = { shape: [STEPS - 1], data: BigInt64Array.from(positions, BigInt) }
    trace.gen_logits = { shape: [STEPS, model.config.text.vocabSize], data: logits }
  }
  return trace
}
