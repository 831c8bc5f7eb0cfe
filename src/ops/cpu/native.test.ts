import { existsSync } from "node:fs"
import { createRequire } from "node:module"
import { fileURLToPath } from "node:url"
import { test } from "vitest"
import { backendConformance } from "../conformance"
import { createNativeBackend } from "./load-native-node"
import type { Addon } from "./native-engine"

const path = fileURLToPath(new URL("../../../dist/ops/cpu/isaac.node", import.meta.url))

if (existsSync(path)) {
  const [best, ...others] = (createRequire(import.meta.url)(path) as Addon).instructionSets()
  backendConformance(`native, ${best}, 1 thread`, () => createNativeBackend({ threads: 1, instructionSet: best }))
  for (const instructionSet of [best, ...others]) {
    backendConformance(`native, ${instructionSet}, 2 threads`, () =>
      createNativeBackend({ threads: 2, instructionSet }),
    )
  }
} else {
  test.skip("native: no addon was built here, there is no C++ compiler", () => {})
}
