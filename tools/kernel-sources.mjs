/** The sources of the kernels, for the builds of them. */

import { readdirSync } from "node:fs"
import { join, relative } from "node:path"
import { fileURLToPath } from "node:url"

export const kernels = fileURLToPath(new URL("../kernels", import.meta.url))

/** Paths relative to kernels/, sorted: what both builds share, and the folder of this one, "wasm" or "node". */
export function kernelSources(build) {
  const list = (folder) =>
    readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
      const path = join(folder, entry.name)
      if (entry.isDirectory()) return folder === kernels && entry.name !== build ? [] : list(path)
      return /\.(h|cpp)$/.test(entry.name) ? [relative(kernels, path)] : []
    })
  return list(kernels).sort()
}
