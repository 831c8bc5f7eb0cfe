/** The engine in Node: files, sharp and the backends of this machine. */

import { totalmem } from "node:os"
import { fileURLToPath } from "node:url"
import { packedFiles } from "./conversion-cache-node"
import type { LoadOptions, ModelInput, Platform } from "./engine-options"
import { IsaacError, isIsaacError, shown } from "./errors"
import { IsaacEngine } from "./isaac"
import { selectBackend } from "./ops/select-node"
import { decodeImage } from "./processor/decode-image-node"
import { type ImageReference, readImage } from "./processor/image-source-node"
import { writeFile } from "./weights/file-writer-node"
import { openFile, openFolder } from "./weights/files-node"
import { isHubId } from "./weights/hub-id"
import { fetchFromHub } from "./weights/hub-node"
import type { FileSet } from "./weights/source"

/** @param abortWord see `Platform` */
export function nodePlatform(
  abortWord?: Int32Array,
  { allowPrivateUrls = false }: Pick<LoadOptions, "allowPrivateUrls"> = {},
): Platform {
  if (typeof allowPrivateUrls !== "boolean") {
    // "false" out of somebody's environment must not mean true.
    throw new IsaacError("bad_input", `allowPrivateUrls is ${shown(allowPrivateUrls)}; it must be true or false`)
  }
  return {
    selectBackend,
    // What only a browser has is refused like anything else that is no image.
    readImage: (image, options) => readImage(image as ImageReference, { ...options, allowPrivateUrls }),
    decodeImage,
    packedFiles,
    openFile: (path) => openFile(pathOf(path)),
    writeFile: (path, bytes, fill) => writeFile(pathOf(path), bytes, SAVE_ADVICE, fill),
    machineMemory: machineMemory(),
    abortWord,
  }
}

const SAVE_ADVICE = { unwritable: "Save to another folder.", full: "Make room, or save to another disk." }

/** A path, or the address of one. */
function pathOf(file: string): string {
  if (!file.startsWith("file:")) return file
  try {
    return fileURLToPath(file)
  } catch (cause) {
    throw new IsaacError("bad_input", `${file} names no local file: ${(cause as Error).message}`, { cause })
  }
}

/** Bytes of memory, or what a container allows of them. */
function machineMemory(): number {
  const allowed = process.constrainedMemory?.() ?? 0
  return allowed > 0 ? Math.min(allowed, totalmem()) : totalmem()
}

/**
 * The files of a model: "tiny", which lies beside src/ and dist/ in the package, a checkpoint folder, or
 * ORG/NAME[@REVISION], which is downloaded from the Hugging Face Hub unless the shared cache has it. A folder of that
 * name goes first.
 *
 * Throws not_found for any other path that is no folder, and what `fetchFromHub` throws.
 */
export async function openModel(
  model: ModelInput,
  { signal, onProgress, hub }: Pick<LoadOptions, "signal" | "onProgress" | "hub"> = {},
): Promise<FileSet> {
  if (typeof model !== "string" || model === "") {
    throw new IsaacError("bad_input", 'name a model: "tiny", a checkpoint folder, or ORG/NAME')
  }
  if (model === "tiny") {
    return openFolder(fileURLToPath(new URL("../models/isaac-tiny", import.meta.url)))
  }
  try {
    return await openFolder(folderPath(model))
  } catch (error) {
    if (!(isIsaacError(error) && error.code === "not_found" && isHubId(model))) throw error
  }
  const folder = await fetchFromHub(model, {
    ...hub,
    signal,
    onProgress: ({ file, allReceived, allTotal }) =>
      onProgress?.({ stage: "download", fraction: allReceived / Math.max(1, allTotal), message: file }),
    onNotice: ({ message }) => onProgress?.({ stage: "notice", fraction: 0, message }),
  })
  return openFolder(folder)
}

function folderPath(model: string): string {
  try {
    return model.startsWith("file:") ? fileURLToPath(model) : model
  } catch (cause) {
    throw new IsaacError("bad_input", `${model} names no local folder: ${(cause as Error).message}`, { cause })
  }
}

/** Load a model in the calling thread. */
export async function loadEngine(
  model: ModelInput,
  options: LoadOptions = {},
  abortWord?: Int32Array,
): Promise<IsaacEngine> {
  const platform = nodePlatform(abortWord, options)
  const files = await openModel(model, options)
  return IsaacEngine.load(files, platform, { ...options, name: String(model) })
}
