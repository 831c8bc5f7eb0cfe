/** The engine in Node: files, sharp and the backends of this machine. */

import { fileURLToPath } from "node:url"
import type { LoadOptions, Platform } from "./engine-options"
import { IsaacError, isIsaacError } from "./errors"
import { IsaacEngine } from "./isaac"
import { selectBackend } from "./ops/select"
import { decodeImage } from "./processor/decode-image-node"
import { readImage } from "./processor/image-source-node"
import { openFolder } from "./weights/files-node"
import type { FileSet } from "./weights/source"

/** @param abortWord see `Platform` */
export function nodePlatform(abortWord?: Int32Array): Platform {
  return { selectBackend, readImage, decodeImage, abortWord }
}

/**
 * The files of a model: "tiny", which lies beside src/ and dist/ in the package, or a checkpoint folder.
 *
 * Throws unsupported for what reads like ORG/NAME, not_found for any other path that is no folder.
 */
export async function openModel(model: string): Promise<FileSet> {
  if (model === "tiny") {
    return openFolder(fileURLToPath(new URL("../models/isaac-tiny", import.meta.url)))
  }
  try {
    return await openFolder(model)
  } catch (error) {
    if (isIsaacError(error) && error.code === "not_found" && /^[\w-][\w.-]*\/[\w-][\w.-]*$/.test(model)) {
      throw new IsaacError(
        "unsupported",
        `${model} is no folder here, and this version does not download models: download the checkpoint yourself ` +
          `(for example with "huggingface-cli download ${model} --local-dir FOLDER") and give its folder. ` +
          "Mind that the licence of Perceptron's weights allows non-commercial use only.",
        { cause: error },
      )
    }
    throw error
  }
}

/** Load a model in the calling thread. */
export async function loadEngine(
  model: string,
  options: LoadOptions = {},
  abortWord?: Int32Array,
): Promise<IsaacEngine> {
  return IsaacEngine.load(await openModel(model), nodePlatform(abortWord), { ...options, name: model })
}
