/** Whether this checkout has the native addon: tests of it are skipped, by name, where there is no C++ compiler. */

import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"

export const ADDON = fileURLToPath(new URL("../dist/ops/cpu/isaac.node", import.meta.url))

export const hasAddon = existsSync(ADDON)
