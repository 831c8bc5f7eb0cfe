import { describe } from "vitest"
import { createNativeBackend } from "../src/ops/cpu/load-native-node"
import { hasAddon } from "./native-addon"
import { realDimsGoldens } from "./real-dims-golden"

describe.skipIf(!hasAddon)("the native backend (skipped where there is no C++ compiler)", () => {
  realDimsGoldens("native", () => createNativeBackend())
})
