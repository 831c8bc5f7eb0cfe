import { describe } from "vitest"
import { createNativeBackend } from "../src/ops/cpu/load-native-node"
import { modelGoldens } from "./model-golden"
import { modelLaws } from "./model-laws"
import { hasAddon } from "./native-addon"

describe.skipIf(!hasAddon)("the native backend (skipped where there is no C++ compiler)", () => {
  modelGoldens("native", () => createNativeBackend())
  modelLaws("native", () => createNativeBackend())
})
