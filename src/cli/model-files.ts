/** From what --model names to the files of a checkpoint. */

import { fileURLToPath } from "node:url"
import { type FileSet, openFolder } from "../internal"

/** "tiny" ships with the package, two folders up from src/cli as from dist/cli. Throws not_found. */
export function openModel(model: string): Promise<FileSet> {
  return openFolder(model === "tiny" ? fileURLToPath(new URL("../../models/isaac-tiny", import.meta.url)) : model)
}
