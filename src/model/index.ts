/** The model: the architecture diagram as code. `isaac-model.ts` is where to start reading. */

export { configOf, type IsaacConfig, parseConfig, type TextConfig, type VisionConfig } from "./config"
export { DecoderCache, type DecoderCacheOptions } from "./decoder-cache"
export type { ForwardHooks } from "./forward-hooks"
export {
  type EmbedOptions,
  type ForwardInput,
  type ForwardOutput,
  IsaacModel,
  type LoadModelOptions,
  type PlanOptions,
} from "./isaac-model"
export type { LoadProgress } from "./load-weights"
export { checkMemory, describePlan, type MemoryPlan, type MemoryPlanOptions, planMemory } from "./memory-plan"
export { type Parameter, parameterTable } from "./parameters"
export type { StorageChoice } from "./storage-choice"
