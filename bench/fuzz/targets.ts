/** Everything that is fuzzed. */

import { checkpointTarget } from "./checkpoint-target"
import { configTarget } from "./config-target"
import { dataUriTarget } from "./data-uri-target"
import { growthTarget } from "./growth-target"
import { imageTarget } from "./image-target"
import { promptTarget } from "./prompt-target"
import { safetensorsTarget } from "./safetensors-target"
import { tagsTarget } from "./tags-target"
import type { FuzzTarget } from "./target"

export { randomOf } from "./random"

export const FUZZ_TARGETS: readonly FuzzTarget[] = [
  safetensorsTarget,
  tagsTarget,
  growthTarget,
  checkpointTarget,
  configTarget,
  promptTarget,
  dataUriTarget,
  imageTarget,
]
