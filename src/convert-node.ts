/** A model → a checkpoint folder whose matrices are kept in another type. */

import { readdir, realpath } from "node:fs/promises"
import { resolve } from "node:path"
import { writeConversion } from "./conversion-folder-node"
import { openModel } from "./engine-node"
import type { BackendChoice, LoadOptions } from "./engine-options"
import { IsaacError } from "./errors"
import { configOf } from "./model"
import { planConversion } from "./model/convert"
import { selectBackend } from "./ops/select-node"
import { type Checkpoint, openCheckpoint } from "./weights/checkpoint"
import type { ConvertedType } from "./weights/conversion"
import { openFolder } from "./weights/files-node"
import { fingerprintWeights } from "./weights/fingerprint-node"
import { COMPANIONS, CONFIG, SINGLE } from "./weights/hub-files"

/** What `isaac convert` writes. */
export const CONVERTED_TYPES: readonly ConvertedType[] = ["q8", "q4", "bf16"]

export interface ConvertModelOptions extends Pick<LoadOptions, "threads" | "signal" | "onProgress"> {
  readonly dtype: ConvertedType
  /** The folder to make. */
  readonly out: string
  /** What packs; all give the same bytes. Default "auto". */
  readonly backend?: BackendChoice
}

export interface ConvertReport {
  /** Bytes of the weights, before and after. */
  readonly sourceBytes: number
  readonly bytes: number
}

/**
 * Convert a model (see `openModel`) into a folder that loads like any other. The folder appears when it is whole; an
 * earlier conversion at its place is replaced, anything else there is refused.
 *
 * Throws what opening a model throws; unsupported for a type that cannot be written and for a checkpoint that is packed
 * already; io when the folder is taken, the disk is full or fails; not_finite; aborted.
 */
export async function convertModel(model: string, options: ConvertModelOptions): Promise<ConvertReport> {
  const { dtype, out, backend: choice, threads, signal, onProgress } = options
  if (!CONVERTED_TYPES.includes(dtype)) {
    throw new IsaacError("unsupported", `cannot convert to ${dtype}; this version writes ${CONVERTED_TYPES.join(", ")}`)
  }
  const files = await openModel(model, { signal, onProgress })
  const checkpoint = await openCheckpoint(files)
  try {
    if ((await samePlace(files.name)) === (await samePlace(out))) {
      throw new IsaacError("bad_input", `${out} is the folder of the model itself; name another one`)
    }
    const config = configOf(checkpoint)
    const plan = await planConversion(checkpoint, config, dtype, await fingerprintWeights(files, checkpoint))
    const { backend } = await selectBackend({ backend: choice, threads })
    try {
      await writeConversion(out, files, checkpoint, plan, backend, {
        existing: replaceable,
        advice: {
          unwritable: "Name another folder.",
          full: "Make room, or name a folder on another disk. The model itself is untouched.",
        },
        signal,
        onProgress,
      })
    } finally {
      await backend.dispose()
    }
    return { sourceBytes: weightBytes(checkpoint), bytes: plan.layout.bytes }
  } finally {
    await checkpoint.close()
  }
}

function weightBytes({ tensors }: Checkpoint): number {
  return [...tensors.values()].reduce((sum, { bytes }) => sum + bytes, 0)
}

/** An earlier conversion may be replaced, if nothing else lies in its folder. */
async function replaceable(folder: string): Promise<"replace"> {
  const taken = (what: string) =>
    new IsaacError("io", `${folder} ${what}. Name another folder, or delete this one first.`)
  const strangers = (await readdir(folder)).filter((name) => ![...COMPANIONS, CONFIG, SINGLE].includes(name))
  if (strangers.length > 0) throw taken(`is not empty (it holds ${strangers[0]})`)
  const checkpoint = await openCheckpoint(await openFolder(folder)).catch((cause: unknown) => {
    // One that another version made is a conversion too.
    if (cause instanceof IsaacError && cause.code === "unsupported") return undefined
    throw taken("is not empty and holds no checkpoint that was converted")
  })
  await checkpoint?.close()
  if (checkpoint && checkpoint.metadata["isaac.stored"] === undefined) {
    throw taken("is not empty and holds a checkpoint that was not made by converting another")
  }
  return "replace"
}

async function samePlace(path: string): Promise<string> {
  return realpath(path).catch(() => resolve(path))
}
