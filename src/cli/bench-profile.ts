/** `isaac bench --profile`: one more run in which every operation is timed and compared with what the machine could do. */

import {
  type IsaacConfig,
  type IsaacModel,
  type MachineLimits,
  OperationLog,
  type OperationTotal,
  type ProfiledBackend,
  rooflineOf,
} from "../internal"
import { type BenchWork, type Phase, runBench } from "./bench-measure"

export interface ProfileReport {
  /** Of all threads together, measured beside the run; null where the backend has no kernels that measure them. */
  readonly limits: {
    /** Billions of operations a second, two for each multiply-add, by what is multiplied. */
    readonly f32_gops: number
    /** Null where no instruction multiplies bfloat16. */
    readonly bf16_gops: number | null
    readonly int8_gops: number
    /** Billions of bytes a second, reading so many one after the other. */
    readonly read_gb_s: number
    readonly read_bytes: number
  } | null
  readonly phases: readonly PhaseReport[]
}

export interface PhaseReport {
  readonly phase: Phase
  readonly ms: number
  /** The longest first. */
  readonly operations: readonly OperationReport[]
  /** What is no operation: the model's own code, memory, copies in JavaScript. */
  readonly outside_ms: number
  /** Least time of all operations by the limits / ms; null without limits, as below. */
  readonly roofline: number | null
}

export interface OperationReport {
  readonly kind: OperationTotal["kind"]
  /** What it is in the model, its shape and storage type: "gate, up 2048→6144 q8". */
  readonly name: string
  readonly calls: number
  readonly ms: number
  /** Of the phase's time. */
  readonly share: number
  readonly multiply_adds: number
  /** What must be read and written at least. */
  readonly bytes: number
  /** Two operations for each multiply-add; whole numbers for q8 and q4. */
  readonly gops: number
  readonly gb_s: number
  /** What would hold it up on a machine at its limits, and the share of that limit that it reached. */
  readonly bound: "arithmetic" | "memory" | null
  readonly roofline: number | null
}

/**
 * @param profiled what the model's backend is watched with
 * @param limits measures what the machine can do: before and after, the better counts
 */
export async function profileRun(
  model: IsaacModel,
  work: BenchWork,
  profiled: ProfiledBackend,
  limits: () => MachineLimits | undefined,
): Promise<ProfileReport> {
  const logs = new Map<Phase, OperationLog>()
  const before = limits()
  const run = await runBench(model, {
    ...work,
    onPhase: (phase) => {
      if (phase && !logs.has(phase)) logs.set(phase, new OperationLog())
      profiled.record(phase && logs.get(phase))
    },
  })
  const best = before && better(before, limits()!)
  const phaseMs = { vision: run.visionMs, prefill: run.prefillMs, decode: run.decodeMs, batch: run.batchMs }
  return {
    limits: best
      ? {
          f32_gops: best.multiply / 1e9,
          bf16_gops: best.pairs === undefined ? null : best.pairs / 1e9,
          int8_gops: best.dot / 1e9,
          read_gb_s: best.read / 1e9,
          read_bytes: best.readBytes,
        }
      : null,
    phases: [...logs].map(([phase, log]) => phaseReport(phase, phaseMs[phase]!, log.totals(), model.config, best)),
  }
}

function better(a: MachineLimits, b: MachineLimits): MachineLimits {
  return {
    multiply: Math.max(a.multiply, b.multiply),
    pairs: a.pairs && b.pairs && Math.max(a.pairs, b.pairs),
    dot: Math.max(a.dot, b.dot),
    read: Math.max(a.read, b.read),
    readBytes: a.readBytes,
  }
}

function phaseReport(
  phase: Phase,
  ms: number,
  list: readonly OperationTotal[],
  config: IsaacConfig,
  limits: MachineLimits | undefined,
): PhaseReport {
  const places = phase === "vision" ? visionPlaces(config) : decoderPlaces(config)
  const operations = list.map((total): OperationReport => {
    const roofline = limits && rooflineOf(total, limits)
    return {
      kind: total.kind,
      name: nameOf(total, places),
      calls: total.calls,
      ms: total.ms,
      share: total.ms / ms,
      multiply_adds: total.multiplyAdds,
      bytes: total.bytes,
      gops: (2 * total.multiplyAdds) / (total.ms * 1e6),
      gb_s: total.bytes / (total.ms * 1e6),
      bound: roofline?.bound ?? null,
      roofline: roofline?.share ?? null,
    }
  })
  const inside = list.reduce((sum, total) => sum + total.ms, 0)
  // What was in a cache took no less than no time.
  const least = operations.reduce((sum, { ms, roofline }) => sum + ms * Math.min(1, roofline ?? 0), 0)
  return { phase, ms, operations, outside_ms: Math.max(0, ms - inside), roofline: limits ? least / ms : null }
}

/** A linear layer's place in the model. */
interface Place {
  readonly name: string
  readonly in: number
  readonly out: number
}

function visionPlaces({ vision, text }: IsaacConfig): Place[] {
  const { hiddenSize, intermediateSize, patchSize, channels, pixelShuffle } = vision
  const shuffled = hiddenSize * pixelShuffle ** 2
  return [
    { name: "patch embedding", in: channels * patchSize ** 2, out: hiddenSize },
    { name: "q, k, v, out", in: hiddenSize, out: hiddenSize },
    { name: "mlp up", in: hiddenSize, out: intermediateSize },
    { name: "mlp down", in: intermediateSize, out: hiddenSize },
    { name: "projector up", in: shuffled, out: 4 * shuffled },
    { name: "projector down", in: 4 * shuffled, out: text.hiddenSize },
  ]
}

function decoderPlaces({ text }: IsaacConfig): Place[] {
  const { hiddenSize, heads, kvHeads, headDim, intermediateSize, vocabSize } = text
  return [
    { name: "q", in: hiddenSize, out: heads * headDim },
    { name: "k, v", in: hiddenSize, out: kvHeads * headDim },
    { name: "out", in: heads * headDim, out: hiddenSize },
    { name: "gate, up", in: hiddenSize, out: intermediateSize },
    { name: "down", in: intermediateSize, out: hiddenSize },
    { name: "lm_head", in: hiddenSize, out: vocabSize },
  ]
}

/** The places of this shape, and the shape: layers of one shape are counted together. */
function nameOf({ kind, detail }: OperationTotal, places: readonly Place[]): string {
  if (kind !== "linear") return detail
  const names = places.filter((place) => detail.startsWith(`${place.in}→${place.out} `)).map(({ name }) => name)
  return [names.join(", "), detail].filter((part) => part !== "").join(" ")
}
