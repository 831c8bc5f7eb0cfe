/** Whether this checkout has the native addon: tests of it are skipped, by name, where there is no C++ compiler. */

import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"

/** tools/test-sanitized.mjs runs tests with an addon of its own. */
const sanitized = process.env.ISAAC_SANITIZED_ADDON

export const ADDON = sanitized ?? fileURLToPath(new URL("../dist/ops/cpu/isaac.node", import.meta.url))

export const hasAddon = existsSync(ADDON)

/** How native backends are made for tests: under sanitizers every piece of memory by itself, so that they see its ends. */
export const ADDON_OPTIONS = { path: ADDON, ...(sanitized ? { growBytes: 0 } : {}) }
