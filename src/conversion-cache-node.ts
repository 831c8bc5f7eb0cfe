/**
 * Large checkpoints that are kept as q8 or q4 are packed once: the next load reads the packed copy.
 *
 *     $ISAAC_CACHE/converted/q8-<hash>/     a checkpoint folder as `isaac convert` writes it
 *     $ISAAC_CACHE/converted/q4-<hash>/
 *
 * The hash stands for the content of the weights and for the form they are packed in, so a changed checkpoint and a
 * changed version of this library have copies of their own. Deleting any of it is safe.
 */

import { createHash } from "node:crypto"
import { homedir } from "node:os"
import { join, resolve } from "node:path"
import { type WriteConversionOptions, writeConversion } from "./conversion-folder-node"
import type { LoadOptions } from "./engine-options"
import { isIsaacError } from "./errors"
import { configOf, type IsaacConfig } from "./model"
import { planConversion } from "./model/convert"
import { checkParameters, parameterTable } from "./model/parameters"
import type { Backend, PackedType } from "./ops/backend"
import { type Checkpoint, openCheckpoint } from "./weights/checkpoint"
import { arithmeticOf, LAYOUT_VERSION } from "./weights/conversion"
import { formatBytes } from "./weights/disk-node"
import { openFolder } from "./weights/files-node"
import { fingerprintWeights } from "./weights/fingerprint-node"
import type { FileSet } from "./weights/source"

/** Checkpoints with fewer bytes of matrices are packed anew each time: it takes no longer than reading the copy. */
const WORTH_KEEPING = 64e6

export interface ConversionCacheOptions
  extends Pick<LoadOptions, "signal" | "onProgress">,
    Pick<WriteConversionOptions, "openFile"> {
  /** Instead of process.env. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Instead of WORTH_KEEPING. */
  readonly worthKeeping?: number
}

/**
 * The folder of the cache: ISAAC_CACHE, else isaac-vlm in XDG_CACHE_HOME or ~/.cache. Undefined when ISAAC_CACHE is
 * "off".
 */
export function cacheFolder(env: Readonly<Record<string, string | undefined>>): string | undefined {
  const own = env.ISAAC_CACHE?.trim()
  if (own === "off") return undefined
  if (own) return resolve(own.replace(/^~(?=$|[\\/])/, () => homedir()))
  return join(resolve(env.XDG_CACHE_HOME?.trim() || join(homedir(), ".cache")), "isaac-vlm")
}

/**
 * The files of a checkpoint with its matrices packed as `stored`, from the cache or written to it now. Only the weights are
 * the cache's; everything else is read from the checkpoint itself, so that a changed template counts at once.
 *
 * Undefined where the copy is not worth it, is not wanted, or cannot be written (which a notice tells): pack while
 * loading then.
 *
 * Throws what `convertWeights` throws for the checkpoint itself, and aborted.
 */
export async function packedFiles(
  files: FileSet,
  checkpoint: Checkpoint,
  stored: PackedType,
  backend: Backend,
  options: ConversionCacheOptions = {},
): Promise<FileSet | undefined> {
  const { env = process.env, worthKeeping = WORTH_KEEPING, onProgress, signal, openFile } = options
  const notice = (message: string) => onProgress?.({ stage: "notice", fraction: 0, message })
  const cache = cacheFolder(env)
  const config = configOf(checkpoint)
  if (cache === undefined || matrixBytes(checkpoint, config) < worthKeeping) return undefined
  const source = await fingerprintWeights(files, checkpoint)
  const form = `${source}\0${LAYOUT_VERSION}\0${arithmeticOf(stored)}`
  const key = createHash("sha256").update(form).digest("hex").slice(0, 32)
  const folder = join(cache, "converted", `${stored}-${key}`)
  if (!(await isWhole(folder, stored, source, config))) {
    try {
      const plan = await planConversion(checkpoint, config, stored, source)
      const size = formatBytes(plan.layout.bytes)
      notice(
        `Packing ${files.name} as ${stored}, once: ${size} go to ${folder}. ISAAC_CACHE=off or --no-cache prevents it.`,
      )
      await writeConversion(folder, files, checkpoint, plan, backend, {
        existing: async () => ((await isWhole(folder, stored, source, config)) ? "keep" : "replace"),
        advice: {
          unwritable: "ISAAC_CACHE names another folder for converted weights, or turns the cache off.",
          full: "Make room, or set ISAAC_CACHE to a folder on another disk.",
        },
        signal,
        onProgress,
        openFile,
      })
    } catch (error) {
      if (!(isIsaacError(error) && error.code === "io")) throw error
      notice(`${error.message} The weights are packed in memory now, and will be again at the next start.`)
      return undefined
    }
  }
  return withWeightsOf(files, await openFolder(folder))
}

function matrixBytes({ tensors }: Checkpoint, config: IsaacConfig): number {
  let sum = 0
  for (const [name, { kind }] of parameterTable(config)) {
    if (kind === "matrix") sum += tensors.get(name)?.bytes ?? 0
  }
  return sum
}

/** Whether a copy is there and is what it should be; a truncated or foreign one is written anew. */
async function isWhole(folder: string, stored: PackedType, source: string, config: IsaacConfig): Promise<boolean> {
  try {
    const checkpoint = await openCheckpoint(await openFolder(folder))
    await checkpoint.close()
    checkParameters(checkpoint, config)
    return checkpoint.metadata["isaac.stored"] === stored && checkpoint.metadata["isaac.source"] === source
  } catch {
    return false
  }
}

function withWeightsOf(files: FileSet, packed: FileSet): FileSet {
  const owner = (file: string) => (/\.safetensors(?:\.index\.json)?$/.test(file) ? packed : files)
  return {
    name: files.name,
    has: (file) => owner(file).has(file),
    open: (file) => owner(file).open(file),
  }
}
