/** The engine in a browser's worker: addresses, picked files, the browser's decoders and storage. */

import type { LoadOptions, ModelInput, Platform } from "./engine-options"
import { IsaacError } from "./errors"
import { IsaacEngine } from "./isaac"
import { selectBackend } from "./ops/select-web"
import { decodeImage } from "./processor/decode-image-web"
import { readImage } from "./processor/image-source-web"
import { type PickedFile, type PickedFolder, pickedFiles, pickedFolder } from "./weights/files-picked"
import { HttpFiles, type HttpFilesOptions, type OpenFiles, WebStore } from "./weights/http-files-web"
import { isHubId } from "./weights/hub-id"
import { openHub } from "./weights/hub-web"
import type { FileSet } from "./weights/source"

/** @param abortWord see `Platform` */
export function webPlatform(abortWord?: Int32Array): Platform {
  return { selectBackend, readImage, decodeImage, machineMemory: machineMemory(), abortWord }
}

/** Bytes of memory as the browser tells them, rounded; not every browser does. */
function machineMemory(): number | undefined {
  const { deviceMemory } = navigator as Navigator & { readonly deviceMemory?: number }
  return deviceMemory === undefined ? undefined : deviceMemory * 2 ** 30
}

/**
 * The files of a model: a folder on a web server, ORG/NAME[@REVISION] of the Hugging Face Hub, or what a person picked.
 *
 * @param model an absolute address, a Hub id, an array of files or the handle of a folder
 */
export async function openModel(model: ModelInput, options: LoadOptions = {}): Promise<OpenFiles> {
  const { signal, onProgress, cache, hub } = options
  if (Array.isArray(model)) return unowned(pickedFiles(model as readonly PickedFile[]))
  if (typeof model === "object" && "getFileHandle" in model) return unowned(pickedFolder(model as PickedFolder))
  const web: HttpFilesOptions = {
    signal,
    keep: cache,
    onProgress: ({ file, received, total }) =>
      onProgress?.({ stage: "download", fraction: Math.min(1, received / Math.max(1, total)), message: file }),
    onNotice: (message) => onProgress?.({ stage: "notice", fraction: 0, message }),
  }
  if (typeof model === "string" && isHubId(model)) return openHub(model, hub ?? {}, web)
  if (typeof model !== "string" || !URL.canParse(model)) {
    throw new IsaacError("bad_input", `${String(model)} is no model: give the address of its folder, or ORG/NAME`)
  }
  const folder = new URL(model)
  folder.hash = ""
  if (!folder.pathname.endsWith("/")) folder.pathname += "/"
  if (!/^https?:$/.test(folder.protocol)) {
    throw new IsaacError("bad_input", `${model}: only http and https addresses are read`)
  }
  const name = folder.href
  const store = await WebStore.open(name, web)
  const files = new HttpFiles({ name, url: (file) => fileAddress(folder, file) }, store, web)
  await files.checkKept()
  return files
}

/** A query (a signature, say) belongs to each file's address. */
function fileAddress(folder: URL, file: string): string {
  const url = new URL(folder)
  url.pathname += encodeURIComponent(file)
  return url.href
}

function unowned(files: FileSet): OpenFiles {
  return { ...files, async close() {} }
}

/** Load a model in the calling thread, which must be a worker. */
export async function loadEngine(
  model: ModelInput,
  options: LoadOptions = {},
  abortWord?: Int32Array,
): Promise<IsaacEngine> {
  const files = await openModel(model, options)
  try {
    return await IsaacEngine.load(files, webPlatform(abortWord), options)
  } finally {
    await files.close()
  }
}
