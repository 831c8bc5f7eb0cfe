import { createRequire } from "node:module"
import { test } from "vitest"
import { ADDON, ADDON_OPTIONS, hasAddon } from "../../../test/native-addon"
import { backendConformance } from "../conformance"
import { createNativeBackend } from "./load-native-node"
import type { Addon } from "./native-engine"

if (hasAddon) {
  const [best, ...others] = (createRequire(import.meta.url)(ADDON) as Addon).instructionSets()
  backendConformance(`native, ${best}, 1 thread`, () =>
    createNativeBackend({ ...ADDON_OPTIONS, threads: 1, instructionSet: best }),
  )
  for (const instructionSet of [best, ...others]) {
    backendConformance(`native, ${instructionSet}, 2 threads`, () =>
      createNativeBackend({ ...ADDON_OPTIONS, threads: 2, instructionSet }),
    )
  }
} else {
  test.skip("native: no addon was built here, there is no C++ compiler", () => {})
}
